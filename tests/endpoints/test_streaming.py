"""Trajectories read piece by piece: every format, selection before judging, thinning, flat memory."""

import tracemalloc

import mdtraj
import numpy as np
import pytest
import torch

from tpsctl.endpoints import streaming
from tpsctl.endpoints.load import load_ensemble
from tpsctl.endpoints.streaming import stream_ensemble
from tpsctl.errors import EndpointError

FORMATS = ("dcd", "xtc", "trr", "nc", "h5", "mdcrd", "xyz", "pdb")


@pytest.fixture
def top(root):
    return root / "recipes/alanine_dipeptide/c7eq.pdb"


@pytest.fixture
def write(top, tmp_path):
    """`write(name, count)` writes frames of alanine dipeptide near one structure, and returns file and positions."""
    molecule = mdtraj.load(str(top))

    def save(name, count=25, seed=0):
        g = np.random.default_rng(seed)
        x = molecule.xyz + 0.003 * g.standard_normal((count, *molecule.xyz.shape[1:])).astype(np.float32)
        mdtraj.Trajectory(x, molecule.topology).save(str(tmp_path / name))
        return tmp_path / name, x

    return save


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("per_piece", [5, 7, 1000])
def test_every_format_of_mdtraj_is_read_in_pieces(extension, per_piece, write, top, monkeypatch):
    if extension == "h5":
        pytest.importorskip("tables", reason="MDTraj needs it for HDF5")
    file, x = write(f"md.{extension}")
    monkeypatch.setattr(streaming, "_PIECE_BYTES", 12 * 22 * per_piece)
    found = stream_ensemble([file], topology=top, most_frames=10**6)
    assert (found.frames, found.stride) == ((25,), 1)
    # text formats and XTC round to 1e-4 or 5e-4 nm
    np.testing.assert_allclose(found.trajectories[0], x, atol=6e-4)
    torch.testing.assert_close(
        found.trajectories[0].double(), load_ensemble([file], topology=top)[1][0].float().double()
    )


def test_selection_comes_before_judging(write, top, tmp_path):
    """A methyl that is torn off does not matter if it is not selected."""
    file, x = write("md.dcd")
    x[3, 19:] += 5.0
    mdtraj.Trajectory(x, mdtraj.load(str(top)).topology).save(str(file))
    with pytest.raises(EndpointError, match=r"md.dcd frame 3: bond"):
        stream_ensemble([file], topology=top, most_frames=100)
    found = stream_ensemble([file], topology=top, select="resname ALA", most_frames=100)
    assert found.trajectories[0].shape == (25, 10, 3)


@pytest.mark.parametrize(("stride", "most"), [(1, 100), (3, 100), (1, 20), (2, 7), (1, 2)])
def test_thinning_is_a_larger_stride_for_all(stride, most, write, top, monkeypatch):
    monkeypatch.setattr(streaming, "_PIECE_BYTES", 12 * 22 * 4)
    files = [write("a.dcd", 25)[0], write("b.dcd", 14, seed=1)[0]]
    found = stream_ensemble(files, topology=top, stride=stride, most_frames=most)
    assert found.stride % stride == 0
    assert sum(map(len, found.trajectories)) <= most
    half = found.stride // 2
    if half >= stride:
        assert sum(len(range(0, count, half)) for count in found.frames) > most, "no more was left out than needed"
    whole = load_ensemble(files, topology=top)[1]
    for x, reference in zip(found.trajectories, whole, strict=True):
        torch.testing.assert_close(x, reference[:: found.stride].float())


def test_memory_does_not_grow_with_the_length(write, top, monkeypatch):
    monkeypatch.setattr(streaming, "_PIECE_BYTES", 12 * 22 * 100)
    peaks = []
    for count in (1000, 8000):
        file, _ = write(f"long_{count}.dcd", count)
        tracemalloc.start()
        stream_ensemble([file], topology=top, most_frames=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0], "eight times the frames: 2.1 MB in the file"
    assert peaks[1] < 8000 * 22 * 12 / 2


def test_another_number_of_atoms_and_an_empty_file_are_said(write, top, root, tmp_path):
    file, _ = write("md.dcd")
    with pytest.raises(EndpointError, match=r"md.dcd has 22 atoms per frame but .*peptide_a.pdb has"):
        stream_ensemble([file], topology=root / "tests/endpoints/data/peptide_a.pdb", most_frames=10)
    (tmp_path / "broken.xtc").write_bytes(b"no trajectory")
    with pytest.raises(EndpointError, match=r"broken.xtc: cannot be read"):
        stream_ensemble([tmp_path / "broken.xtc"], topology=top, most_frames=10)
