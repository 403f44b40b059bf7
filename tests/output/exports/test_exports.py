"""Every export is read again by the program, or the library, for which it is made: lengths, times, units, names."""

import json
import os
import subprocess
from pathlib import Path

import ase.io
import cvpack
import MDAnalysis
import mdtraj
import numpy as np
import openmm
import pytest
import torch
from ase import units
from openmm import unit

from tpsctl.endpoints import load_structure
from tpsctl.errors import OutputError, RecipeError
from tpsctl.molecule.path_variables import progress_and_distance
from tpsctl.workflows.export import ExportOptions, export_run

FORMATS = ("ase", "gromacs", "infretis", "openpathsampling", "pdb", "plumed", "xtc")
FLOAT32 = 1e-6
"""Rounding of positions below 2 nm in float32, nm, with a margin."""
THREE_DIGITS = 5.1e-4
"""Rounding of GRO and XTC, nm."""


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """All formats of the first path of a run; the folder and the path as it is in the run, nm."""
    folder = tmp_path_factory.mktemp("export") / "out"
    export_run(finished_run, folder, ExportOptions(FORMATS, paths=(0,), order="phi ALA2"))
    top = str(finished_run / "topology.pdb")
    return folder, mdtraj.load_dcd(str(finished_run / "paths/path_0000.dcd"), top=top)


def test_pdb_by_mdtraj_and_mdanalysis(exported):
    folder, path = exported
    file = str(folder / "pdb/path_0000.pdb")
    np.testing.assert_allclose(mdtraj.load(file).xyz, path.xyz, rtol=0, atol=5.1e-5 + FLOAT32)
    universe = MDAnalysis.Universe(file)
    assert len(universe.trajectory) == 12
    assert list(universe.atoms.names) == [atom.name for atom in load_structure(file, frame=0).topology.atoms]


def test_xtc_by_mdtraj_and_mdanalysis(exported):
    folder, path = exported
    files = [str(folder / "xtc" / name) for name in ("path_0000.xtc", "topology.pdb")]
    read = mdtraj.load_xtc(files[0], top=files[1])
    np.testing.assert_allclose(read.xyz, path.xyz, rtol=0, atol=THREE_DIGITS)
    np.testing.assert_allclose(read.time, 0.001 * np.arange(12), rtol=1e-6)
    assert read.n_frames == len(MDAnalysis.Universe(files[1], files[0]).trajectory) == 12


def test_gromacs_files_by_mdanalysis_and_mdtraj(exported):
    folder, path = exported
    gro, trr, xtc = (str(folder / f"gromacs/path_0000.{suffix}") for suffix in ("gro", "trr", "xtc"))
    universe = MDAnalysis.Universe(gro, trr)
    assert universe.atoms.residues.resnames.tolist() == ["ACE", "ALA", "NME"]
    for image, frame in enumerate(universe.trajectory):
        # MDAnalysis converts to angstrom and keeps float32
        np.testing.assert_allclose(frame.positions / 10, path.xyz[image], rtol=0, atol=FLOAT32)
        assert frame.time == pytest.approx(0.001 * image, abs=1e-9)
        assert frame.dimensions is None or not frame.dimensions[:3].any()
        assert frame.has_velocities
    np.testing.assert_allclose(mdtraj.load_trr(trr, top=gro).xyz, path.xyz, rtol=0, atol=FLOAT32)
    first = mdtraj.load(gro)
    np.testing.assert_allclose(first.xyz[0], path.xyz[0], rtol=0, atol=THREE_DIGITS)
    assert load_structure(gro).topology.n_atoms == 22
    assert mdtraj.load_xtc(xtc, top=gro).n_frames == 12


