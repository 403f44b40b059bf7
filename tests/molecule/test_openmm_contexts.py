"""The pool of Contexts: right numbers, in every thread and process, and no frame that spoils another."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import openmm
import pytest
import torch

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_contexts import ContextPool, make_context, platform_properties
from tpsctl.molecule.openmm_platforms import choose_platform, has_generalized_born
from tpsctl.molecule.openmm_system import as_source

VACUUM, SOLVENT = ("amber14-all.xml",), ("amber14-all.xml", "implicit/gbn2.xml")


@pytest.fixture(scope="module")
def system(alanine):
    return as_source(VACUUM).create(alanine[0]).system


@pytest.fixture(scope="module")
def solvated(alanine):
    return as_source(SOLVENT).create(alanine[0]).system


@pytest.fixture(scope="module")
def frames(alanine):
    generator = torch.Generator().manual_seed(2)
    return alanine[1] + 0.004 * torch.randn(12, 22, 3, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def pool(system):
    return ContextPool(system, threads=1)


def bare(system, frame):
    """Energy and forces by OpenMM's public calls alone."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(frame.numpy())
    state = context.getState(energy=True, forces=True)
    units = openmm.unit.kilojoule_per_mole, openmm.unit.kilojoule_per_mole / openmm.unit.nanometer
    forces = state.getForces(asNumpy=True).value_in_unit(units[1])
    return state.getPotentialEnergy().value_in_unit(units[0]), torch.tensor(forces)


def test_energies_and_forces_are_those_of_a_bare_context_to_the_last_digit(system, frames, pool):
    energy, force = pool.energies_and_forces(frames)
    assert energy.dtype == force.dtype == torch.float64
    assert force.is_contiguous()
    for k in (0, 7):
        expected_energy, expected_force = bare(system, frames[k])
        assert energy[k].item() == expected_energy
        assert torch.equal(force[k], expected_force)
    assert torch.equal(pool.energies(frames), energy)
    assert torch.equal(pool.forces(frames), force)


def test_forces_are_minus_the_gradient_of_the_energy_in_solvent(solvated, frames):
    pool, x, h = ContextPool(solvated), frames[0], 1e-6
    shifts = h * torch.eye(66, dtype=x.dtype).reshape(66, 22, 3)
    slope = (pool.energies(x + shifts) - pool.energies(x - shifts)) / (2 * h)
    # central differences: h^2 * third derivative ~1e-12 * 1e8, and rounding 1e-13 * E / h ~ 1e-5
    torch.testing.assert_close(pool.forces(x[None])[0].flatten(), -slope, rtol=1e-5, atol=1e-2)


def test_the_number_of_threads_changes_no_digit(system, frames, pool):
    assert torch.equal(ContextPool(system, threads=5).forces(frames), pool.forces(frames))


def test_threads_may_share_a_pool(system, frames):
    shared = ContextPool(system, threads=2)
    expected = shared.energies(frames)
    with ThreadPoolExecutor(6) as callers:
        results = list(callers.map(lambda k: shared.energies(frames.roll(k, 0)).roll(-k, 0), range(24)))
    assert all(torch.equal(result, expected) for result in results)


def test_contexts_are_made_once(system, frames, monkeypatch):
    made = []

    def counted(*arguments, **options):
        made.append(1)
        return make_context(*arguments, **options)

    monkeypatch.setattr("tpsctl.molecule.openmm_contexts.make_context", counted)
    pool = ContextPool(system, threads=1)
    assert not made, "a Context is made when it is first needed"
    for _ in range(5):
        pool.energies(frames)
        pool.forces(frames)
    assert len(made) == 1


def test_a_pool_survives_pickling(frames, pool):
    assert torch.equal(pickle.loads(pickle.dumps(pool)).energies(frames), pool.energies(frames))


