"""The data set: weights, split, file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.simulation.bias import BiasGrid
from tpsctl.simulation.dataset import Dataset
from tpsctl.units import thermal_energy

ARRAYS = ("positions", "forces", "energies", "bias_energies", "trajectories", "times_ps")
TOPOLOGY = Topology(
    tuple(Atom(name, "C", "BUT", 1, "", 12.011) for name in ("C1", "C2", "C3", "C4")), ((0, 1), (1, 2), (2, 3))
)


def make(frames_per_trajectory: int = 10, trajectories: int = 4) -> Dataset:
    n = frames_per_trajectory * trajectories
    grid = BiasGrid(np.random.default_rng(0).normal(size=(8,)), ((0, 1, 2, 3),))
    x = torch.randn(n, 4, 3, dtype=torch.float64)
    return Dataset(
        topology=TOPOLOGY,
        temperature_k=300.0,
        positions=x.float(),
        forces=torch.randn(n, 4, 3).float(),
        energies=torch.randn(n),
        bias_energies=grid.energy_of(x),
        trajectories=torch.arange(trajectories).repeat_interleave(frames_per_trajectory),
        times_ps=torch.arange(frames_per_trajectory).repeat(trajectories) * 0.2,
        bias=grid,
        settings={"seed": 1},
    )


def test_a_saved_data_set_is_loaded_unchanged(tmp_path):
    saved = make()
    saved.save(tmp_path / "data.npz")
    loaded = Dataset.load(tmp_path / "data.npz")
    assert loaded.topology == saved.topology
    assert (loaded.temperature_k, loaded.settings) == (saved.temperature_k, saved.settings)
    for name in ARRAYS:
        assert torch.equal(getattr(loaded, name), getattr(saved, name)), name
        assert getattr(loaded, name).dtype == getattr(saved, name).dtype, name
    np.testing.assert_array_equal(loaded.bias.values, saved.bias.values)
    assert loaded.bias.dihedrals == saved.bias.dihedrals
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"], "no temporary file stays"


def test_a_data_set_without_bias_is_loaded_without_bias(tmp_path):
    replace(make(), bias=None).save(tmp_path / "data.npz")
    assert Dataset.load(tmp_path / "data.npz").bias is None


def test_split_keeps_trajectories_whole():
    train, held_out = make().split(1, seed=0)
    assert len(train) == 30
    assert len(held_out) == 10
    assert not set(train.trajectories.tolist()) & set(held_out.trajectories.tolist())


def test_split_depends_on_the_seed_alone():
    chosen = [make().split(1, seed=seed)[1].trajectories[0].item() for seed in (0, 0, 1, 2, 3, 4)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


@pytest.mark.parametrize("held_out", [0, 4])
def test_split_must_leave_a_trajectory_on_each_side(held_out):
    with pytest.raises(DataError, match=f"cannot hold out {held_out} of 4 trajectories"):
        make().split(held_out, seed=0)


def test_weights_turn_a_biased_rotor_into_the_unbiased_one():
    """U = 5 cos(theta), V = -U: uniform under the bias. <cos theta> is -I1(k)/I0(k), k = 5 kJ/mol / kT."""
    n = 20_000
    theta = -math.pi + 2 * math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n  # uniform, without noise
    flat = torch.zeros(n, 4, 3)
    data = Dataset(
        TOPOLOGY, 300.0, flat, flat, 5 * torch.cos(theta), -5 * torch.cos(theta), torch.zeros(n).long(),
        torch.zeros(n), None, {},
    )  # fmt: skip
    k = torch.tensor(5 / thermal_energy(300.0), dtype=torch.float64)
    i0, i1 = torch.special.i0(k), torch.special.i1(k)
    weights = data.weights()
    # The periodic midpoint rule is exact to rounding.
    assert (weights * torch.cos(theta)).sum().item() == pytest.approx(-(i1 / i0).item(), abs=1e-12)
    assert data.effective_size() == pytest.approx(n * (i0**2 / torch.special.i0(2 * k)).item(), rel=1e-12)


def test_unbiased_frames_have_equal_weights():
    data = replace(make(), bias_energies=torch.zeros(40))
    np.testing.assert_allclose(data.weights().numpy(), 1 / 40)
    assert data.effective_size() == pytest.approx(40)


def test_arrays_that_do_not_fit_are_refused():
    data = make()
    with pytest.raises(DataError, match=r"forces have shape \(40, 3, 3\), expected \(40, 4, 3\)"):
        replace(data, forces=data.forces[:, :3])
    with pytest.raises(DataError, match=r"energies have shape \(39,\), expected \(40,\)"):
        replace(data, energies=data.energies[:39])
    with pytest.raises(DataError, match="positions contain non-finite values"):
        replace(data, positions=data.positions / 0)


def test_unusable_files_are_named(tmp_path):
    with pytest.raises(DataError, match="none.npz: no such data file"):
        Dataset.load(tmp_path / "none.npz")

    good, cut = tmp_path / "good.npz", tmp_path / "cut.npz"
    make().save(good)
    cut.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(DataError, match="cut.npz: damaged"):
        Dataset.load(cut)

    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="other.npz: no tpsctl data set .*metadata"):
        Dataset.load(tmp_path / "other.npz")


def test_a_newer_format_is_refused(tmp_path):
    make().save(tmp_path / "data.npz")
    arrays = dict(np.load(tmp_path / "data.npz"))
    arrays["metadata"] = np.array(json.dumps(json.loads(str(arrays["metadata"])) | {"format": 99}))
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match="data set format 99, this tpsctl reads 1"):
        Dataset.load(tmp_path / "data.npz")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", metadata=np.array({"a": object()}, dtype=object))
    with pytest.raises(DataError, match="evil.npz: damaged"):
        Dataset.load(tmp_path / "evil.npz")
