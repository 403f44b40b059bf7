"""Training of a `TransformerEnergy`, for chains of beads, and of a `SharedEnergy`, for several molecules."""

from collections.abc import Mapping
from typing import Any

from tpsctl.errors import RecipeError
from tpsctl.networks.chain_energy.fitted import PAIRS_AND_ANGLES
from tpsctl.networks.chain_energy.pair_energy import FINE
from tpsctl.networks.chain_energy.shared import SharedEnergy
from tpsctl.networks.chain_energy.transformer import (
    BeadTransformerEnergy,
    TransformerEnergy,
    TransformerEnergySizes,
)
from tpsctl.networks.graph_transformer.bead_table import BeadTable
from tpsctl.prior.fields.transformer_energy import TransformerEnergyField
from tpsctl.recipe import train as sections
from tpsctl.recipe.auto import AUTO
from tpsctl.training.objectives.base import seeded
from tpsctl.training.objectives.energy_residual import ResidualDenoising, ResidualSettings
from tpsctl.training.objectives.shared_denoising import SharedDenoising
from tpsctl.training.widths import BANDS_OF_BEADS
from tpsctl.workflows.train.frames import MoleculeFrames
from tpsctl.workflows.train.networks.base import NetworkDefaults, TrainedNetwork


class TrainedTransformerEnergy(TrainedNetwork[Any]):
    """A transformer energy for one recipe."""

    name = "transformer_energy"
    defaults = NetworkDefaults(
        smallest_width_nm=0.01, largest_width_nm=3.0, levels=16, hidden=64, embedding=0, layers=2, bands=BANDS_OF_BEADS
    )

    def objective(self, data: MoleculeFrames) -> ResidualDenoising:
        sizes = TransformerEnergySizes(**self.sizes)
        network = seeded(self.recipe.seed, lambda: TransformerEnergy(data.topology, sizes))
        return self._denoising(data, network, self.recipe.optimize.batch)

    def shared_objective(self, data: Mapping[str, MoleculeFrames]) -> SharedDenoising:
        """What is minimized for several molecules, by name; each has the same share of a batch.

        Raises:
            RecipeError: A batch has fewer than two structures for each of them.
        """
        sizes, batch = TransformerEnergySizes(**self.sizes), self.recipe.optimize.batch // len(data)
        if batch < 2:
            raise RecipeError(
                f"optimize.batch: got {self.recipe.optimize.batch}, expected at least {2 * len(data)}: two structures "
                f"of each of the {len(data)} molecules."
            )
        molecules = [frames.topology for frames in data.values()]
        network = seeded(self.recipe.seed, lambda: SharedEnergy(molecules, BeadTable.of(molecules), sizes))
        parts = zip(data.items(), network.members, strict=True)
        return SharedDenoising(
            network, {name: self._denoising(frames, member, batch) for (name, frames), member in parts}
        )

    def _denoising(self, data: MoleculeFrames, network: BeadTransformerEnergy, batch: int) -> ResidualDenoising:
        optimize, section = self.recipe.optimize, self._section
        if self.recipe.model.embedding != AUTO:
            raise RecipeError("model.embedding: a transformer energy has none. Leave the key out.")
        if optimize.precision == "bf16":
            raise RecipeError("optimize.precision: got bf16, but a transformer energy is trained in float32 or tf32.")
        settings = ResidualSettings(
            batch, optimize.torsion_weight, optimize.linear_samples, fits_pairs=section.pair_energy
        )
        held_out = data.held_out_frames
        return ResidualDenoising(data.topology, data.training, network, self.widths, settings, self.weights, held_out)

    def field(self, network: BeadTransformerEnergy, n_beads: int) -> TransformerEnergyField:
        return TransformerEnergyField(network, n_beads, smallest_width=self.smallest_width_nm)

    @property
    def sizes(self) -> dict[str, Any]:
        section = self._section
        own = {
            "gaussians": section.gaussians,
            "resolution": FINE,
            "fitted": PAIRS_AND_ANGLES,
            "heads": section.heads,
            "head_dim": section.head_dim,
        }
        chosen = {name: self._chosen(name) for name in ("hidden", "layers", "levels")}
        return TransformerEnergySizes(**own, **chosen).to_dict()

    @property
    def _section(self) -> sections.TransformerEnergySection:
        section = self.recipe.model.network
        if isinstance(section, sections.TransformerEnergySection):
            return section
        return sections.TransformerEnergySection(kind="transformer_energy")  # auto, for several molecules
