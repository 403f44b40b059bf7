"""What a search for routes needs of a recipe: the landscape of its prior, in double precision, and how paths begin."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.guess.untangle import untangled
from tpsctl.landscape.attempts import SearchedMolecule
from tpsctl.landscape.equivalence import EXACT
from tpsctl.landscape.guesses import TurningGuesses
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.relabeling import tolerance_of_copies
from tpsctl.landscape.surface import ForceFieldSurface
from tpsctl.recipe.auto import DEFAULT_TEMPERATURE_K
from tpsctl.units import thermal_energy
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.tools import Tools


@dataclass(frozen=True)
class Landscape:
    """The landscape that is searched.

    Attributes:
        molecule: The molecule on its energy surface.
        ends: Both ends, nm.
        temperature_k: Temperature at which energies are energies over kT, K.
    """

    molecule: SearchedMolecule
    ends: Float[Tensor, "2 atom 3"]
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
    system, topology = tools.system, tools.system.topology
    if fault := assemble.why_no_routes(system, tools.prior, assemble.precision_of(tools.recipe.prior)):
        raise RecipeError(f"optimize.method: route is not possible: {fault}. Another method is levenberg_marquardt.")
    own = tools.landscapes["prior"]
    guesses = TurningGuesses(topology, lambda path: untangled(path, topology))
    copies = EXACT
    if not isinstance(own.surface, ForceFieldSurface):
        copies = tolerance_of_copies(own.surface, system.ends, own.coordinates, own.equivalence)
    molecule = SearchedMolecule(
        surface=own.surface,
        coordinates=own.coordinates,
        equivalence=own.equivalence.tolerating(copies),
        bonds=Bonds(topology),
        guess=guesses.of_style,
    )
    temperature = tools.chosen.temperature_k.value or tools.prior.temperature_k or DEFAULT_TEMPERATURE_K
    return Landscape(molecule, system.ends, temperature)
