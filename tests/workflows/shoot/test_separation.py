"""States that overlap, contain the top, or are no basins are refused in words; on a path along one coordinate."""

import pytest
import torch

from tpsctl.errors import RecipeError
from tpsctl.simulation.shooting.states import PointWithin, TwoStates
from tpsctl.units import thermal_energy
from tpsctl.workflows.shoot.separation import LEAST_DEPTH_KT, require_separated

PATH = torch.arange(11.0).reshape(11, 1, 1)
"""Eleven images at 0, 1, ..., 10 nm."""

KT = thermal_energy(300.0)


def states(a_nm, b_nm):
    """Everything within these distances of the ends."""
    return TwoStates([PointWithin(PATH[0], a_nm)], [PointWithin(PATH[-1], b_nm)])


def require(two, *, top=6, below_a=20.0, below_b=20.0, chosen=False, known=True):
    def energies(x):
        energy = torch.full((len(x),), 0.0)
        energy[0], energy[top], energy[-1] = -below_a, 0.0, -below_b
        return energy if known else None

    require_separated(two, PATH, top, energies, temperature_k=300.0, chosen=chosen)


def test_states_that_leave_the_top_between_them_are_accepted():
    require(states(2.5, 2.5))
    require(states(2.5, 2.5), known=False)


def test_states_that_overlap_are_named_with_the_image():
    with pytest.raises(RecipeError, match=r"A and B overlap: image 4 of the path is in both\. Give states"):
        require(states(5.5, 6.5))


@pytest.mark.parametrize(("two", "name", "end"), [((7.5, 1.5), "A", "A"), ((1.5, 4.5), "B", "B")])
def test_a_state_that_contains_the_top_is_named_with_its_depth(two, name, end):
    depth = rf"end {end} is 20\.0 kJ/mol \({20 / KT:.1f} kT at 300 K\) below it"
    with pytest.raises(RecipeError, match=rf"state {name} contains image 6, whose committor is asked for: {depth}"):
        require(states(*two), chosen=True)
    with pytest.raises(RecipeError, match=rf"state {name} contains image 6, whose committor is asked for\. Every"):
        require(states(*two), known=False)


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_neighborhood_of_an_end_must_be_a_basin(side):
    limit = LEAST_DEPTH_KT * KT
    require(states(2.5, 2.5), **{f"below_{side}": 1.001 * limit})
    with pytest.raises(RecipeError, match=rf"end {side.upper()} is hardly a state: .* \(2\.0 kT at 300 K\) below it"):
        require(states(2.5, 2.5), **{f"below_{side}": 0.999 * limit})
    # the depth of a state that a user chose is not that of the end
    require(states(2.5, 2.5), **{f"below_{side}": 0.999 * limit}, chosen=True)
