"""Names of torsions, and which of them a path turns."""

import math

import pytest
import torch

from tests.molecule.test_rings import molecule
from tpsctl.endpoints.load import load_structure
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.rings import puckering, rings
from tpsctl.molecule.torsions import named_torsions, turning_angles
from tpsctl.molecule.z_matrix import ZMatrix, ZMatrixValues, wrapped


def names(topology):
    return [torsion.name for torsion in named_torsions(topology)]


def interpolated(topology, ends, images=21):
    """A path that turns all torsions the short way."""
    internal = ZMatrix(topology)
    q = internal.to_internal(ends)
    s = torch.linspace(0, 1, images)[:, None]
    dihedrals = q.dihedrals[0] + s * wrapped(q.dihedrals[1] - q.dihedrals[0])
    lengths, angles = (v[0] + s * (v[1] - v[0]) for v in (q.lengths, q.angles))
    return internal.to_positions(ZMatrixValues(lengths, angles, dihedrals))


@pytest.fixture
def dipeptide(root):
    from tpsctl.endpoints.ends import align

    folder = root / "recipes" / "alanine_dipeptide"
    return align(load_structure(folder / "c7eq.pdb"), load_structure(folder / "c7ax.pdb"))


@pytest.fixture
def butane(root):
    folder = root / "tests" / "landscape" / "molecules"
    anti, gauche = (load_structure(folder / f"butane_{form}.pdb") for form in ("anti", "gauche"))
    return anti.topology, torch.stack((anti.x, gauche.x))


def test_torsions_of_alanine_dipeptide_have_their_usual_names(dipeptide):
    found = names(dipeptide.topology)
    assert [name for name in found if "-" not in name] == ["omega ALA2", "phi ALA2", "psi ALA2", "omega NME3"]
    assert [name for name in found if "-" in name] == ["H1-CH3-C-O ACE1", "N-CA-CB-HB1 ALA2", "C-N-C-H1 NME3"]


def test_a_path_of_alanine_dipeptide_turns_phi_and_psi(dipeptide):
    path = interpolated(dipeptide.topology, dipeptide.x)
    angles = turning_angles(dipeptide.topology, [path])
    assert [angle.name for angle in angles] == ["phi ALA2", "psi ALA2"]
    known = dict(dipeptide.topology.backbone_dihedrals)
    for angle in angles:
        start, end = dihedral(dipeptide.x, torch.tensor([known[angle.name]]))[:, 0].tolist()
        assert angle.turn_rad == pytest.approx(abs(math.remainder(end - start, 2 * math.pi)), rel=1e-9)
        assert angle.turn_rad > 1.5


def test_a_path_of_butane_turns_one_torsion(butane):
    topology, ends = butane
    assert [t.name for t in named_torsions(topology) if not t.rotor] == ["C1-C2-C3-C4"]
    (angle,) = turning_angles(topology, [interpolated(topology, ends)])
    assert angle.name == "C1-C2-C3-C4"
    assert abs(math.degrees(float(angle.values[0][0]))) == pytest.approx(180, abs=0.5)
    assert abs(math.degrees(float(angle.values[0][-1]))) == pytest.approx(67.98, abs=0.01)


def test_a_methyl_is_shown_where_nothing_else_turns(butane):
    topology, ends = butane
    internal = ZMatrix(topology)
    q = internal.to_internal(ends[:1])
    dihedrals = q.dihedrals.repeat(11, 1)
    methyl = internal.torsions[0, 1] if (0, 1) in internal.torsions else next(iter(internal.torsions.values()))
    dihedrals[:, methyl] += torch.linspace(0, 2, 11)
    path = internal.to_positions(ZMatrixValues(q.lengths.repeat(11, 1), q.angles.repeat(11, 1), dihedrals))
    (angle,) = turning_angles(topology, [path])
    assert angle.rotor
    assert angle.turn_rad == pytest.approx(2.0, abs=1e-9)


def test_a_torsion_that_crosses_180_degrees_counts_by_what_it_turns(butane):
    """Anti to gauche and back to the other side is 2 x 116 degrees, not 360 minus that."""
    topology, ends = butane
    internal = ZMatrix(topology)
    q = internal.to_internal(ends[:1])
    dihedrals = q.dihedrals.repeat(41, 1)
    dihedrals[:, internal.torsions[_middle(topology)]] += torch.linspace(-2, 2, 41)
    path = internal.to_positions(ZMatrixValues(q.lengths.repeat(41, 1), q.angles.repeat(41, 1), dihedrals))
    (angle,) = turning_angles(topology, [path])
    assert angle.turn_rad == pytest.approx(4.0, abs=1e-9)


def test_the_largest_turn_of_several_paths_decides(dipeptide):
    path = interpolated(dipeptide.topology, dipeptide.x)
    still = dipeptide.x[:1].expand(5, -1, -1)
    both = turning_angles(dipeptide.topology, [still, path])
    assert [angle.name for angle in both] == ["phi ALA2", "psi ALA2"]
    assert [len(value) for value in both[0].values] == [5, 21]
    assert len(turning_angles(dipeptide.topology, [still])) == 1
    assert [a.name for a in turning_angles(dipeptide.topology, [path], most=1)] == [
        max(both, key=lambda a: a.turn_rad).name
    ]


