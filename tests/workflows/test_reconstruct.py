"""`reconstruct` on a small run directory, with both back-ends and a force field in vacuum."""

import csv
import json
import math
from pathlib import Path

import mdtraj
import pytest
import torch

from tests.small_manifest import small_manifest
from tpsctl.endpoints.load import load_structure, load_structures
from tpsctl.errors import OutputError, RecipeError, ValidationError
from tpsctl.output.manifest import write_manifest
from tpsctl.output.trajectory import write_path, write_topology
from tpsctl.progress import Progress
from tpsctl.validation.amino_acids import ProteinCheck
from tpsctl.validation.energy import EnergyModel
from tpsctl.workflows.reconstruct import ReconstructionSettings, reconstruct_run

ROOT = Path(__file__).parents[2]
VACUUM = ("amber14-all.xml",)


def write_run(folder, topology, path):
    write_topology(folder, topology, path[0], name="a run")
    for k in (0, 1):
        write_path(folder, k, path, topology, dt_ps=None, formats=("dcd",))
    write_manifest(folder, small_manifest([{"path": k, "gate": "valid"} for k in (0, 1)]))
    return folder


@pytest.fixture(scope="module")
def bending():
    """Six residues of Trp-cage (LYIQWL) whose second half turns by 10 degrees from image to image."""
    native = load_structure(ROOT / "recipes" / "trp_cage" / "native.pdb")
    topology, x = native.topology.select(range(1, 7)), native.x[1:7].double()
    images = []
    for k in range(4):
        angle = math.radians(10 * k)
        turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        images.append(torch.cat((x[:3], (x[3:] - x[3]) @ turn.to(x).T + x[3])))
    return topology, torch.stack(images)


@pytest.fixture(scope="module", params=["cgback", "pulchra"])
def done(request, bending, tmp_path_factory):
    """The run directory and the manifest of each back-end."""
    run = write_run(tmp_path_factory.mktemp(request.param), *bending)
    settings = ReconstructionSettings(backend=request.param, force_field=VACUUM)
    return run, reconstruct_run(run, settings, Progress())


def rows_of(run):
    with (run / "all_atom" / "images.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_image_is_all_l_and_trans_and_lies_on_its_beads(done, bending):
    run, manifest = done
    assert manifest["outcome"] == "complete"
    assert manifest["paths"][0]["gate"] == "valid"
    assert manifest["paths"][0]["written"] == {"inverted_centers": 0, "cis_bonds": 0, "clashes": 0}
    structures = load_structures(run / "all_atom" / "paths" / "path_0000.dcd", topology=run / "all_atom/topology.pdb")
    x = torch.stack([s.x for s in structures]).double()
    assert ProteinCheck(structures[0].topology).check(x).image_passes.all()
    alpha = [i for i, atom in enumerate(structures[0].topology.atoms) if atom.name == "CA"]
    apart = (x[:, alpha] - bending[1]).square().sum(-1).mean(-1).sqrt()
    told = [float(row["ca_rmsd_nm"]) for row in rows_of(run)]
    assert apart.tolist() == pytest.approx(told, abs=1e-6)  # nm, float32 of the DCD file
    assert apart.max() < 0.05


def test_side_chains_flicker_less_than_as_reconstructed(done):
    found = done[1]["paths"][0]["flicker"]
    assert found["written"]["mean_nm"] < 0.6 * found["reconstructed"]["mean_nm"]
    assert found["written"]["jumps"] <= found["reconstructed"]["jumps"]


def test_energies_are_those_of_the_written_structures_and_not_above_raw(done):
    run, _ = done
    file = run / "all_atom" / "paths" / "path_0000.pdb"
    structures = load_structures(file)
    model = EnergyModel(structures[0].topology, VACUUM, structures[0].x, platform="Reference")
    energies = model.energies(torch.stack([s.x for s in structures])).tolist()
    told = [float(row["energy_minimized_kj_per_mol"]) for row in rows_of(run)]
    assert energies == pytest.approx(told, abs=3)  # kJ/mol; a PDB file rounds to 5e-5 nm
    assert all(float(row["energy_raw_kj_per_mol"]) >= e for row, e in zip(rows_of(run), told, strict=True))


def test_other_programs_read_the_files(done):
    run, manifest = done
    loaded = mdtraj.load(run / "all_atom/paths/path_0000.dcd", top=run / "all_atom/topology.pdb")
    models = mdtraj.load(run / "all_atom/paths/path_0000.pdb")
    assert loaded.n_frames == models.n_frames == 4
    assert loaded.n_atoms == manifest["atoms"]
    assert [r.name for r in loaded.topology.residues] == "LEU TYR ILE GLN TRP LEU".split()
    assert [r.resSeq for r in loaded.topology.residues] == list(range(2, 8))
    stored = json.loads((run / "all_atom/manifest.json").read_text())
    assert stored["backend"] == manifest["backend"]
    assert set(stored["inputs"]) == {"path_0000.dcd", "topology.pdb"}


def test_a_result_is_kept_unless_overwriting_is_asked_for(done):
    run, manifest = done
    before = (run / "all_atom" / "images.csv").read_bytes()
    settings = ReconstructionSettings(backend="pulchra", force_field=VACUUM, every=3, smooth=False)
    with pytest.raises(OutputError, match="Replace it with --overwrite"):
        reconstruct_run(run, settings, Progress())
    assert (run / "all_atom" / "images.csv").read_bytes() == before
    assert not [entry for entry in run.iterdir() if entry.name.startswith(".")]


def test_chosen_paths_and_images_are_reconstructed(bending, tmp_path):
    run = write_run(tmp_path, *bending)
    settings = ReconstructionSettings("pulchra", (0, 1), 3, VACUUM, smooth=False)
    reconstruct_run(run, settings, Progress())
    again = ReconstructionSettings("pulchra", (1,), 2, VACUUM, smooth=False, overwrite=True)
    assert [(row["path"], row["image"]) for row in rows_of(run)] == [("0", "0"), ("0", "3"), ("1", "0"), ("1", "3")]
    reconstruct_run(run, again, Progress())
    assert [(row["path"], row["image"]) for row in rows_of(run)] == [("1", "0"), ("1", "2"), ("1", "3")]
    assert [f.name for f in sorted((run / "all_atom/paths").iterdir())] == ["path_0001.dcd", "path_0001.pdb"]


def test_bad_input_is_refused(bending, tmp_path):
    run = write_run(tmp_path / "run", *bending)
    with pytest.raises(RecipeError, match="--path 7: .* has the paths 0 to 1"):
        reconstruct_run(run, ReconstructionSettings("pulchra", (7,)), Progress())
    (run / "all_atom").mkdir()
    (run / "all_atom" / "mine.txt").write_text("a note")
    with pytest.raises(OutputError, match="no result of this command"):
        reconstruct_run(run, ReconstructionSettings("pulchra", overwrite=True), Progress())
    assert (run / "all_atom" / "mine.txt").exists()


def test_a_path_of_all_atoms_is_refused(tmp_path):
    images = load_structures(ROOT / "tests/validation/data/ace_ala_ala_nme_path.pdb")
    run = write_run(tmp_path, images[0].topology, torch.stack([image.x for image in images]))
    with pytest.raises(ValidationError, match="got all atoms, expected C-alpha atoms only"):
        reconstruct_run(run, ReconstructionSettings("pulchra"), Progress())
