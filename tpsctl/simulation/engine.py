"""Langevin dynamics under physical forces and a bias; stores frames with their forces.

The bias has a force group of its own, so every stored frame carries the physical energy and forces
separately from the bias energy. Each run starts from explicit positions, velocities and a random
seed. The same three give the same frames, whether an earlier run was interrupted or not.
"""

from dataclasses import dataclass

import numpy as np
import openmm
from openmm import unit

from tpsctl.errors import DataError
from tpsctl.molecule.openmm_contexts import make_context, platforms
from tpsctl.molecule.openmm_platforms import choose_platform, has_generalized_born
from tpsctl.simulation.parallel_bias import Bias

PHYSICAL_GROUP = 0
BIAS_GROUP = 1

REFERENCE_PLATFORM_ATOMS = 100
"""With platform "auto", molecules in vacuum up to this size run on OpenMM's Reference platform, which at 22 atoms
is about ten times as fast as the CPU platform (no threads to wake)."""

_LARGE_SYSTEMS = ("CUDA", "HIP", "OpenCL", "CPU", "Reference")
"""Platforms for larger molecules in the order of preference; the first that is installed is used."""


@dataclass(frozen=True)
class Thermostat:
    """Langevin dynamics (LFMiddle discretization): step in ps, friction in 1/ps, temperature in K."""

    dt_ps: float
    friction_per_ps: float
    temperature_k: float


@dataclass(frozen=True)
class PhaseState:
    """Positions (atom, 3) in nm and velocities (atom, 3) in nm/ps, float64."""

    x: np.ndarray
    v: np.ndarray


@dataclass(frozen=True)
class Frames:
    """Stored frames: positions nm and physical forces kJ/mol/nm (frame, atom, 3); energies kJ/mol, time ps (frame,)."""

    x: np.ndarray
    force: np.ndarray
    energy: np.ndarray
    bias: np.ndarray
    time_ps: np.ndarray


