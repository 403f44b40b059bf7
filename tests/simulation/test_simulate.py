"""The simulation flow: forces apart from the bias, resumed like unbroken, other settings refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.errors import DataError, ValidationError
from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.openmm_system import AmberTopology
from tpsctl.simulation.dataset import Dataset
from tpsctl.simulation.molecule import Molecule, build_capped_alanine
from tpsctl.simulation.simulate import MetadynamicsSampling, PlainSampling, SimulationSettings, run_simulation

METADYNAMICS = SimulationSettings(
    structure="capped_alanine",
    force_field=("amber99sbildn.xml",),
    sampling=MetadynamicsSampling(
        collective_variables=("phi ALA2", "psi ALA2"),
        walkers=2,
        duration_ps=0.2,
        round_ps=0.1,
        hill_interval_ps=0.02,
        grid_points=16,
    ),
    trajectories=2,
    duration_ps=0.2,
    equilibration_ps=0.01,
    frame_interval_ps=0.02,
    chunk_ps=0.1,
)
ARRAYS = ("positions", "forces", "energies", "bias_energies", "trajectories", "times_ps")


def run(settings, out, **options) -> Dataset:
    """The simulation of the molecule that the settings name."""
    molecule = build_capped_alanine()
    if settings.structure != "capped_alanine":
        structure = load_structure(settings.structure)
        molecule = Molecule(structure.topology, structure.x.numpy())
    return run_simulation(settings, molecule, out, **options)


class Killed(Exception):
    """Stands for the end of the process: everything not yet in a file is lost."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Dataset:
    return run(METADYNAMICS, tmp_path_factory.mktemp("data") / "unbroken.npz", workers=2)


def kill_at(stage: str, count: int):
    """A progress callback that stops the run at the count-th report of a stage; the first says that it begins."""
    left = {stage: count}

    def on_progress(progress):
        if progress.stage in left:
            left[stage] -= 1
            if left[stage] == 0:
                raise Killed

    return on_progress


def test_frames_are_counted_and_timed(unbroken):
    assert len(unbroken) == 2 * 10
    assert unbroken.trajectories.tolist() == [0] * 10 + [1] * 10
    np.testing.assert_allclose(unbroken.times_ps[:10].numpy(), 0.02 * np.arange(1, 11))
    assert unbroken.settings["sampling"]["kind"] == "metadynamics"
    assert unbroken.settings["platform"] == "Reference"


def test_stored_forces_and_energies_are_the_physical_ones(unbroken):
    context = openmm.Context(
        create_system(unbroken.topology, METADYNAMICS.force_field),
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("Reference"),
    )
    for i in (0, 7, 19):
        context.setPositions(unbroken.positions[i].double().numpy())
        state = context.getState(energy=True, forces=True)
        # Positions are stored in float32 (6e-8 nm relative to 1 nm); bonds are as stiff as 3e5 kJ/mol/nm^2.
        np.testing.assert_allclose(unbroken.forces[i].numpy(), state.getForces(asNumpy=True)._value, atol=0.2)
        assert unbroken.energies[i].item() == pytest.approx(state.getPotentialEnergy()._value, abs=0.01)


def test_stored_bias_energies_are_those_of_the_stored_grid(unbroken):
    assert unbroken.bias_energies.abs().max() > 0
    again = unbroken.bias.energy_of(unbroken.positions.double())
    np.testing.assert_allclose(again.numpy(), unbroken.bias_energies.numpy(), atol=1e-4)  # float32 positions


@pytest.mark.parametrize(("stage", "count"), [("metadynamics", 2), ("production", 2)])
def test_resumed_run_equals_the_unbroken_one(unbroken, tmp_path, stage, count):
    out = tmp_path / "data.npz"
    with pytest.raises(Killed):
        run(METADYNAMICS, out, workers=1, on_progress=kill_at(stage, count))
    assert not out.exists()
    parts = {file.name: file.stat().st_mtime_ns for file in Path(f"{out}.parts").iterdir()}
    assert len(parts) > 1

    resumed = run(METADYNAMICS, out, workers=1)
    for name in ARRAYS:
        assert torch.equal(getattr(resumed, name), getattr(unbroken, name)), name
    np.testing.assert_array_equal(resumed.bias.values, unbroken.bias.values)
    assert not Path(f"{out}.parts").exists()


def test_a_finished_data_set_is_only_read(unbroken, tmp_path):
    unbroken.save(tmp_path / "data.npz")
    again = run(METADYNAMICS, tmp_path / "data.npz")
    assert torch.equal(again.positions, unbroken.positions)
    with pytest.raises(DataError, match=r"data.npz holds data of other settings"):
        run(replace(METADYNAMICS, seed=7), tmp_path / "data.npz")


