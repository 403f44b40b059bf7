"""Weights of the user's frames: NumPy arrays, plain text, PLUMED's COLVAR files, and what is wrong with them."""

import numpy as np
import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.recipe.train import BiasSection, EqualWeightsSection, TrajectoryDataSection, WeightsSection
from tpsctl.units import thermal_energy
from tpsctl.workflows.train.weights import log_weights, read_numbers

COLVAR = """\
#! FIELDS time phi metad.bias
#! SET min_phi -pi
0.0 -1.5 0.0
1.0 -1.4 5.0
2.0 1.0 2.5
3.0 1.1 10.0
"""


def data(tmp_path, reweighting):
    names = tuple(tmp_path / name for name in ("a.dcd", "b.dcd"))
    return TrajectoryDataSection(
        kind="trajectories",
        trajectories=names,
        topology=tmp_path / "t.pdb",
        temperature_k=300.0,
        reweighting=reweighting,
    )


def test_weights_of_a_bias_are_its_boltzmann_factors(tmp_path):
    (tmp_path / "COLVAR").write_text(COLVAR)
    np.save(tmp_path / "b.npy", np.array([1.0, 2.0]))
    files = (tmp_path / "COLVAR", tmp_path / "b.npy")
    section = data(tmp_path, BiasSection(kind="bias", files=files, column="metad.bias"))
    first, second = log_weights(section, (4, 2), stride=2)
    torch.testing.assert_close(first, torch.tensor([0.0, 2.5], dtype=torch.float64) / thermal_energy(300.0))
    torch.testing.assert_close(second, torch.tensor([1.0], dtype=torch.float64) / thermal_energy(300.0))


def test_given_weights_are_taken_as_they_are(tmp_path):
    (tmp_path / "w.txt").write_text("# weights\n1\n2\n4\n")
    np.save(tmp_path / "w.npy", np.array([0.5]))
    section = data(tmp_path, WeightsSection(kind="weights", files=(tmp_path / "w.txt", tmp_path / "w.npy")))
    first, second = log_weights(section, (3, 1), stride=1)
    torch.testing.assert_close(first.exp(), torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
    assert second.exp().tolist() == pytest.approx([0.5])


def test_equal_weights_are_none(tmp_path):
    assert log_weights(data(tmp_path, EqualWeightsSection(kind="equal")), (3, 1), stride=1) is None


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (
            COLVAR,
            None,
            r"has 3 columns \(time, phi, metad\.bias\)\. Name the one to take with data\.reweighting\.column",
        ),
        (COLVAR, "metad.rbias", r"has no column metad\.rbias \(time, phi, metad\.bias\)"),
        ("1 2\n3 4\n", "bias", r"has no column bias, without names \(no line #! FIELDS\)"),
        ("1\nx\n", None, "cannot be read as numbers"),
        ("1\nnan\n", None, "value 1 is nan, expected a finite number"),
    ],
)
def test_a_file_that_is_wrong_is_explained(tmp_path, content, column, message):
    (tmp_path / "bias.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        read_numbers(tmp_path / "bias.txt", column)


def test_counts_that_do_not_fit_are_told(tmp_path):
    np.save(tmp_path / "w.npy", np.ones(3))
    one = data(tmp_path, WeightsSection(kind="weights", files=(tmp_path / "w.npy",)))
    with pytest.raises(DataError, match=r"files: got 1 for 2 trajectories, expected one file for each"):
        log_weights(one, (3, 3), stride=1)
    two = data(tmp_path, WeightsSection(kind="weights", files=(tmp_path / "w.npy",) * 2))
    with pytest.raises(DataError, match=r"w\.npy: has 3 values, but b\.dcd has 4 frames"):
        log_weights(two, (3, 4), stride=1)


def test_a_weight_of_zero_is_refused(tmp_path):
    np.save(tmp_path / "w.npy", np.array([1.0, 0.0]))
    section = data(tmp_path, WeightsSection(kind="weights", files=(tmp_path / "w.npy",) * 2))
    with pytest.raises(DataError, match="a weight is 0, expected values > 0"):
        log_weights(section, (2, 2), stride=1)


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "w.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as numbers"):
        read_numbers(tmp_path / "w.npy")
