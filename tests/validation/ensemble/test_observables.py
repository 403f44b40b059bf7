"""What a comparison sees: progress is 0 and 1 at the ends, and nothing depends on place and orientation."""

import pytest
import torch

from tpsctl.errors import ValidationError
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.validation.ensemble.observables import DistanceObservables, TorsionObservables, observables_of


def chain(count, element="C", name="CA"):
    atoms = tuple(Atom(name, element, "ALA", k + 1, "A", 12.0) for k in range(count))
    return Topology(atoms, tuple((k, k + 1) for k in range(count - 1)))


def butane_like(angle_deg):
    """Four atoms with one torsion."""
    angle = torch.deg2rad(torch.as_tensor(angle_deg, dtype=torch.float64))
    rows = [[0.1, 0.0, 0.1], [0.0, 0.0, 0.1], [0.0, 0.0, 0.0]]
    return torch.stack((*map(torch.tensor, rows), torch.stack((0.1 * angle.cos(), 0.1 * angle.sin(), angle * 0))))


def straight_and_folded(count=12):
    """A stretched chain, and the same with its second half folded back at contact distance."""
    straight = torch.stack((torch.arange(count) * 0.38, torch.zeros(count), torch.zeros(count)), 1)
    folded = straight.clone()
    half = count // 2
    folded[half:, 0] = straight[:half].flip(0)[:, 0]
    folded[half:, 1] = 0.5
    return straight, folded


def test_a_torsion_is_half_way_where_both_ends_are_as_far():
    topology = Topology(tuple(Atom(f"C{k}", "C", "BUT", 1, "A", 12.0) for k in range(4)), ((0, 1), (1, 2), (2, 3)))
    ends = butane_like(-170.0)[None], butane_like(150.0)[None]  # 40 degrees apart over the edge at 180
    observed = TorsionObservables(topology, *ends)
    assert observed.events == observed.names
    found = observed.progress(torch.stack([butane_like(angle) for angle in (-170.0, 170.0, 180.0, 150.0)])).flatten()
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 0.25, 1.0]), rtol=0, atol=1e-7)


def test_features_of_torsions_are_their_cosines_and_sines():
    topology = Topology(tuple(Atom(f"C{k}", "C", "BUT", 1, "A", 12.0) for k in range(4)), ((0, 1), (1, 2), (2, 3)))
    x = torch.stack([butane_like(angle) for angle in (30.0, 100.0)])
    observed = TorsionObservables(topology, x[:1], x[1:])
    angle = dihedral(x, torch.tensor([[0, 1, 2, 3]]))
    torch.testing.assert_close(observed.features(x), torch.cat((angle.cos(), angle.sin()), 1))


def test_contacts_of_a_folding_chain_form_from_0_to_1():
    straight, folded = straight_and_folded()
    observed = observables_of(chain(12), straight[None], folded[None])
    assert isinstance(observed, DistanceObservables)
    assert len(observed.events) >= 3
    found = observed.progress(torch.stack((straight, folded)))
    torch.testing.assert_close(found, torch.tensor([[0.0], [1.0]]).expand_as(found))
    backward = DistanceObservables(chain(12), folded[None], straight[None])
    torch.testing.assert_close(backward.progress(torch.stack((folded, straight))), found)


@pytest.mark.parametrize("kind", [DistanceObservables, TorsionObservables])
def test_nothing_depends_on_place_and_orientation(kind, generator):
    straight, folded = straight_and_folded()
    noise = 0.02 * torch.randn(2, 12, 3, generator=generator)
    x = torch.stack((straight, folded)) + noise
    observed = kind(chain(12, name="CA" if kind is DistanceObservables else "C"), x[:1], x[1:])
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    turn[:, 0] *= torch.sign(torch.linalg.det(turn))
    moved = x @ turn + 3.0
    torch.testing.assert_close(observed.features(moved), observed.features(x))
    torch.testing.assert_close(observed.progress(moved), observed.progress(x))


def test_ends_without_any_event_are_refused():
    straight, _ = straight_and_folded()
    with pytest.raises(ValidationError, match="no contact"):
        observables_of(chain(12), straight[None], straight[None])
    topology = Topology(tuple(Atom(f"C{k}", "C", "BUT", 1, "A", 12.0) for k in range(4)), ((0, 1), (1, 2), (2, 3)))
    with pytest.raises(ValidationError, match="no torsion differs"):
        TorsionObservables(topology, butane_like(60.0)[None], butane_like(75.0)[None])
