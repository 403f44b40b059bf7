"""What a search for routes needs of a recipe: the landscape of its prior, in double precision, and how paths begin."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.guess.latent import LatentGuess
from tpsctl.guess.untangle import untangled
from tpsctl.landscape.attempts import GuessFn, SearchedMolecule
from tpsctl.landscape.equivalence import EXACT
from tpsctl.landscape.guesses import TurningGuesses
from tpsctl.landscape.moves import Bonds
from tpsctl.landscape.relabeling import tolerance_of_copies
from tpsctl.landscape.surface import ForceFieldSurface
from tpsctl.molecule.geometry import superpose
from tpsctl.prior.network import NetworkPrior
from tpsctl.recipe.auto import DEFAULT_TEMPERATURE_K
from tpsctl.units import thermal_energy
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.tools import Tools

LATENT_EVERY = 4
"""With a generative prior, every fourth path between the same two minima is an interpolation in its noise."""

LATENT_WIDTHS_NM = (0.03, 0.25)
"""Range of the width of the noise of such a path, which is drawn anew for each, even in its logarithm: it blurs
torsions, and at the upper end forgets them."""

LATENT_STEPS = 50
"""Number of steps in which this noise is taken away again."""


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
    copies = EXACT
    if not isinstance(own.surface, ForceFieldSurface):
        copies = tolerance_of_copies(own.surface, system.ends, own.coordinates, own.equivalence)
    molecule = SearchedMolecule(
        surface=own.surface,
        coordinates=own.coordinates,
        equivalence=own.equivalence.tolerating(copies),
        bonds=Bonds(topology),
        guess=_guess(tools),
    )
    temperature = tools.chosen.temperature_k.value or tools.prior.temperature_k or DEFAULT_TEMPERATURE_K
    return Landscape(molecule, system.ends, temperature)


def _guess(tools: Tools) -> GuessFn:
    """How first paths are drawn: torsions turn in random ways; with a generative prior, some come from its noise."""
    topology, prior = tools.system.topology, tools.prior
    turning = TurningGuesses(topology, lambda path: untangled(path, topology))
    if not (prior.generative and isinstance(prior, NetworkPrior)):
        return turning.of_style
    low, high = LATENT_WIDTHS_NM

    def guess(ends: Tensor, images: int, generator: torch.Generator, style: int) -> Tensor:
        if style % LATENT_EVERY != LATENT_EVERY - 1:
            return turning.of_style(ends, images, generator, style)
        width = low * (high / low) ** float(torch.rand((), generator=generator, dtype=torch.float64))
        latent = LatentGuess(prior, level=prior.time_of(width), steps=LATENT_STEPS)
        path = latent.draw_one(ends.to(tools.system.ends), images, generator, style).to(ends)
        path[0], path[-1] = ends[0], superpose(ends[1], path[-2])
        return path

    return guess
