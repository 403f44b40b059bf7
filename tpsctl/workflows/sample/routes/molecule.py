"""What a search for routes needs of a recipe: the landscape of its prior, in double precision, and how paths begin."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.guess.untangle import untangled
from tpsctl.landscape.attempts import SearchedMolecule
from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.equivalence import equivalence_of
from tpsctl.landscape.guesses import TurningGuesses
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.surface import ForceFieldSurface, ScoreSurface, Surface
from tpsctl.molecule.force_field_hessian import closed_hessian
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.topology import Topology
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.recipe.endpoints import MoleculeEndpointsSection
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.units import thermal_energy
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.tools import Tools

_TEMPERATURE_K = 300.0
"""Temperature where neither the recipe nor the prior has one."""

IN_TURN_ATOMS = 60
"""From here on torsions of first paths turn residue by residue, because they clash when all turn together."""


@dataclass(frozen=True)
class Landscape:
    """The landscape that is searched.

    Attributes:
        molecule: The molecule on its energy surface.
        temperature_k: Temperature at which energies are energies over kT, K.
    """

    molecule: SearchedMolecule
    temperature_k: float

    @property
    def kt(self) -> float:
        """Thermal energy, kJ/mol."""
        return thermal_energy(self.temperature_k)


def make_landscape(tools: Tools) -> Landscape:
    """The landscape of a recipe's prior.

    Raises:
        RecipeError: The prior or the ends have none.
    """
    system, chosen = tools.system, tools.chosen
    if fault := assemble.why_no_routes(system, tools.prior, assemble.precision_of(tools.recipe.prior)):
        raise RecipeError(f"optimize.method: route is not possible: {fault}. Another method is levenberg_marquardt.")
    temperature = chosen.temperature_k.value or tools.prior.temperature_k or _TEMPERATURE_K
    surface = _surface(tools, chosen.diffusion_time.value, thermal_energy(temperature))
    assert isinstance(tools.recipe.endpoints, MoleculeEndpointsSection)
    keep = tools.recipe.endpoints.equivalent_atoms == "keep"
    return Landscape(searched_molecule(surface, system.topology, system.ends[0], keep_labels=keep), temperature)


def searched_molecule(
    surface: Surface, topology: Topology, x: Float[Tensor, "atom 3"], *, keep_labels: bool
) -> SearchedMolecule:
    """A molecule on an energy surface, with first paths that turn about bonds.

    Args:
        surface: The energy surface.
        topology: Atoms and bonds.
        x: A structure of the molecule, nm.
        keep_labels: Whether structures that differ only in the labels of equivalent atoms are different states.
    """
    guesses = TurningGuesses(topology, lambda path: untangled(path, topology))
    in_turn = topology.n_atoms >= IN_TURN_ATOMS
    return SearchedMolecule(
        surface=surface,
        coordinates=BondedCoordinates(topology),
        equivalence=equivalence_of(topology, x, keep_labels=keep_labels),
        bonds=Bonds(topology),
        guess=lambda ends, images, generator, style: guesses.draw(
            ends, images, generator, plain=style == 0, in_turn=in_turn
        ),
    )


def _surface(tools: Tools, time: float, kt: float) -> Surface:
    system, prior, section = tools.system, tools.prior, tools.recipe.prior
    if isinstance(prior, OpenMMPrior):
        # Second derivatives are differences of forces, so the forces are needed in double precision.
        pool = ContextPool(prior.made.system, platform="Reference", threads=tools.threads)
        return ForceFieldSurface(pool.energies_and_forces, prior.made.masses_amu, closed_hessian(prior.made.system))
    if isinstance(section, CheckpointPriorSection):
        exact = section.model_copy(update={"precision": "float64"})
        prior = assemble.make_prior(exact, system, torch.device("cpu"))

    def energy_over_kt(x: Tensor) -> Tensor:
        density = prior.log_density(x, time)
        assert density is not None
        return -density

    masses = prior.masses_amu or system.topology.masses_amu
    return ScoreSurface(prior.at(time), energy_over_kt, kt=kt, masses_amu=masses)
