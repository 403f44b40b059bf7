"""The landscapes on which tops of paths and ends are judged, from the sections `prior` and `validation`.

    prior          the energy of the prior, for which the paths are made, if its score is the gradient of a known energy
    force_field    the force field of validation.energy

Both are evaluated in double precision, because second derivatives are needed: the force field on OpenMM's Reference
platform, a network on the device of the run.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.landscape.coordinates import BondedCoordinates, Cartesian, Coordinates
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.surface import ForceFieldSurface, ScoreSurface, Surface
from tpsctl.molecule.curvature import Curvature
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system.base import MolecularSystem
from tpsctl.molecule.solvent import solvent_of
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.recipe.auto import DEFAULT_TEMPERATURE_K
from tpsctl.recipe.endpoints import MoleculeEndpointsSection
from tpsctl.recipe.prior import CheckpointPriorSection, OpenMMPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import thermal_energy
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.saddle import TopJudge
from tpsctl.workflows.sample.assemble.prior import make_prior
from tpsctl.workflows.sample.assemble.system import System

MOST_ATOMS = 40
"""Largest molecule whose tops are judged by default. A Hessian of the Reference platform takes 6 forces per atom: 5 ms
for 22 atoms, 0.1 s for 40."""

LARGEST = 500
"""Largest molecule whose tops can be judged at all: its Hessian has 18 MB, and a hundred of them are needed."""

_ROTATION = ((0.36, 0.48, -0.8), (-0.8, 0.6, 0.0), (0.48, 0.64, 0.6))
"""A rotation by which it is tested whether an energy depends on the orientation."""


def why_no_saddles(system: System) -> str:
    """Why saddles between these ends cannot be judged, in words; "" if they can, as far as the ends tell."""
    if not system.is_molecule:
        return "the endpoints are points of a model potential, and saddles are judged for molecules"
    if system.pairs is not None:
        return (
            f"the ends are {len(system.pairs)} pairs of frames, which need not be minima, and a saddle joins two "
            "minima. Give one start and one end for that"
        )
    solvent = solvent_of(system.topology)
    if solvent:
        return (
            f"the ends hold solvent ({', '.join(solvent)}). With explicit solvent every state of the molecule has "
            "countless minima, and a saddle between two of them says nothing about the molecule. Take the solvent "
            "out, and use an implicit one"
        )
    if system.topology.n_atoms > LARGEST:
        return (
            f"the ends have {system.topology.n_atoms} atoms, and saddles are judged for up to {LARGEST}: a larger "
            "molecule has countless saddles, and every one takes hundreds of Hessians of all its atoms"
        )
    return ""


def judges_saddles(recipe: SampleRecipe, system: System) -> bool:
    """Whether tops are judged, as far as the ends tell; if `validation.saddle` is auto, up to `MOST_ATOMS` atoms.

    Raises:
        RecipeError: The recipe wants it, and it is impossible.
    """
    wanted, fault = recipe.validation.saddle, why_no_saddles(system)
    if wanted is True and fault:
        raise RecipeError(f"validation.saddle: true is not possible: {fault}. Use validation.saddle: false.")
    return not fault and (wanted is True or (wanted == "auto" and system.topology.n_atoms <= MOST_ATOMS))


def make_landscapes(
    recipe: SampleRecipe,
    system: System,
    prior: Prior,
    energy_model: EnergyModel | None,
    time: float,
    *,
    threads: int,
    device: torch.device,
) -> dict[str, TopJudge]:
    """The landscapes of a molecule by name, "prior" and "force_field", as far as there are any.

    Args:
        recipe: The recipe.
        system: The ends.
        prior: Its prior, on any device and in any precision.
        energy_model: The force field of validation.energy; None if there is none.
        time: Diffusion time at which the prior's score is used.
        threads: CPU threads.
        device: Where a network computes.
    """
    surfaces: dict[str, Surface] = {}
    own = prior_surface(recipe, system, prior, time, threads=threads, device=device)
    if own is not None:
        surfaces["prior"] = own
    if energy_model is not None:
        made = energy_model.made
        same = prior_is_force_field(recipe)
        surfaces["force_field"] = surfaces["prior"] if same else force_field_surface(made, threads)
    judges = {surface: make_judge(recipe, system, surface) for surface in set(surfaces.values())}
    return {name: judges[surface] for name, surface in surfaces.items()}


def make_judge(recipe: SampleRecipe, system: System, surface: Surface) -> TopJudge:
    """What judges the tops of the paths of a molecule on one energy surface."""
    assert isinstance(recipe.endpoints, MoleculeEndpointsSection)
    keep = recipe.endpoints.equivalent_atoms == "keep"
    equivalence = equivalence_of(system.topology, system.ends[0], keep_labels=keep)
    coordinates = bonded_coordinates(system.topology, system.ends) if surface.rigid_motions else Cartesian()
    return TopJudge(surface, coordinates, equivalence, system.ends)


def prior_is_force_field(recipe: SampleRecipe) -> bool:
    """Whether the prior is the very force field of validation.energy."""
    energy = recipe.validation.energy
    return (
        isinstance(recipe.prior, OpenMMPriorSection)
        and energy is not None
        and recipe.prior.force_field == energy.force_field
    )


def force_field_surface(made: MolecularSystem, threads: int) -> Surface:
    """The energy of a force field in double precision."""
    pool = ContextPool(made.system, platform="Reference", threads=threads)
    return ForceFieldSurface(pool.energies_and_forces, made.masses_amu, Curvature(made.system, threads=threads).hessian)


def bonded_coordinates(topology: Topology, ends: Float[Tensor, "2 atom 3"]) -> Coordinates:
    """Internal coordinates; Cartesian ones where bonds do not hold all atoms, as in beads or linear molecules."""
    bonded = BondedCoordinates(topology)
    if int(torch.linalg.matrix_rank(bonded.rows(ends), rtol=1e-6).min()) < 3 * topology.n_atoms - 6:
        return Cartesian()
    return bonded


def prior_surface(
    recipe: SampleRecipe, system: System, prior: Prior, time: float, *, threads: int, device: torch.device
) -> Surface | None:
    """The energy of the prior in double precision; None if its score is no gradient, or it does not know the energy."""
    if isinstance(prior, OpenMMPrior):
        return force_field_surface(prior.made, threads)
    if not prior.conservative:
        return None
    section = recipe.prior
    if isinstance(section, CheckpointPriorSection):
        section = section.model_copy(update={"precision": "float64"})
    exact = make_prior(section, system, device)
    if exact.log_density(system.ends[:1].to(device), time) is None:
        return None
    given = system.ends[:1]
    both = torch.cat((given, given @ torch.tensor(_ROTATION, dtype=torch.float64).T))
    energy_fn = partial(_energy_over_kt, exact, time)
    before, after = energy_fn(both.to(device)).tolist()
    free = abs(after - before) < 1e-6
    kelvin = prior.temperature_k or recipe.action.temperature_k or DEFAULT_TEMPERATURE_K
    masses = prior.masses_amu or system.topology.masses_amu
    kt = thermal_energy(kelvin)
    return ScoreSurface(exact.at(time), energy_fn, kt=kt, masses_amu=masses, rigid_motions=free, device=device)


def _energy_over_kt(prior: Prior, time: float, x: Tensor) -> Tensor:
    density = prior.log_density(x, time)
    assert density is not None
    return -density
