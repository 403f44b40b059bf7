"""`tpsctl validate`: energies of a bare OpenMM script, verdicts of the gate, and a run that stays as it is."""

import csv
import json
import shutil

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app

from tpsctl.errors import OutputError, RecipeError, ValidationError
from tpsctl.output.dcd import read_dcd, write_dcd
from tpsctl.output.manifest import file_sha256
from tpsctl.progress import Progress
from tpsctl.workflows.validate import ValidateOptions, validate_run

GENERALIZED_BORN = ("amber14-all.xml", "implicit/gbn2.xml")
REFERENCE = ("validation.energy.platform=Reference",)


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(scope="module")
def judged(finished_run, tmp_path_factory):
    """A run with a validation in generalized Born solvent: its directory, the manifest, the rows of images.csv."""
    run = shutil.copytree(finished_run, tmp_path_factory.mktemp("validate") / "run")
    manifest = validate_run(run, ValidateOptions(GENERALIZED_BORN, REFERENCE), Progress())
    return run, manifest, rows(run / "validation/amber14-all+gbn2/images.csv")


def validate(run, *force_field, **options):
    return validate_run(run, ValidateOptions(force_field, **options), Progress())


def rows(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def column(table, name):
    return np.array([float(row[name]) for row in table])


def plain_energies(run, path, *force_field):
    """What a script of OpenMM and MDTraj alone computes for the images of one path, kJ/mol."""
    pdb = app.PDBFile(str(run / "topology.pdb"))
    system = app.ForceField(*force_field).createSystem(pdb.topology, nonbondedMethod=app.NoCutoff, constraints=None)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    energies = []
    for frame in mdtraj.load_dcd(str(run / f"paths/path_{path:04d}.dcd"), top=str(run / "topology.pdb")).xyz:
        context.setPositions(frame.astype(float))
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    return np.array(energies)


def test_energies_are_those_of_a_bare_script(judged):
    run, _, table = judged
    # MDTraj rounds positions to float32 nm once more, by 3e-9 nm: with forces of 1e4 kJ/mol/nm, 3e-5 kJ/mol of 100
    raw = column(table, "energy_raw_kj_per_mol").reshape(2, 12)
    for path in range(2):
        np.testing.assert_allclose(raw[path], plain_energies(run, path, *GENERALIZED_BORN), rtol=1e-6, atol=0)


def test_another_force_field_gives_other_energies(judged):
    run, _, table = judged
    other = plain_energies(run, 0, "amber99sbildn.xml")
    assert np.abs(column(table, "energy_raw_kj_per_mol")[:12] - other).min() > 1


def test_minimized_energies_are_never_above_raw_ones(judged):
    _, _, table = judged
    assert (column(table, "energy_minimized_kj_per_mol") <= column(table, "energy_raw_kj_per_mol")).all()
    assert (column(table, "displacement_nm") > 0).all()


def test_the_run_stays_as_it_is(finished_run, judged):
    run, _, _ = judged
    files = [file for file in finished_run.rglob("*") if file.is_file()]
    assert len(files) >= 5
    assert all(file_sha256(file) == file_sha256(run / file.relative_to(finished_run)) for file in files)
    assert {entry.name for entry in run.iterdir()} - {entry.name for entry in finished_run.iterdir()} == {"validation"}
    assert [entry.name for entry in (run / "validation").iterdir()] == ["amber14-all+gbn2"]


def test_the_manifest_says_what_was_done(judged):
    run, manifest, _ = judged
    stored = json.loads((run / "validation/amber14-all+gbn2/manifest.json").read_text())
    assert stored["run"]["manifest_sha256"] == file_sha256(run / "manifest.json")
    assert stored["energies"]["force_field"] == list(GENERALIZED_BORN)
    assert stored["energies"]["platform"] == "Reference"
    assert {"force_field: amber14-all.xml", "force_field: gbn2.xml"} <= set(stored["inputs"])
    assert [entry["gate"] for entry in stored["paths"]] == ["valid", "valid"]
    assert stored["outcome"] == manifest["outcome"] == "complete"


def test_the_force_field_of_the_run_gives_the_energies_of_the_run(run):
    manifest = validate(run)
    table, own = rows(run / "validation/amber99sbildn/images.csv"), rows(run / "images.csv")
    for name in ("energy_raw_kj_per_mol", "energy_minimized_kj_per_mol"):
        # files hold float32, rounded by 2e-8 nm: with forces of 1e4 kJ/mol/nm on 22 atoms less than 1e-3 kJ/mol
        np.testing.assert_allclose(column(table, name), column(own, name), rtol=0, atol=1e-3)
    assert manifest["validation"]["energy"]["force_field"] == ["amber99sbildn.xml"]


def test_a_serialized_system_is_a_force_field(run, tmp_path):
    pdb = app.PDBFile(str(run / "topology.pdb"))
    system = app.ForceField("amber99sbildn.xml").createSystem(pdb.topology, constraints=None)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    validate(run, str(tmp_path / "system.xml"), assignments=REFERENCE)
    table = rows(run / "validation/system/images.csv")
    plain = plain_energies(run, 1, "amber99sbildn.xml")
    np.testing.assert_allclose(column(table, "energy_raw_kj_per_mol")[12:], plain, rtol=1e-6, atol=0)


def test_an_amber_topology_is_a_force_field(run, root):
    file = root / "tests/molecule/data/alanine.prmtop"
    validate(run, str(file), assignments=REFERENCE)
    table = rows(run / "validation/alanine/images.csv")
    # the prmtop was made from the XML force field, with 8 digits per parameter
    plain = plain_energies(run, 1, "amber99sbildn.xml")
    np.testing.assert_allclose(column(table, "energy_raw_kj_per_mol")[12:], plain, rtol=0, atol=0.01)
    manifest = json.loads((run / "validation/alanine/manifest.json").read_text())
    assert [entry["sha256"] for entry in manifest["inputs"].values()] == [file_sha256(file)]


def test_tops_are_judged_on_the_new_force_field(run):
    manifest = validate(run, assignments=(*REFERENCE, "validation.saddle=true", "validation.energy.minimize=false"))
    assert manifest["outcome"] == "not_saddle"
    assert {entry["tops"]["force_field"]["words"] for entry in manifest["paths"]} != {"saddle"}
    assert "upper bounds" in manifest["paths"][0]["remedy"]
    assert "top_force_field" in rows(run / "validation/amber99sbildn/paths.csv")[0]


def test_a_broken_path_is_not_valid(run):
    file = run / "paths/path_0001.dcd"
    x = read_dcd(file)
    x[4] *= [1, 1, -1]
    write_dcd(file, x, dt_ps=0.001, title="mirrored")
    manifest = validate(run, assignments=REFERENCE)
    assert manifest["outcome"] == "not_valid"
    assert manifest["paths"][0]["gate"] == "valid"
    assert manifest["paths"][1]["gate"].startswith("chirality at image 4: center A:ALA2:CA is inverted")
    # no energy can tell: a mirror image has the same one, raw and minimized
    mirrored, own = rows(run / "validation/amber99sbildn/images.csv")[16], rows(run / "images.csv")[16]
    for name in ("energy_raw_kj_per_mol", "energy_minimized_kj_per_mol"):
        assert float(mirrored[name]) == pytest.approx(float(own[name]), abs=1e-2)


def test_an_earlier_validation_is_replaced_only_if_asked(run):
    validate(run, assignments=REFERENCE)
    before = file_sha256(run / "validation/amber99sbildn/manifest.json")
    with pytest.raises(OutputError, match="exists already; nothing was changed. Choose another with --name"):
        validate(run, assignments=REFERENCE)
    assert file_sha256(run / "validation/amber99sbildn/manifest.json") == before
    validate(run, assignments=(*REFERENCE, "validation.energy.minimize=false"), overwrite=True)
    assert "energy_minimized_kj_per_mol" not in rows(run / "validation/amber99sbildn/images.csv")[0]


def test_what_is_wrong_is_said(run):
    with pytest.raises(RecipeError, match="only keys of the section validation"):
        validate(run, assignments=("seed=2",))
    with pytest.raises(RecipeError, match="expected letters, digits"):
        validate(run, name="../elsewhere")
    with pytest.raises(ValidationError, match="no template found in tip3p.xml for residue ACE1"):
        validate(run, "tip3p.xml")
    (run / "paths/path_0001.dcd").unlink()
    with pytest.raises(RecipeError, match=r"path_0001.dcd: missing"):
        validate(run)
    assert not (run / "validation").exists()
