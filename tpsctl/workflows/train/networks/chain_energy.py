"""Training of a `ChainEnergy`, for chains of beads."""

from typing import Any

from tpsctl.networks.chain_energy.fitted import PAIRS_AND_ANGLES
from tpsctl.networks.chain_energy.network import ChainEnergy, ChainEnergySizes
from tpsctl.networks.chain_energy.pair_energy import FINE
from tpsctl.prior.fields.chain_energy import ChainEnergyField
from tpsctl.recipe import train as sections
from tpsctl.training.objectives.base import seeded
from tpsctl.training.objectives.energy_residual import ResidualDenoising, ResidualSettings
from tpsctl.training.widths import BANDS_OF_BEADS
from tpsctl.workflows.train.frames import MoleculeFrames
from tpsctl.workflows.train.networks.base import NetworkDefaults, TrainedNetwork


class TrainedChainEnergy(TrainedNetwork[Any]):
    """A chain energy for one recipe."""

    name = "chain_energy"
    defaults = NetworkDefaults(
        smallest_width_nm=0.01, largest_width_nm=3.0, levels=16, hidden=192, embedding=16, bands=BANDS_OF_BEADS
    )

    def objective(self, data: MoleculeFrames) -> ResidualDenoising:
        optimize = self.recipe.optimize
        sizes = ChainEnergySizes(**self.sizes)
        network = seeded(self.recipe.seed, lambda: ChainEnergy(data.topology, sizes))
        settings = ResidualSettings(optimize.batch, optimize.torsion_weight, optimize.linear_samples)
        held_out = data.held_out_frames
        return ResidualDenoising(data.topology, data.training, network, self.widths, settings, self.weights, held_out)

    def field(self, network: ChainEnergy, n_beads: int) -> ChainEnergyField:
        return ChainEnergyField(network, n_beads, smallest_width=self.smallest_width_nm)

    @property
    def sizes(self) -> dict[str, Any]:
        section = self.recipe.model.network
        if not isinstance(section, sections.ChainEnergySection):
            section = sections.ChainEnergySection(kind="chain_energy")
        chosen = {name: self._chosen(name) for name in ("hidden", "layers", "levels", "embedding")}
        return ChainEnergySizes(
            gaussians=section.gaussians, resolution=FINE, fitted=PAIRS_AND_ANGLES, inputs=3, **chosen
        ).to_dict()