def test_a_pool_survives_a_fork(system, frames):
    pool = ContextPool(system, platform="CPU", threads=2)  # the CPU platform has threads, which a fork leaves behind
    expected = pool.energies(frames).tolist()
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=lambda: there.send(pool.energies(frames).tolist()))
    child.start()
    try:
        assert here.poll(60), "the child hangs"
        assert here.recv() == expected
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_the_pool_has_a_system_of_its_own(system, frames):
    mine = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    pool = ContextPool(mine, threads=1)
    before = pool.energies(frames[:1])
    while mine.getNumForces():
        mine.removeForce(0)
    assert torch.equal(pickle.loads(pickle.dumps(pool)).energies(frames[:1]), before)


def test_frames_without_an_energy_are_nan_and_spoil_no_other(frames, pool):
    x = frames.clone()
    x[1, 3, 0], x[2] = torch.inf, 0.0
    energy, force = pool.energies_and_forces(x)
    assert energy.isnan().nonzero().flatten().tolist() == [1, 2]
    assert force.isnan().flatten(1).any(1).nonzero().flatten().tolist() == [1, 2]
    assert torch.equal(energy[3:], pool.energies(frames)[3:])


def test_no_frames_and_wrong_frames(frames, pool):
    energy, force = pool.energies_and_forces(frames[:0])
    assert energy.shape == (0,)
    assert force.shape == (0, 22, 3)
    with pytest.raises(ValidationError, match=r"got frames of shape \(12, 21, 3\), expected \(frames, 22, 3\)"):
        pool.forces(frames[:, :21])


def test_single_precision_frames_on_input_are_computed_in_double(frames, pool):
    single = frames.float()
    assert torch.equal(pool.forces(single), pool.forces(single.double()))


def test_precision_is_named(system):
    assert ContextPool(system).precision == "double"
    assert ContextPool(system, platform="CPU").precision == "single"


def test_an_unknown_platform_is_refused(system):
    with pytest.raises(ValidationError, match='OpenMM platform: got "Metal", expected auto or one of Reference'):
        ContextPool(system, platform="Metal")


class TestChoice:
    """Small molecules in vacuum go to Reference untimed; an implicit solvent is always timed."""

    def choose(self, system, x, **options):
        return choose_platform("auto", system, x.numpy(), threads=1, **options)

    def test_vacuum_is_untimed(self, alanine, system):
        choice = self.choose(system, alanine[1])
        assert (choice.name, choice.milliseconds) == ("Reference", {})

    def test_generalized_born_is_timed(self, alanine, solvated):
        assert has_generalized_born(solvated)
        choice = self.choose(solvated, alanine[1])
        assert set(choice.milliseconds) >= {"Reference", "CPU"}
        assert choice.milliseconds[choice.name] == min(choice.milliseconds.values())

    @pytest.mark.parametrize(("cpu_ms", "chosen"), [(1.5, "Reference"), (0.9, "CPU")])
    def test_derivatives_want_the_cpu_platform_twice_as_fast(self, alanine, solvated, monkeypatch, cpu_ms, chosen):
        times = {"Reference": 2.0, "CPU": cpu_ms}
        monkeypatch.setattr("tpsctl.molecule.openmm_platforms._milliseconds", lambda name, *_: times[name])
        assert self.choose(solvated, alanine[1], for_derivatives=True).name == chosen
        assert self.choose(solvated, alanine[1]).name == "CPU"

    def test_a_named_platform_is_taken(self, alanine, solvated):
        assert choose_platform("CPU", solvated, alanine[1].numpy(), threads=1).name == "CPU"
        with pytest.raises(ValidationError, match='got "cpu", expected auto or one of'):
            choose_platform("cpu", solvated, alanine[1].numpy(), threads=1)


def test_a_platform_of_gpus_is_told_which_gpu_to_take():
    assert platform_properties("CUDA", 4, "mixed", 2) == {"Precision": "mixed", "DeviceIndex": "2"}
    assert platform_properties("OpenCL", 4, "double", None) == {"Precision": "double"}
    assert platform_properties("CPU", 4, "mixed", 2) == {"Threads": "4"}
    assert platform_properties("Reference", 4, "mixed", 2) == {}
