"""Puckering coordinates against rings that are built from them."""

import math

import pytest
import torch

from tpsctl.molecule.rings import Ring, puckering, rings
from tpsctl.molecule.topology import Atom, Topology


def molecule(atoms, bonds):
    """A topology from words like "ALA2:CA"; the element is the first letter of the name."""
    made = []
    for word in atoms:
        residue, _, name = word.rpartition(":")
        residue_name, number = residue.rstrip("0123456789") or "MOL", residue.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        made.append(Atom(name, name[0], residue_name, int(number or 1), "", 12.0))
    place = {word: i for i, word in enumerate(atoms)}
    pairs = [tuple(sorted((place[a], place[b]))) for a, b in (bond.split("-") for bond in bonds)]
    return Topology(tuple(made), tuple(sorted(pairs)))


def cycle(count):
    names = [f"C{i + 1}" for i in range(count)]
    return molecule(names, [f"{a}-{b}" for a, b in zip(names, [*names[1:], names[0]], strict=True)])


def built(count, terms, *, last=0.0, radius=0.13):
    """A ring with given (m, q_m, phi_m), after a rotation and a translation that must not matter."""
    j = torch.arange(count, dtype=torch.float64)
    angle = 2 * math.pi * j / count
    z = last * (-1) ** j / math.sqrt(count)
    for m, q, phi in terms:
        z = z + math.sqrt(2 / count) * q * torch.cos(phi + m * angle)
    x = torch.stack((radius * angle.cos(), radius * angle.sin(), z), 1)
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.4, 1.1], [0.4, 0.0, -0.3], [-1.1, 0.3, 0.0]]))
    return (x @ turn.T + torch.tensor([0.3, -0.2, 0.9]))[None]


def ring_of(count):
    return Ring("ring", tuple(range(count)))


# The order of atoms is clockwise seen from the normal R' x R'', so that heights along it are -z; phases shift by pi.
def measured(x, count):
    return puckering(x, ring_of(count))


@pytest.mark.parametrize("phi", [-2.5, 0.0, 0.7, 3.0])
def test_amplitude_and_phase_of_a_five_ring(phi):
    pucker = measured(built(5, [(2, 0.04, phi)]), 5)
    assert float(pucker.amplitude_nm) == pytest.approx(0.04, rel=1e-12)
    difference = float(pucker.phases[0, 0]) - phi
    assert math.cos(difference) == pytest.approx(-1.0, abs=1e-12)
    assert pucker.theta is None


def test_an_envelope_has_one_atom_out_of_plane():
    """Equal phases move along the ring with the atoms: pseudorotation by pi/5 passes from one envelope to the next."""
    x = built(5, [(2, 0.04, 0.0)])
    phase = measured(x, 5).phases[0, 0]
    moved = measured(x.roll(-1, 1), 5).phases[0, 0]
    assert math.cos(float(moved - phase) - 4 * math.pi / 5) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("q", "last", "theta"), [(0.0, 0.057, math.pi), (0.0, -0.057, 0.0), (0.07, 0.0, math.pi / 2)])
def test_polar_angle_of_a_six_ring_tells_chairs_from_boats(q, last, theta):
    pucker = measured(built(6, [(2, q, 0.5)], last=last), 6)
    assert float(pucker.theta) == pytest.approx(theta, abs=1e-9)
    assert bool(pucker.phases.isnan()) == (q == 0)


def test_an_eight_ring_has_two_phases_and_a_polar_angle():
    pucker = measured(built(8, [(2, 0.03, 0.4), (3, 0.02, -1.0)], last=0.01), 8)
    assert pucker.phases.shape == (1, 2)
    assert float(pucker.amplitude_nm) == pytest.approx(math.sqrt(0.03**2 + 0.02**2 + 0.01**2), rel=1e-12)
    expected = math.atan2(math.hypot(0.03, 0.02), -0.01)
    assert float(pucker.theta) == pytest.approx(expected, abs=1e-12)
    shifts = pucker.phases[0] - torch.tensor([0.4, -1.0])
    assert shifts.cos().tolist() == pytest.approx([-1.0, -1.0], abs=1e-12)


def test_a_flat_ring_has_no_phase():
    pucker = measured(built(5, []), 5)
    assert float(pucker.amplitude_nm) == pytest.approx(0.0, abs=1e-15)
    assert bool(pucker.phases.isnan().all())


def test_a_four_ring_has_an_amplitude_only():
    pucker = measured(built(4, [], last=0.02), 4)
    assert float(pucker.amplitude_nm) == pytest.approx(0.02, rel=1e-12)
    assert pucker.phases.shape == (1, 0)
    assert pucker.theta is None


def test_rings_are_found_once_and_in_order():
    assert [ring.atoms for ring in rings(cycle(6))] == [(0, 1, 2, 3, 4, 5)]
    assert rings(cycle(3)) == ()
    assert rings(cycle(9)) == ()
    assert rings(molecule(["C1", "C2", "C3"], ["C1-C2", "C2-C3"])) == ()


def test_both_rings_of_decalin_are_found():
    names = [f"C{i}" for i in range(1, 11)]
    pairs = [f"C{i}-C{i + 1}" for i in range(1, 10)] + ["C1-C10", "C1-C6"]
    assert [ring.name for ring in rings(molecule(names, pairs))] == ["ring (C1 to C6)", "ring (C1 to C10)"]


def test_a_ring_begins_at_its_hetero_atom():
    sugar = molecule(["C1", "C2", "C3", "C4", "O4"], ["C1-C2", "C2-C3", "C3-C4", "C4-O4", "C1-O4"])
    (ring,) = rings(sugar)
    assert ring.atoms == (4, 0, 1, 2, 3)


def test_chairs_and_twist_boat_of_cyclohexane(root):
    from tpsctl.endpoints.load import load_structure

    folder = root / "tests" / "landscape" / "molecules"
    degrees = {}
    for form in ("chair", "chair_flipped", "twist_boat"):
        structure = load_structure(folder / f"cyclohexane_{form}.pdb")
        (ring,) = rings(structure.topology)
        degrees[form] = math.degrees(float(puckering(structure.x[None], ring).theta))
    # Files have 1e-4 nm; 1e-4 of the amplitude of 0.057 nm is 0.1 degrees.
    assert degrees == pytest.approx({"chair": 0.0, "chair_flipped": 180.0, "twist_boat": 90.0}, abs=0.3)
