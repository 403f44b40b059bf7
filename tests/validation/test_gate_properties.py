"""Broken variants of a good path are each caught by the gate, at the right image and place, for the right reason.

Hypothesis chooses the image, the residue and the size of the fault. The gate sees the path as it is, before any
minimization; the mirrored residue and the cis peptide bond have sound bonds, and only their check can tell.
"""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings

from tpsctl.endpoints import align, load_structure
from tpsctl.guess import TorsionGuess
from tpsctl.validation.geometry import GeometryGate

IMAGES = 20
SETTINGS = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def good(root):
    """A valid path of a capped peptide of four amino acids: topology, gate and images."""
    folder = root / "tests/endpoints/data"
    ends = align(load_structure(folder / "peptide_a.pdb"), load_structure(folder / "peptide_b.pdb"))
    gate = GeometryGate(ends.topology, ends.x)
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        path = TorsionGuess(ends.topology, spread_deg=5.0).draw(ends.x, IMAGES, [generator])
        if gate.check(path).verdicts == ("valid",):
            return ends.topology, gate, path[0]
    raise AssertionError("no guess between the two structures passes the gate")


def atom(topology, residue, name):
    return next(i for i, a in enumerate(topology.atoms) if (a.residue_id, a.name) == (residue, name))


def has(topology, residue, *names):
    own = {a.name for a in topology.atoms if a.residue_id == residue}
    return set(names) <= own


def chiral_residues(topology):
    numbers = sorted({a.residue_id for a in topology.atoms})
    return [number for number in numbers if has(topology, number, "N", "CA", "C", "CB", "HA")]


def failing(report):
    """Failing images by check, for the only path."""
    return {name: (~ok[0]).nonzero().flatten().tolist() for name, ok in report.passes.items() if not bool(ok.all())}


def fault(report, check):
    """The words about one check."""
    return next(text for text in report.faults[0].split("; ") if text.startswith(f"{check} at "))


def mirrored_residue(x, topology, residue):
    """One residue with its side chain and H-alpha reflected at the plane of N, CA and C: a D-amino acid."""
    n, ca, c = (atom(topology, residue, name) for name in ("N", "CA", "C"))
    normal = torch.linalg.cross(x[n] - x[ca], x[c] - x[ca])
    normal = normal / normal.norm()
    moving = [i for i in topology.neighbors[ca] if i not in (n, c)]
    moving = sorted(set().union(*(topology.branch(i, without=ca) for i in moving)) - {n, c})
    result = x.clone()
    result[moving] -= 2 * ((x[moving] - x[ca]) @ normal).unsqueeze(-1) * normal
    return result


def turned_peptide_bond(x, topology, residue, degrees):
    """The molecule turned about the bond from C to the N of this residue."""
    n = atom(topology, residue, "N")
    c = next(
        i for i in topology.neighbors[n] if topology.atoms[i].name == "C" and topology.atoms[i].residue_id != residue
    )
    axis = (x[n] - x[c]) / (x[n] - x[c]).norm()
    moving = sorted(topology.branch(n, without=c) - {n})
    arm, angle = x[moving] - x[n], torch.deg2rad(torch.tensor(degrees, dtype=x.dtype))
    along = (arm @ axis).unsqueeze(-1) * axis
    result = x.clone()
    cross = torch.linalg.cross(axis.expand_as(arm), arm)
    result[moving] = x[n] + along + torch.cos(angle) * (arm - along) + torch.sin(angle) * cross
    return result


def checked(gate, path, image, changed):
    variant = path.clone()
    variant[image] = changed
    return gate.check(variant[None])


def test_the_path_is_good(good):
    _, gate, path = good
    assert failing(gate.check(path[None])) == {}


@SETTINGS
@given(data=st.data(), image=st.integers(0, IMAGES - 1), value=st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_a_position_that_is_no_number(good, data, image, value):
    topology, gate, path = good
    where = data.draw(st.integers(0, topology.n_atoms - 1)), data.draw(st.integers(0, 2))
    x = path[image].clone()
    x[where] = value
    report = checked(gate, path, image, x)
    assert failing(report)["finite"] == [image]
    assert fault(report, "finite") == f"finite at image {image}: position not finite"


@SETTINGS
@given(data=st.data(), image=st.integers(0, IMAGES - 1))
def test_an_inverted_residue(good, data, image):
    topology, gate, path = good
    residue = data.draw(st.sampled_from(chiral_residues(topology)))
    report = checked(gate, path, image, mirrored_residue(path[image], topology, residue))
    assert failing(report)["chirality"] == [image]
    label = topology.atoms[atom(topology, residue, "CA")].label
    assert fault(report, "chirality").startswith(f"chirality at image {image}: center {label} is inverted")
    assert "bonds" not in failing(report)


@SETTINGS
@given(data=st.data(), image=st.integers(0, IMAGES - 1), degrees=st.floats(130, 230))
def test_a_cis_peptide_bond(good, data, image, degrees):
    topology, gate, path = good
    residues = [a.residue_id for a in topology.atoms if a.name == "N"]
    residue = data.draw(st.sampled_from(residues))
    report = checked(gate, path, image, turned_peptide_bond(path[image], topology, residue, degrees))
    assert failing(report)["omega"] == [image]
    name = topology.atoms[atom(topology, residue, "N")].residue
    words = fault(report, "omega")
    assert words.startswith(f"omega at image {image}: omega {name} is ")
    assert "away from trans" in words
    assert not {"bonds", "chirality", "finite"} & set(failing(report))


@SETTINGS
@given(data=st.data(), image=st.integers(0, IMAGES - 1), distance_nm=st.floats(0.01, 0.08))
def test_two_atoms_in_one_place(good, data, image, distance_nm):
    """An atom beside one that is at least three bonds away; the pair is named, whatever else is torn by the move."""
    topology, gate, path = good
    i = data.draw(st.integers(0, topology.n_atoms - 1))
    near = {i} | set(topology.neighbors[i]) | {k for j in topology.neighbors[i] for k in topology.neighbors[j]}
    far = [j for j in range(topology.n_atoms) if j not in near]
    assume(far)
    j = data.draw(st.sampled_from(far))
    x = path[image].clone()
    away = x[i] - x[j]
    x[i] = x[j] + distance_nm * away / away.norm()
    report = checked(gate, path, image, x)
    assert failing(report)["clashes"] == [image]
    words = fault(report, "clashes")
    assert words.startswith(f"clashes at image {image}: ")
    assert topology.atoms[i].label in words


@SETTINGS
@given(data=st.data(), images=st.lists(st.integers(1, IMAGES - 2), min_size=1, max_size=5, unique=True))
def test_every_broken_image_is_counted(good, data, images):
    topology, gate, path = good
    variant = path.clone()
    for image in images:
        residue = data.draw(st.sampled_from(chiral_residues(topology)))
        variant[image] = mirrored_residue(path[image], topology, residue)
    report = gate.check(variant[None])
    assert failing(report)["chirality"] == sorted(images)
    assert (f"(and {len(images) - 1} more)" in fault(report, "chirality")) == (len(images) > 1)