def test_velocities_are_those_of_the_temperature(exported):
    """m v^2 / kT is chi-squared: its mean over 12 x 66 numbers is 1 within 5 standard errors sqrt(2 / 792)."""
    folder, _ = exported
    stored = np.load(folder / "openpathsampling/path_0000.npz")
    topology = load_structure(folder / "openpathsampling/topology.pdb").topology
    masses = np.array(topology.masses_amu)[None, :, None]
    kt = (unit.MOLAR_GAS_CONSTANT_R * 300 * unit.kelvin).value_in_unit(unit.kilojoule_per_mole)
    squares = masses * stored["velocities_nm_per_ps"] ** 2 / kt
    assert squares.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / squares.size))
    hydrogens = np.array([atom.element == "H" for atom in topology.atoms])
    assert squares[:, hydrogens].mean() == pytest.approx(1, abs=5 * np.sqrt(2 / squares[:, hydrogens].size))
    universe = MDAnalysis.Universe(str(folder / "gromacs/path_0000.gro"), str(folder / "gromacs/path_0000.trr"))
    found = np.array([frame.velocities / 10 for frame in universe.trajectory])  # angstrom/ps
    np.testing.assert_allclose(found, stored["velocities_nm_per_ps"], rtol=1e-5, atol=1e-6)


def test_extended_xyz_by_ase(exported):
    folder, path = exported
    frames = ase.io.read(folder / "ase/path_0000.xyz", index=":")
    assert len(frames) == 12
    for image, (frame, x) in enumerate(zip(frames, path.xyz, strict=True)):
        np.testing.assert_allclose(frame.positions / (units.nm / units.Angstrom), x, rtol=0, atol=FLOAT32)
        assert not frame.pbc.any()
        assert frame.info["image"] == image
        assert frame.info["time_ps"] == pytest.approx(0.001 * image)
    assert frames[0].get_chemical_formula() == "C6H12N2O2"


def references_of(file):
    """Atom numbers from 0 and positions, nm, of every reference structure of a PLUMED file."""
    structures = [block for block in file.read_text().split("END") if block.strip()]
    rows = [[line for line in block.splitlines() if line.startswith("ATOM")] for block in structures]
    x = [[[float(line[i : i + 8]) / 10 for i in (30, 38, 46)] for line in lines] for lines in rows]
    return [int(line[6:11]) - 1 for line in rows[0]], np.array(x)


def lambda_in(file):
    return float(file.read_text().partition("LAMBDA=")[2].split()[0])


def test_plumed_references_are_equally_far_apart(exported):
    folder, path = exported
    atoms, x = references_of(folder / "plumed/path_0000.pdb")
    assert atoms == [atom.index for atom in path.topology.atoms if atom.element.symbol != "H"]
    read = mdtraj.Trajectory(x, None)
    gaps = np.array([mdtraj.rmsd(read[k + 1], read, frame=k)[0] for k in range(len(x) - 1)])
    # angstrom with three digits: 5e-5 nm per coordinate
    assert np.abs(gaps - gaps.mean()).max() < 2e-4
    assert lambda_in(folder / "plumed/path_0000.dat") == pytest.approx(2.3 / np.mean(gaps**2), rel=0.02)


def test_progress_runs_along_the_path(exported):
    folder, path = exported
    atoms, x = references_of(folder / "plumed/path_0000.pdb")
    references = torch.from_numpy(x)
    s, z = progress_and_distance(
        torch.from_numpy(path.xyz[:, atoms].astype(float)), references, lambda_in(folder / "plumed/path_0000.dat")
    )
    assert float(s[0]) == pytest.approx(1, abs=0.15)  # a neighbor weighs a tenth: (1 + 2 * 0.1) / 1.1 = 1.09
    assert float(s[-1]) == pytest.approx(len(x), abs=0.15)
    assert bool((s.diff() > 0).all())


def test_s_and_z_agree_with_cvpack(exported):
    """The same path variables, computed from PLUMED's file by an independent package in an OpenMM context."""
    folder, path = exported
    atoms, x = references_of(folder / "plumed/path_0000.pdb")
    lambda_ = lambda_in(folder / "plumed/path_0000.dat")
    milestones = [dict(zip(atoms, frame, strict=True)) for frame in x]
    system = openmm.System()
    for _ in range(22):
        system.addParticle(1.0)
    width = 1 / np.sqrt(2 * lambda_) * unit.nanometer
    both = [
        cvpack.PathInRMSDSpace(metric, milestones, 22, width)
        for metric in (cvpack.path.progress, cvpack.path.deviation)
    ]
    for variable in both:
        variable.addToSystem(system)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    s, z = progress_and_distance(torch.from_numpy(path.xyz[:, atoms].astype(float)), torch.from_numpy(x), lambda_)
    for image in range(12):
        context.setPositions(path.xyz[image].astype(float))
        found = [variable.getValue(context)._value for variable in both]
        # OpenMM's RMSD is exact to 1e-7 nm or so; lambda d is up to 1e3 per nm
        assert 1 + (len(x) - 1) * found[0] == pytest.approx(float(s[image]), abs=1e-3)
        assert found[1] == pytest.approx(float(z[image]), abs=1e-6)


