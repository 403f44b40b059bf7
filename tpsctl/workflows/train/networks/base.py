"""The interface between a training on frames and the network that is trained; every network has one file here."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic

from tpsctl.errors import RecipeError
from tpsctl.prior.fields.energy import EnergyField
from tpsctl.recipe import train as sections
from tpsctl.recipe.auto import AUTO
from tpsctl.score.schedule import (
    Flow,
    LinearVariancePreserving,
    NoiseSchedule,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
)
from tpsctl.training.objectives.base import NetworkT
from tpsctl.training.objectives.energy_denoising import EnergyDenoising
from tpsctl.training.objectives.error_weights import ActionPrincipleWeights, ErrorWeights
from tpsctl.training.objectives.velocity_weights import VelocityWeights
from tpsctl.training.times import TIME_LAWS, TimeLaw
from tpsctl.training.widths import BANDS_OF_ATOMS, NoiseWidths, ScheduledWidths, WidthLaw
from tpsctl.workflows.train.frames import MoleculeFrames


@dataclass(frozen=True)
class NetworkDefaults:
    """Values of the keys of `model` where the recipe says auto.

    Attributes:
        smallest_width_nm: Smallest noise width, nm.
        largest_width_nm: Largest noise width, nm.
        levels: Noise widths with tables.
        hidden: Width of the hidden layers.
        embedding: Radial functions of the noise width.
        layers: Number of hidden layers, or of blocks.
        bands: Bands of noise widths in a batch, see `WidthLaw`.
    """

    smallest_width_nm: float
    largest_width_nm: float
    levels: int
    hidden: int
    embedding: int
    layers: int = 3
    bands: tuple[tuple[float, float], ...] = BANDS_OF_ATOMS


class TrainedNetwork(ABC, Generic[NetworkT]):
    """A network for one recipe: its objective, and its form in a prior and in a checkpoint.

    Args:
        recipe: The recipe.

    Attributes:
        name: Name of the network in checkpoints.
        defaults: Values where the recipe says auto.

    Raises:
        RecipeError: The smallest noise width is not below the largest, of which one may be the network's default.
    """

    name: str
    defaults: NetworkDefaults

    def __init__(self, recipe: sections.TrainRecipe) -> None:
        self.recipe = recipe
        smallest, largest = self.smallest_width_nm, self.largest_width_nm
        if smallest >= largest:
            raise RecipeError(
                f"model.smallest_width_nm: {smallest:g} nm must be less than largest_width_nm, {largest:g} nm for "
                f"network {self.name}. Give both, or leave both out."
            )

    @abstractmethod
    def objective(self, data: MoleculeFrames) -> EnergyDenoising[NetworkT]:
        """The energy with its tables and its fitted part, and the loss of all objectives that are regressions."""

    @abstractmethod
    def field(self, network: NetworkT, n_beads: int) -> EnergyField:
        """A trained network as a field."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """Sizes of the network for its checkpoint."""

    @property
    def smallest_width_nm(self) -> float:
        """Smallest noise width, nm."""
        return self._chosen("smallest_width_nm")

    @property
    def largest_width_nm(self) -> float:
        """Largest noise width, nm."""
        return self._chosen("largest_width_nm")

    @property
    def schedule(self) -> NoiseSchedule:
        """What diffusion time means for this model."""
        model = self.recipe.model
        if isinstance(model, sections.FlowMatchingModelSection | sections.ActionMatchingModelSection):
            return Flow(model.scale_nm)
        match model.schedule:
            case sections.VariancePreservingSection(scale_nm=scale):
                return VariancePreserving(scale)
            case sections.LinearVariancePreservingSection(scale_nm=scale):
                return LinearVariancePreserving(scale)
            case sections.SubVariancePreservingSection(scale_nm=scale):
                return SubVariancePreserving(scale)
        return VarianceExploding(self.smallest_width_nm, self.largest_width_nm)

    @property
    def widths(self) -> NoiseWidths:
        """The law of noise widths in a batch."""
        model = self.recipe.model
        if isinstance(model, sections.ScoreMatchingModelSection):
            return ScheduledWidths(self._times(model))
        uniform_time = model.uniform_time if isinstance(model, sections.FlowMatchingModelSection) else 0.0
        return WidthLaw(self.smallest_width_nm, self.largest_width_nm, self.schedule, uniform_time, self.defaults.bands)

    @property
    def weights(self) -> ErrorWeights | None:
        """How much errors of the score count at a noise width; None for every width to count alike."""
        model = self.recipe.model
        if isinstance(model, sections.FlowMatchingModelSection):
            return VelocityWeights(Flow(model.scale_nm))
        if isinstance(model, sections.ScoreMatchingModelSection):
            return ActionPrincipleWeights(self._times(model), model.weight)
        return None

    def _times(self, model: sections.ScoreMatchingModelSection) -> TimeLaw:
        return TIME_LAWS[model.times](self.schedule, self.smallest_width_nm, self.largest_width_nm)

    def _chosen(self, name: str) -> Any:
        given = getattr(self.recipe.model, name)
        return getattr(self.defaults, name) if given == AUTO else given
