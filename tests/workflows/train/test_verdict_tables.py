"""Tables of the verdict in a card, which may hold anything."""

import pytest

from tpsctl.workflows.train.verdict_tables import verdict_tables

REGIONS = {
    "torsions": ["phi ALA2", "psi ALA2"],
    "radius_deg": 29.9,
    "centers_deg": [[0, 0], [60, 0], [0, 60]],
    "largest_error_kj_per_mol": 1.5,
    "residual_kj_per_mol": [-0.5, 1.0, None],
    "error_kj_per_mol": [0.1, 0.3, None],
}


def test_energies_of_regions_have_a_table():
    _, regions, _ = verdict_tables({"words": "fit.", "regions": REGIONS})
    assert regions.title == (
        "energies against the force field in 3 regions of the data (radius 29.9 degrees in phi ALA2, psi ALA2)"
    )
    assert regions.rows == [["2", "1.06", "1.5", "0.2"]]


@pytest.mark.parametrize("regions", [None, [], {}, {"residual_kj_per_mol": ["a"]}, {"residual_kj_per_mol": 3}])
def test_without_energies_there_is_none(regions):
    assert len(verdict_tables({"words": "fit.", "regions": regions})) == 2
