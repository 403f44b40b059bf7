"""The gate: sound images pass, every kind of fault is found, named and placed; nothing is dropped."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tpsctl.endpoints import align, load_structure
from tpsctl.errors import ValidationError
from tpsctl.guess import LinearGuess, TorsionGuess
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.molecule.z_matrix import ZMatrix
from tpsctl.validation.geometry import CHECKS, GeometryGate


@pytest.fixture(scope="module")
def ends(root):
    folder = root / "recipes/alanine_dipeptide"
    return align(load_structure(folder / "c7eq.pdb"), load_structure(folder / "c7ax.pdb"))


@pytest.fixture(scope="module")
def gate(ends):
    return GeometryGate(ends.topology, ends.x)


@pytest.fixture(scope="module")
def sound(ends):
    """Two good paths of 30 images."""
    generators = [torch.Generator().manual_seed(k) for k in range(2)]
    return TorsionGuess(ends.topology, spread_deg=5.0).draw(ends.x, 30, generators)


def index(ends, name, residue="ALA"):
    atoms = ends.topology.atoms
    return next(i for i, a in enumerate(atoms) if (a.residue_name, a.name) == (residue, name))


def failed(report):
    """Failing checks with the (path, image) of every failure."""
    return {
        name: [tuple(where) for where in (~ok).nonzero().tolist()] for name, ok in report.passes.items() if not ok.all()
    }


def test_sound_paths_pass(gate, sound):
    report = gate.check(sound)
    assert failed(report) == {}
    assert report.verdicts == ("valid", "valid")
    assert tuple(report.passes) == CHECKS
    assert report.image_passes.shape == (2, 30)
    assert bool(report.path_passes.all())
    assert set(report.columns) >= {"valid", "ok_chirality", "bond_deviation", "gap_ratio"}
    assert all(column.shape == (2, 30) for column in report.columns.values())


def test_paths_are_not_changed(gate, sound):
    before = sound.clone()
    gate.check(sound)
    assert torch.equal(sound, before)


def test_position_that_is_not_finite(gate, sound):
    paths = sound.clone()
    paths[1, 7, 3, 0] = torch.nan
    report = gate.check(paths)
    assert failed(report)["finite"] == [(1, 7)]
    assert report.faults[0] == ""
    assert report.faults[1].startswith("finite at image 7: position not finite")


def test_stretched_bond(gate, sound, ends):
    paths = sound.clone()
    n, h = index(ends, "N"), index(ends, "H")
    paths[0, 12, h] = paths[0, 12, n] + 1.4 * (paths[0, 12, h] - paths[0, 12, n])
    report = gate.check(paths)
    assert failed(report) == {"bonds": [(0, 12)]}
    assert report.faults[0].startswith("bonds at image 12: A:ALA2:N - A:ALA2:H deviates 40 % from both ends, expected")


def test_clash(gate, sound, ends):
    """The C-terminal methyl turned onto the N-terminal oxygen by its bonds."""
    paths = sound.clone()
    target, hydrogen = index(ends, "O", "ACE"), index(ends, "H1", "NME")
    methyl = [index(ends, name, "NME") for name in ("C", "H1", "H2", "H3")]
    paths[1, 20, methyl] += paths[1, 20, target] - paths[1, 20, hydrogen] + 0.05
    report = gate.check(paths)
    assert (1, 20) in failed(report)["clashes"]
    assert "nm apart, expected at least" in report.faults[1]


def test_mirrored_image_has_inverted_centers(gate, sound, ends):
    paths = sound.clone()
    paths[0, 15] *= torch.tensor([1.0, 1.0, -1.0])
    report = gate.check(paths)
    assert failed(report)["chirality"] == [(0, 15)]
    assert failed(report)["winding"] == [(0, 15)]
    assert "chirality at image 15: center A:ALA2:CA is inverted (determinant -0." in report.faults[0]


def test_one_inverted_center(gate, sound, ends):
    """Only H-alpha on the wrong side: C-alpha alone is reported, methyls are not."""
    paths = sound.clone()
    ca, ha = index(ends, "CA"), index(ends, "HA")
    paths[0, 9, ha] = 2 * paths[0, 9, ca] - paths[0, 9, ha]
    found = failed(gate.check(paths))
    assert found["chirality"] == [(0, 9)]
    assert "winding" not in found


def test_methyl_hydrogens_exchanged(gate, sound, ends):
    """From one image on two hydrogens have changed places: energies cannot tell, winding can."""
    paths = sound.clone()
    one, two = index(ends, "HB1"), index(ends, "HB2")
    paths[1, 10:, [one, two]] = paths[1, 10:, [two, one]]
    report = gate.check(paths)
    found = failed(report)
    assert found["winding"] == [(1, k) for k in range(10, 30)]
    assert "chirality" not in found
    assert "center A:ALA2:CB is inverted" in report.faults[1]
    assert "(and 19 more)" in report.faults[1]


def turned(x, topology, bond, degrees):
    """The molecule with the part behind a bond turned."""
    j, k = bond
    axis = (x[k] - x[j]) / (x[k] - x[j]).norm()
    moving = sorted(topology.branch(k, without=j) - {k})
    arm, angle = x[moving] - x[k], torch.deg2rad(torch.tensor(float(degrees)))
    along = (arm @ axis).unsqueeze(-1) * axis
    result = x.clone()
    result[moving] = (
        x[k]
        + along
        + torch.cos(angle) * (arm - along)
        + torch.sin(angle) * torch.linalg.cross(axis.expand_as(arm), arm)
    )
    return result


@pytest.mark.parametrize(("degrees", "fails"), [(40, False), (90, True), (180, True)])
def test_peptide_bond_twisted_or_cis(gate, sound, ends, degrees, fails):
    paths = sound.clone()
    c, n = index(ends, "C"), index(ends, "N", "NME")
    paths[0, 5] = turned(paths[0, 5], ends.topology, (c, n), degrees)
    report = gate.check(paths)
    assert (failed(report).get("omega") == [(0, 5)]) == fails
    assert ("omega NME3 is" in report.faults[0] and "away from trans" in report.faults[0]) == fails


def test_peptide_bond_may_turn_if_the_ends_differ(ends):
    c, n = index(ends, "C"), index(ends, "N", "NME")
    cis = turned(ends.x[1], ends.topology, (c, n), 180)
    paths = torch.stack([ends.x[0], turned(ends.x[1], ends.topology, (c, n), 90), cis])[None]
    assert "omega" not in failed(GeometryGate(ends.topology, torch.stack([ends.x[0], cis])).check(paths))


def test_jump_between_neighbors(gate, ends):
    """All images near the ends and none between."""
    wiggle = 1e-4 * torch.randn(1, 40, 22, 3, generator=torch.Generator().manual_seed(0))
    paths = torch.cat([ends.x[:1].expand(20, -1, -1), ends.x[1:].expand(20, -1, -1)])[None] + wiggle
    report = gate.check(paths)
    assert failed(report) == {"jump": [(0, 19)]}
    assert report.faults[0].startswith("jump at image 19: gap to the next image is ")
    assert float(report.measured["gap_ratio"][0, 19]) > 30


def test_rigid_motion_of_images_is_no_jump(gate, sound):
    paths = sound.clone()
    paths[:, 15:] += 5.0
    assert failed(gate.check(paths)) == {}


def test_linear_path_fails(gate, ends):
    """Found on the straight line: shrunken bonds and clashes."""
    found = failed(gate.check(LinearGuess().draw(ends.x, 50, [torch.Generator()])))
    assert "bonds" in found


def test_the_ends_always_pass(root):
    """Whatever contacts an end has, it is the reference."""
    folder = root / "tests/endpoints/data"
    pair = align(load_structure(folder / "peptide_a.pdb"), load_structure(folder / "peptide_b.pdb"))
    report = GeometryGate(pair.topology, pair.x).check(pair.x[:, None])
    assert bool(report.image_passes.all())


def test_ends_of_opposite_handedness_are_refused(ends):
    mirrored = torch.stack([ends.x[0], ends.x[1] * torch.tensor([1.0, 1.0, -1.0])])
    with pytest.raises(
        ValidationError, match=r"the ends differ in the handedness of A:ACE1:CH3, so no path can keep it"
    ):
        GeometryGate(ends.topology, mirrored)


def test_heavy_atoms_only_still_have_chirality(ends, sound):
    heavy = [i for i, a in enumerate(ends.topology.atoms) if a.element != "H"]
    gate = GeometryGate(ends.topology.select(heavy), ends.x[:, heavy])
    paths = sound[:, :, heavy].clone()
    assert failed(gate.check(paths)) == {}
    paths[0, 15] *= torch.tensor([1.0, 1.0, -1.0])
    assert failed(gate.check(paths))["chirality"] == [(0, 15)]


@pytest.fixture(scope="module")
def alpha_carbons(root):
    """Real folded and unfolded chignolin C-alpha chains."""
    file = Path(os.environ.get("TPSCTL_SHARED", root.parent / "shared")) / "golden/chignolin_diff/golden.npz"
    if not file.exists():
        pytest.skip("golden data not here")
    data = np.load(file)
    atoms = tuple(Atom("CA", "C", "GLY", i + 1, "A", 12.011) for i in range(10))
    ends = torch.from_numpy(np.stack([data["endpoint1_angstrom"][0], data["endpoint2_kabsch_angstrom"][0]])) * 0.1
    return Topology(atoms, tuple((i, i + 1) for i in range(9))), ends


def test_alpha_carbon_chain(alpha_carbons):
    topology, ends = alpha_carbons
    gate = GeometryGate(topology, ends)
    paths = TorsionGuess(topology, spread_deg=0.0).draw(ends, 30, [torch.Generator()])
    report = gate.check(paths)
    assert tuple(report.passes) == ("finite", "bonds", "clashes", "jump")
    assert failed(report) == {}
    paths[0, 12, 9] = paths[0, 12, 0] + 0.1
    assert failed(gate.check(paths))["clashes"] == [(0, 12)]


def test_model_system_is_judged_by_numbers_and_jumps():
    ends = torch.tensor([[[23.0, 31.0]], [[42.0, 8.0]]])
    paths = LinearGuess().draw(ends, 20, [torch.Generator()])
    paths[0, 4, 0, 1] = torch.inf
    report = GeometryGate(None, ends).check(paths)
    assert tuple(report.passes) == ("finite", "jump")
    assert failed(report)["finite"] == [(0, 4)]


def test_internal_coordinates_do_not_hide_behind_the_gate(ends, gate):
    """A bond angle closed to 40 degrees is a clash or a planar center, though every bond is right."""
    coordinates = ZMatrix(ends.topology)
    q = coordinates.to_internal(ends.x[:1])
    angles = q.angles.clone()
    angles[0, index(ends, "CB")] = torch.deg2rad(torch.tensor(40.0))
    bent = coordinates.to_positions(replace(q, angles=angles))
    assert not bool(gate.check(bent[None]).image_passes.any())


def test_gate_is_fast(gate, sound):
    """1600 images in well under a second (measured 0.16 s on one loaded core)."""
    paths = sound.repeat(27, 1, 1, 1)
    gate.check(paths)
    begin = time.process_time()
    gate.check(paths)
    assert time.process_time() - begin < 2  # generous: shared machines