def test_a_ring_flip_is_shown_by_its_polar_angle_and_phase(root):
    folder = root / "tests" / "landscape" / "molecules"
    forms = [load_structure(folder / f"cyclohexane_{form}.pdb") for form in ("chair", "twist_boat", "chair_flipped")]
    path = torch.stack([form.x for form in forms])
    (angle,) = turning_angles(forms[0].topology, [path])
    assert angle.name.startswith("ring theta, Q 0.05")
    assert angle.turn_rad == pytest.approx(math.pi, abs=0.01)
    assert named_torsions(forms[0].topology) == ()


PROLINE = molecule(
    [
        *("ACE1:CH3", "ACE1:C", "ACE1:O"),
        *("PRO2:N", "PRO2:CD", "PRO2:CG", "PRO2:CB", "PRO2:CA", "PRO2:C", "PRO2:O"),
        *("NME3:N", "NME3:C"),
    ],
    [
        *("ACE1:CH3-ACE1:C", "ACE1:C-ACE1:O", "ACE1:C-PRO2:N"),
        *("PRO2:N-PRO2:CD", "PRO2:CD-PRO2:CG", "PRO2:CG-PRO2:CB", "PRO2:CB-PRO2:CA", "PRO2:CA-PRO2:N"),
        *("PRO2:CA-PRO2:C", "PRO2:C-PRO2:O", "PRO2:C-NME3:N", "NME3:N-NME3:C"),
    ],
)


def test_proline_has_omega_phi_psi_and_a_ring_but_no_chi():
    assert names(PROLINE) == ["omega PRO2", "phi PRO2", "psi PRO2", "omega NME3"]
    (ring,) = rings(PROLINE)
    assert ring.name == "ring PRO2"
    assert [PROLINE.atoms[i].name for i in ring.atoms] == ["N", "CD", "CG", "CB", "CA"]


def test_the_pucker_of_proline_is_shown_with_its_amplitude(generator):
    """The ring goes from one envelope to its mirror image through all phases between."""
    (ring,) = rings(PROLINE)
    x = 0.3 * torch.randn(12, 3, generator=generator)
    angle = 2 * math.pi * torch.arange(5) / 5
    path = x.repeat(13, 1, 1)
    for image, phase in enumerate(torch.linspace(0, math.pi, 13).tolist()):
        heights = math.sqrt(2 / 5) * 0.038 * torch.cos(phase + 2 * angle)
        path[image, list(ring.atoms)] = torch.stack((0.13 * angle.cos(), 0.13 * angle.sin(), heights), 1)
    assert puckering(path, ring).amplitude_nm.tolist() == pytest.approx([0.038] * 13, rel=1e-12)
    course = next(a for a in turning_angles(PROLINE, [path]) if a.name.startswith("ring"))
    assert course.name == "ring PRO2 phase, Q 0.038 to 0.038 nm"
    assert course.turn_rad == pytest.approx(math.pi, rel=1e-9)


SIDE_CHAINS = {
    "VAL": (("CB", "CG1", "CG2"), ("CA-CB", "CB-CG1", "CB-CG2"), {"chi1": "CG1"}),
    "SER": (("CB", "OG"), ("CA-CB", "CB-OG"), {"chi1": "OG"}),
    "MET": (("CB", "CG", "SD", "CE"), ("CA-CB", "CB-CG", "CG-SD", "SD-CE"), {"chi1": "CG", "chi2": "SD", "chi3": "CE"}),
    "ILE": (("CB", "CG1", "CG2", "CD1"), ("CA-CB", "CB-CG1", "CB-CG2", "CG1-CD1"), {"chi1": "CG1", "chi2": "CD1"}),
    "ALA": (("CB",), ("CA-CB",), {}),
}


@pytest.mark.parametrize("residue", SIDE_CHAINS)
def test_side_chains_have_their_chi_angles(residue):
    atoms, bonds, expected = SIDE_CHAINS[residue]
    words = [f"{residue}2:{name}" for name in ("N", "CA", "C", *atoms)]
    pairs = ["N-CA", "CA-C", *bonds]
    topology = molecule(words, ["-".join(f"{residue}2:{name}" for name in pair.split("-")) for pair in pairs])
    found = {t.name.split()[0]: topology.atoms[t.atoms[3]].name for t in named_torsions(topology) if "chi" in t.name}
    assert found == expected


def test_equal_names_in_two_chains_are_told_apart():
    from dataclasses import replace

    from tpsctl.molecule.topology import Topology

    atoms = [replace(atom, chain_id=chain) for chain in "AB" for atom in PROLINE.atoms]
    bonds = [(i + 12 * k, j + 12 * k) for k in range(2) for i, j in PROLINE.bonds]
    found = names(Topology(tuple(atoms), tuple(bonds)))
    assert "phi PRO2 (chain A)" in found
    assert "phi PRO2 (chain B)" in found
    assert len(set(found)) == len(found) == 8


def _middle(topology):
    (torsion,) = (t for t in named_torsions(topology) if not t.rotor)
    return tuple(sorted(torsion.atoms[1:3]))