def test_parts_of_other_settings_are_refused(tmp_path):
    out = tmp_path / "data.npz"
    with pytest.raises(Killed):
        run(METADYNAMICS, out, workers=1, on_progress=kill_at("metadynamics", 1))
    with pytest.raises(DataError, match=r"data.npz.parts holds parts of a simulation with other settings"):
        run(replace(METADYNAMICS, temperature_k=310.0), out)


def test_plain_sampling_has_no_bias(tmp_path):
    settings = replace(METADYNAMICS, sampling=PlainSampling(), trajectories=2, duration_ps=0.1)
    data = run(settings, tmp_path / "plain.npz", workers=1)
    assert data.bias is None
    assert data.effective_size() == pytest.approx(len(data))
    assert not torch.equal(data.positions[:5], data.positions[5:]), "trajectories have seeds of their own"


def test_the_users_structure_is_simulated(tmp_path, root):
    structure = root / "recipes/alanine_dipeptide/c7ax.pdb"
    settings = replace(METADYNAMICS, structure=str(structure), sampling=PlainSampling(), trajectories=1)
    data = run(settings, tmp_path / "own.npz", workers=1)
    assert data.settings["structure"] == "c7ax.pdb"
    phi = data.topology.backbone_dihedrals[1]
    assert phi[0] == "phi ALA2"


def test_the_digest_sees_content_but_not_folders(tmp_path, root):
    text = (root / "recipes/alanine_dipeptide/c7ax.pdb").read_text()
    digests = []
    for folder, content in (("a", text), ("b", text), ("c", text.replace("0.0", "0.1", 1))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.pdb").write_text(content)
        digests.append(replace(METADYNAMICS, structure=str(tmp_path / folder / "x.pdb")).digest())
    assert digests[0] == digests[1] != digests[2]


def test_dynamics_that_explodes_is_reported(tmp_path):
    settings = replace(METADYNAMICS, sampling=PlainSampling(), trajectories=1, dt_ps=0.02, frame_interval_ps=0.2)
    with pytest.raises(DataError, match=r"smaller dt_ps"):
        run(replace(settings, duration_ps=20.0, chunk_ps=20.0), tmp_path / "data.npz", workers=1)


def test_an_unknown_force_field_is_reported(tmp_path):
    with pytest.raises(ValidationError, match=r'Did you mean "amber99sbildn.xml"'):
        run(replace(METADYNAMICS, force_field=("amber99sbildnn.xml",)), tmp_path / "data.npz", workers=1)


class TestForceFields:
    """Sources of a System other than OpenMM's own XML files."""

    SHORT = replace(METADYNAMICS, sampling=PlainSampling(), trajectories=1, duration_ps=0.1)

    def test_coarse_grained_beads_move_with_the_masses_of_their_force_field(self, tmp_path, root):
        data = root / "tests/molecule/data"
        settings = replace(
            self.SHORT,
            structure=str(data / "ca12_a.pdb"),
            force_field=(data / "ca12.xml",),
            dt_ps=0.01,
            duration_ps=2.0,
        )
        found = run(settings, tmp_path / "chain.npz", workers=1)
        assert found.topology.masses_amu == (110.0,) * 12
        assert found.settings["force_field"] == ["ca12.xml"]
        assert [each["file"] for each in found.settings["files"]] == ["ca12_a.pdb", "ca12.xml"]

    def test_an_amber_topology_in_implicit_solvent_runs_on_a_measured_platform(self, tmp_path, root):
        source = AmberTopology(root / "tests/molecule/data/alanine.prmtop", "GBn2")
        found = run(
            replace(self.SHORT, force_field=source, duration_ps=0.02, chunk_ps=0.02), tmp_path / "a.npz", workers=1
        )
        assert found.settings["solvent"] == "GBn2, mbondi3 radii"
        assert found.settings["platform"] in ("Reference", "CPU")

    def test_the_platform_is_chosen_once_for_a_run(self, tmp_path, monkeypatch):
        settings = replace(self.SHORT, force_field=("amber99sbildn.xml", "implicit/obc2.xml"), duration_ps=0.2)
        monkeypatch.setattr("tpsctl.simulation.simulate.simulation_platform", lambda *arguments: "Reference")
        with pytest.raises(Killed):
            run(settings, tmp_path / "data.npz", workers=1, on_progress=kill_at("production", 2))
        monkeypatch.setattr("tpsctl.simulation.simulate.simulation_platform", lambda *arguments: "CPU")
        assert run(settings, tmp_path / "data.npz", workers=1).settings["platform"] == "Reference"

    def test_the_digest_sees_the_content_of_every_file(self, tmp_path):
        (tmp_path / "own.xml").write_text('<ForceField>\n <Include file="inner.xml"/>\n</ForceField>')
        (tmp_path / "inner.xml").write_text("<ForceField/>")
        settings = replace(self.SHORT, force_field=("amber99sbildn.xml", tmp_path / "own.xml"))
        before = settings.digest()
        (tmp_path / "inner.xml").write_text("<ForceField><!-- changed --></ForceField>")
        assert settings.digest() != before
