"""Training of an `InternalEnergy`, for small molecules."""

from typing import Any

from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.prior.fields.internal_energy import InternalEnergyField
from tpsctl.training.objectives.internal_energy import InternalEnergyDenoising, InternalEnergySettings
from tpsctl.workflows.train.frames import MoleculeFrames
from tpsctl.workflows.train.networks.base import NetworkDefaults, TrainedNetwork


class TrainedInternalEnergy(TrainedNetwork[InternalEnergy]):
    """An internal energy for one recipe."""

    name = "internal_energy"
    defaults = NetworkDefaults(smallest_width_nm=0.00025, largest_width_nm=1.0, levels=32, hidden=384, embedding=24)

    def objective(self, data: MoleculeFrames) -> InternalEnergyDenoising:
        optimize = self.recipe.optimize
        settings = InternalEnergySettings(
            optimize.batch, optimize.torsion_weight, optimize.linear_samples, self.recipe.seed
        )
        sizes = InternalEnergySizes(**self.sizes)
        held_out = data.held_out_frames
        return InternalEnergyDenoising(
            data.topology, data.training, sizes, self.widths, settings, self.weights, held_out
        )

    def field(self, network: InternalEnergy, n_beads: int) -> InternalEnergyField:
        return InternalEnergyField(network, n_beads, smallest_width=self.smallest_width_nm)

    @property
    def sizes(self) -> dict[str, Any]:
        chosen = {name: self._chosen(name) for name in ("hidden", "layers", "levels", "embedding")}
        return InternalEnergySizes(**chosen).to_dict()
