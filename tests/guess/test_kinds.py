"""What is particular to each kind of guess."""

import math

import pytest
import torch

from tpsctl.errors import PathError
from tpsctl.guess import IdppGuess, LatentGuess, LinearGuess, TorsionGuess, TrajectoryGuess, Waypoint, untangled
from tpsctl.guess.base import straight_line
from tpsctl.guess.latent import linear, spherical
from tpsctl.guess.trajectory import resample
from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.molecule.symmetry import stereo_centers
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.molecule.z_matrix import ZMatrix


def handedness_kept(paths, ends):
    centers = stereo_centers(ends.topology, ends.x)
    wanted = centers.handedness(ends.x[0]).unsqueeze(-1)
    return bool((centers.determinants(paths) * wanted > 0.2).all())


# --- idpp --------------------------------------------------------------------------------------------------


def test_idpp_keeps_atoms_further_apart_than_linear(peptide_ends, generators, closest_approach):
    ends, topology = peptide_ends.x, peptide_ends.topology
    straight = LinearGuess().draw(ends, 20, generators(1))
    better = IdppGuess(topology, spread_nm=0.0, max_steps=30).draw(ends, 20, generators(1))
    assert float(closest_approach(straight, topology)) < 0.03
    assert float(closest_approach(better, topology)) > 2 * float(closest_approach(straight, topology))


def test_idpp_of_a_diatomic_has_the_interpolated_length():
    """Two bonded atoms that change length by a half: every image has the length in between."""
    topology = Topology(tuple(Atom(n, "C", "LIG", 1, "", 12.0) for n in "ABC"), ((0, 1), (1, 2)))
    ends = torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]], [[-0.05, 0, 0], [0.1, 0, 0], [0.25, 0, 0]]])
    (path,) = IdppGuess(topology, spread_nm=0.0).draw(ends, 11, [torch.Generator()])
    lengths = (path[:, 1] - path[:, 0]).norm(dim=-1)
    assert torch.allclose(lengths, torch.linspace(0.1, 0.15, 11), atol=1e-5)  # tolerance of the minimization


# --- torsion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["alanine_ends", "peptide_ends"])
def test_internal_coordinates_round_trip(which, request):
    ends = request.getfixturevalue(which)
    coordinates = ZMatrix(ends.topology)
    back = coordinates.to_positions(coordinates.to_internal(ends.x))
    assert float(rmsd(back, ends.x).max()) < 1e-7  # square root of rounding


def test_internal_coordinates_of_fragments_and_single_atoms(alanine_ends):
    """An ion beside the molecule is a fragment of its own."""
    ion = Atom("NA", "Na", "NA", 9, "B", 22.99)
    topology = Topology((*alanine_ends.topology.atoms, ion), alanine_ends.topology.bonds)
    ends = torch.cat([alanine_ends.x, torch.tensor([[[1.0, 0, 0]], [[1.0, 1.0, 0]]])], 1)
    (path,) = TorsionGuess(topology, spread_deg=0.0).draw(ends, 11, [torch.Generator()])
    assert torch.allclose(path[:, -1], straight_line(ends, 11)[:, -1], atol=1e-2)  # untangling moves it a little
    assert (
        float(
            rmsd(
                path[5, :22],
                TorsionGuess(alanine_ends.topology, spread_deg=0.0).draw(alanine_ends.x, 11, [torch.Generator()])[0, 5],
            )
        )
        < 1e-2
    )


def test_torsion_guess_keeps_bonds_and_handedness(alanine_ends, generators):
    topology = alanine_ends.topology
    paths = TorsionGuess(topology, spread_deg=40.0).draw(alanine_ends.x, 40, generators(4))
    assert handedness_kept(paths, alanine_ends)
    i, j = torch.tensor(topology.bonds).unbind(1)
    lengths = (paths[:, :, i] - paths[:, :, j]).norm(dim=-1)
    assert float((lengths / lengths[:, :1] - 1).abs().max()) < 0.03  # ends differ by 1 %, untangling adds 2 %


def test_torsion_guess_has_no_clash(alanine_ends, generators, closest_approach):
    paths = TorsionGuess(alanine_ends.topology).draw(alanine_ends.x, 40, generators(4))
    assert float(closest_approach(paths, alanine_ends.topology).min()) > 0.15  # hydrogen bonds: 0.16


@pytest.mark.parametrize("untangle", [True, False])
def test_waypoints_are_visited(alanine_ends, generators, untangle):
    """The deliberately bad guess: phi = 0, psi = 84 degrees halfway."""
    topology = alanine_ends.topology
    waypoints = [Waypoint(0.5, {"phi ALA2": 0.0, "psi ALA2": 84.0})]
    guess = TorsionGuess(topology, spread_deg=0.0, waypoints=waypoints, untangle=untangle)
    (path,) = guess.draw(alanine_ends.x, 41, generators(1))
    named = dict(topology.backbone_dihedrals)
    phi, psi = dihedral(path[20], torch.tensor([named["phi ALA2"], named["psi ALA2"]])).rad2deg().tolist()
    # exact torsions; bending of neighbors towards the end values shifts psi by 2 degrees, untangling by up to 10
    assert phi == pytest.approx(0, abs=10 if untangle else 3)
    assert psi == pytest.approx(84, abs=10 if untangle else 3)
    assert handedness_kept(path, alanine_ends)