def test_infretis_load_directory(exported):
    """The layout that infretis' load_path reads; the program itself reads it where it is installed."""
    folder, path = exported
    home = folder / "infretis/0"
    rows = [line.split() for line in (home / "traj.txt").read_text().splitlines() if not line.startswith("#")]
    assert [row[1:] for row in rows] == [["path_0000.trr", str(i), "1"] for i in range(12)]
    order = np.loadtxt(home / "order.txt")
    _, phi = mdtraj.compute_phi(path)
    # MDTraj's angles are float32, of float32 positions
    np.testing.assert_allclose(order[:, 1], phi[:, 0], rtol=0, atol=1e-5)
    assert mdtraj.load_trr(str(home / "accepted/path_0000.trr"), top=str(folder / "pdb/path_0000.pdb")).n_frames == 12


def other_python(variable):
    """Python of an environment in which OpenPathSampling and infretis are installed."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python with OpenPathSampling and infretis (make test-path-sampling)")
    return python


def atoms_of_phi(path):
    return map(str, mdtraj.compute_phi(path)[0][0])


@pytest.mark.slow
def test_infretis_reads_the_load_directory(exported):
    folder, path = exported
    code = (
        "import json, sys, mdtraj; from infretis.classes.path import load_path; "
        "from infretis.classes.system import System; "
        "from infretis.classes.orderparameter import Dihedral; p = load_path(sys.argv[1]); s = System(); "
        "x = mdtraj.load(sys.argv[2]).xyz[5].astype(float); s.pos = x; "
        "angle = Dihedral([int(a) for a in sys.argv[3:]]).calculate(s)[0]; "
        "print(json.dumps([p.length, float(p.phasepoints[5].order[0]), float(angle)]))"
    )
    words = [
        other_python("TPSCTL_PATH_SAMPLING_PYTHON"),
        "-c",
        code,
        str(folder / "infretis/0"),
        str(folder / "pdb/path_0000.pdb"),
        *atoms_of_phi(path),
    ]
    length, order, own = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert length == 12
    assert order == pytest.approx(own, abs=2e-3)  # PDB has three digits


@pytest.mark.slow
def test_openpathsampling_shoots_from_the_path(exported):
    folder, path = exported
    script = Path(__file__).parent / "shoot_with_openpathsampling.py"
    words = [
        other_python("TPSCTL_PATH_SAMPLING_PYTHON"),
        str(script),
        str(folder / "openpathsampling"),
        *atoms_of_phi(path),
    ]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["frames"] == 12
    assert answer["positions"] < FLOAT32
    assert answer["velocities"] < FLOAT32 * 10
    assert len(answer["accepted"]) == 5


def test_the_loader_for_openpathsampling_is_python(exported):
    folder, _ = exported
    compile((folder / "openpathsampling/load.py").read_text(), "load.py", "exec")


def test_an_existing_folder_and_a_missing_path_are_refused(finished_run, exported, tmp_path):
    folder, _ = exported
    with pytest.raises(OutputError, match="exists already; nothing was changed. Choose another with --out"):
        export_run(finished_run, folder, ExportOptions(("pdb",)))
    with pytest.raises(RecipeError, match=r"--path 7: .* has the paths 0 to 1"):
        export_run(finished_run, tmp_path / "x", ExportOptions(("pdb",), paths=(7,)))
    with pytest.raises(OutputError, match=r"--order chi: no such dihedral. This molecule has: omega ALA2, phi ALA2"):
        export_run(finished_run, tmp_path / "x", ExportOptions(("infretis",), order="chi"))
    with pytest.raises(OutputError, match=r"--atoms ca: chooses 1 atoms"):
        export_run(finished_run, tmp_path / "x", ExportOptions(("plumed",), atoms="ca"))
    assert not list(tmp_path.iterdir())