class Engine:
    """Runs the dynamics of one System, with or without a bias, in one OpenMM context.

    Args:
        system_xml: Serialized OpenMM System without bias.
        bias: The bias; None for dynamics without one.
        thermostat: Time step, friction and temperature.
        seed: Seed of the random forces and of new velocities, 1 ... 2^31 - 1.
        platform: OpenMM platform name.
    """

    def __init__(self, system_xml: str, bias: Bias | None, thermostat: Thermostat, *, seed: int, platform: str) -> None:
        system = openmm.XmlSerializer.deserialize(system_xml)
        _remove_center_of_mass_control(system)
        for force in system.getForces():
            force.setForceGroup(PHYSICAL_GROUP)
        self._bias_force: openmm.CustomCompoundBondForce | None = None
        if bias is not None:
            self._bias_force = bias.openmm_force()
            self._bias_force.setForceGroup(BIAS_GROUP)
            system.addForce(self._bias_force)
        self._thermostat = thermostat
        self._seed = seed
        self._integrator = openmm.LangevinMiddleIntegrator(
            thermostat.temperature_k, thermostat.friction_per_ps, thermostat.dt_ps
        )
        self._integrator.setRandomNumberSeed(seed)
        # One process per core is faster than several threads for one small molecule.
        self.context = make_context(system, self._integrator, platform, threads=1)

    def set_bias(self, bias: Bias) -> None:
        """Replace the values of the bias that the engine was made with.

        Raises:
            ValueError: The engine was made without a bias.
        """
        if self._bias_force is None:
            raise ValueError("this engine was made without a bias")
        bias.set_table(self._bias_force, self.context)

    def reseed(self, seed: int) -> None:
        """Begin the sequence of random forces that belongs to a seed, 1 ... 2^31 - 1; a new state must be set next."""
        self._seed = seed
        self._integrator.setRandomNumberSeed(seed)
        self.context.reinitialize()

    def set_state(self, state: PhaseState) -> None:
        """Continue from these positions and velocities."""
        self.context.setPositions(state.x)
        self.context.setVelocities(state.v)

    def start(self, x: np.ndarray, *, minimize: bool = False) -> None:
        """Start from positions (atom, 3) in nm with new Maxwell-Boltzmann velocities.

        With `minimize`, the potential energy is minimized first.
        """
        self.context.setPositions(x)
        if minimize:
            openmm.LocalEnergyMinimizer.minimize(self.context, 1.0)
        self.context.setVelocitiesToTemperature(self._thermostat.temperature_k, self._seed)

    def state(self) -> PhaseState:
        """The present positions and velocities."""
        state = self.context.getState(positions=True, velocities=True)
        return PhaseState(_array(state.getPositions(asNumpy=True)), _array(state.getVelocities(asNumpy=True)))

    def positions(self) -> np.ndarray:
        """The present positions (atom, 3), nm."""
        return _array(self.context.getState(positions=True).getPositions(asNumpy=True))

    def step(self, steps: int) -> None:
        """Advance this many steps.

        Raises:
            DataError: The dynamics became unstable (OpenMM met coordinates that are not finite).
        """
        try:
            self._integrator.step(steps)
        except openmm.OpenMMException as error:
            raise DataError(
                f"the simulation failed ({error}). A smaller dt_ps than {self._thermostat.dt_ps} ps, or a better "
                "minimized structure, usually helps; bonds to hydrogen are flexible and need dt_ps <= 0.001."
            ) from error

    def record(self, frames: int, interval: int, *, time_ps: float) -> Frames:
        """Run the dynamics and store `frames` frames, one after every `interval` steps.

        Args:
            frames: Number of frames.
            interval: Steps between two frames.
            time_ps: Time at the start, ps; the times of the frames count from it.

        Raises:
            DataError: A coordinate or an energy is not finite.
        """
        n = self.context.getSystem().getNumParticles()
        x, force = np.empty((frames, n, 3)), np.empty((frames, n, 3))
        energy, bias = np.empty(frames), np.zeros(frames)
        for i in range(frames):
            self.step(interval)
            physical = self.context.getState(positions=True, forces=True, energy=True, groups={PHYSICAL_GROUP})
            x[i], force[i] = _array(physical.getPositions(asNumpy=True)), _array(physical.getForces(asNumpy=True))
            energy[i] = physical.getPotentialEnergy()._value
            if self._bias_force is not None:
                bias[i] = self.context.getState(energy=True, groups={BIAS_GROUP}).getPotentialEnergy()._value
        if not (np.isfinite(x).all() and np.isfinite(energy).all()):
            raise DataError("the simulation gave non-finite coordinates or energies; use a smaller dt_ps.")
        times = time_ps + self._thermostat.dt_ps * interval * np.arange(1, frames + 1)
        return Frames(x, force, energy, bias, times)


def _remove_center_of_mass_control(system: openmm.System) -> None:
    """Remove the force that holds the center of mass: Langevin dynamics gives it thermal motion like all the rest."""
    for i in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(i), openmm.CMMotionRemover):
            system.removeForce(i)


def simulation_platform(wanted: str, system: openmm.System, x: np.ndarray) -> str:
    """The name of the platform to simulate on: the one that is wanted, or with "auto" the fastest one here.

    Args:
        wanted: Name of a platform, or "auto".
        system: The System.
        x: Any sound configuration (atom, 3), nm; used to time platforms where there is an implicit solvent.

    Raises:
        ValidationError: There is no platform of that name.
    """
    if wanted != "auto" or has_generalized_born(system):
        return choose_platform(wanted, system, x, threads=1).name
    if system.getNumParticles() <= REFERENCE_PLATFORM_ATOMS:
        return "Reference"
    return next(name for name in _LARGE_SYSTEMS if name in platforms())


def _array(quantity: unit.Quantity) -> np.ndarray:
    return np.array(quantity.value_in_unit_system(unit.md_unit_system), dtype=np.float64)