def test_long_way_round(alanine_ends, generators):
    """phi from -75 to 60 degrees passes 180 instead of 0."""
    topology = alanine_ends.topology
    (path,) = TorsionGuess(topology, spread_deg=0.0, long_way=1.0).draw(alanine_ends.x, 41, generators(1))
    phi = dihedral(path, torch.tensor([dict(topology.backbone_dihedrals)["phi ALA2"]]))[:, 0]
    assert float(phi.cos().min()) < -0.9
    assert float(phi.abs().min().rad2deg()) > 40


def test_waypoint_of_an_unknown_torsion(alanine_ends):
    with pytest.raises(PathError, match=r'unknown torsion "chi ALA2"; this molecule has omega ALA2, .*psi ALA2'):
        TorsionGuess(alanine_ends.topology, waypoints=[Waypoint(0.5, {"chi ALA2": 0.0})])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_waypoint_outside_the_path(alanine_ends, fraction):
    with pytest.raises(PathError, match=r"got fraction .*, expected a value between 0 and 1"):
        TorsionGuess(alanine_ends.topology, waypoints=[Waypoint(fraction, {"phi ALA2": 0.0})])


def test_untangling_leaves_a_good_path_alone(alanine_ends):
    """Between two copies of one end there is nothing to push."""
    still = alanine_ends.x[:1].expand(10, -1, -1).clone()
    assert torch.allclose(untangled(still, alanine_ends.topology), still, atol=1e-9)


# --- latent ------------------------------------------------------------------------------------------------


def test_spherical_interpolation_keeps_the_length():
    a, b = (torch.randn(30, 3, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    a, b = ((v - v.mean(0)) / (v - v.mean(0)).norm() for v in (a, b))
    s = torch.linspace(0, 1, 11)
    assert torch.allclose(spherical(a, b, s).flatten(1).norm(dim=1), torch.ones(11))
    assert float(linear(a, b, s)[5].norm()) < 0.9
    for k, end in ((0, a), (-1, b)):
        assert torch.allclose(spherical(a, b, s)[k], end)


def test_spherical_interpolation_of_parallel_vectors_is_linear():
    a = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(spherical(a, a, torch.tensor([0.5]))[0], a)


class GaussianPrior:
    """Exact prior: every bead coordinate is normal; the posterior mean is known."""

    def __init__(self, mean, width):
        self.mean, self.width = mean, width

    def noise(self, x, t, generator):
        return x + t * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    def denoise(self, x_t, t, generator, *, steps=100, shared_noise=False):
        gain = self.width**2 / (self.width**2 + t**2)
        return self.mean + gain * (x_t - self.mean)


def test_latent_guess_goes_through_the_prior(generators):
    """At a high level every image comes close to the mean of a narrow prior, whatever the ends."""
    mean = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    ends = torch.stack([mean, mean + 0.5 * torch.randn(6, 3, generator=torch.Generator().manual_seed(1))])
    guess = LatentGuess(GaussianPrior(mean, 0.01), level=1.0)
    (path,) = guess.draw(ends, 11, generators(1))
    assert float(rmsd(path[5], mean)) < 1e-3  # gain 1e-4 times displacements of order 1


# --- trajectory --------------------------------------------------------------------------------------------


def test_resampled_images_are_equally_spaced_on_the_given_line():
    s = torch.tensor([0.0, 0.1, 0.15, 0.8, 1.0]).reshape(-1, 1, 1)
    path = resample(s * torch.ones(1, 4, 3), 11)
    assert torch.allclose(path[:, 0, 0], torch.linspace(0, 1, 11))


def away_from(path, other):
    """RMSD of every image to the closest image of another path, nm."""
    n, m = len(path), len(other)
    return rmsd(path.repeat_interleave(m, 0), other.repeat(n, 1, 1)).reshape(n, m).amin(1)


def test_trajectory_is_reversed_and_rotated_if_needed(alanine_ends, generators):
    forward = TorsionGuess(alanine_ends.topology, spread_deg=0.0).draw(alanine_ends.x, 30, generators(1))[0]
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5)))
    turned = forward.flip(0) @ (q * torch.sign(torch.linalg.det(q))) + 2.0
    (path,) = TrajectoryGuess([turned]).draw(alanine_ends.x, 30, generators(1))
    assert float(away_from(path, forward).max()) < 0.005  # half a gap of 0.006 nm: images shift along the line


def test_each_path_takes_its_own_trajectory(alanine_ends, generators):
    first = TorsionGuess(alanine_ends.topology).draw(alanine_ends.x, 30, generators(2))
    paths = TrajectoryGuess(list(first)).draw(alanine_ends.x, 30, generators(3))
    assert torch.equal(paths[0], paths[2])
    for k in (0, 1):
        assert float(away_from(paths[k], first[k]).max()) < 0.008  # half of the largest gap, 0.013 nm


def test_trajectory_that_is_not_finite(alanine_ends):
    frames = straight_line(alanine_ends.x, 5)
    frames[2] = math.nan
    with pytest.raises(PathError, match=r"expected at least one finite trajectory"):
        TrajectoryGuess([frames])
    with pytest.raises(PathError, match=r"got no trajectory"):
        TrajectoryGuess([])
