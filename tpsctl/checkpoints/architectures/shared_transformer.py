"""`SharedEnergy` in checkpoints: several molecules with one transformer, whose atoms and bonds are in the card."""

from typing import Any

import torch

from tpsctl.checkpoints.architectures.base import Architecture
from tpsctl.checkpoints.architectures.in_nm import read_topology, require_molecule, require_numbers, topology_entries
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.molecules import chosen_molecule
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.fitted import fitted_count
from tpsctl.networks.chain_energy.shared import SharedEnergy
from tpsctl.networks.chain_energy.transformer import TransformerEnergySizes
from tpsctl.networks.graph_transformer.bead_table import BeadTable
from tpsctl.prior.fields.transformer_energy import TransformerEnergyField
from tpsctl.prior.network import NetworkPrior, energy_prior
from tpsctl.score.schedule import schedule_from_dict


class SharedTransformerArchitecture(Architecture):
    """Stores energies of several molecules in a checkpoint, and makes the prior of one of them."""

    name = "shared_transformer"
    prefix = ""

    def card(self, about: ModelDescription) -> dict[str, Any]:
        if about.schedule is None or not about.molecules:
            raise PriorError("an energy needs its molecules and its schedule; the description lacks one of them.")
        said = about.facts["molecules"]
        return {
            "kind": about.kind,
            "network": {"name": self.name, **about.sizes},
            "schedule": about.schedule.to_dict(),
            "length_unit": "nm",
            "temperature_k": about.temperature_k,
            "smallest_width_nm": about.smallest_width_nm,
            "conservative": True,
            "bead_types": list(BeadTable.of(about.molecules).types),
            **about.facts,
            "molecules": [
                {**entries, **topology_entries(topology)}
                for entries, topology in zip(said, about.molecules, strict=True)
            ],
        }

    def description(self, card: dict[str, Any]) -> ModelDescription:
        sizes = {k: int(v) for k, v in card["network"].items() if k != "name"}
        molecules = tuple(read_topology(entry) for entry in card["molecules"])
        said = [{k: v for k, v in entry.items() if k not in ("atoms", "bonds")} for entry in card["molecules"]]
        about = ModelDescription(
            kind=card["kind"],
            network=self.name,
            sizes=TransformerEnergySizes(**sizes).to_dict(),
            temperature_k=float(card["temperature_k"]),
            schedule=schedule_from_dict(card["schedule"]),
            smallest_width_nm=float(card["smallest_width_nm"]),
            molecules=molecules,
            facts={key: value for key, value in card.items() if key not in _INTERPRETED} | {"molecules": said},
        )
        require_numbers(about)
        for topology, entry in zip(molecules, said, strict=True):
            require_molecule(topology)
            if not isinstance(entry["name"], str):
                raise ValueError("a molecule has no name")
        if not molecules or list(BeadTable.of(molecules).types) != card["bead_types"]:
            raise ValueError("the bead types are not those of the molecules")
        return about

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        about = model.description
        names = [entry["name"] for entry in about.facts["molecules"]]
        number = 0 if topology is None else chosen_molecule(names, about.molecules, topology)
        molecule, schedule = about.molecules[number], about.schedule
        assert schedule is not None
        try:
            network = _network(model)
            network.load_state_dict(model.weights)
        except (RuntimeError, IndexError) as error:
            raise PriorError(f"tensors do not fit the model card ({error}).") from error
        member = network.members[number]
        field = TransformerEnergyField(member, molecule.n_atoms, smallest_width=about.smallest_width_nm)
        return energy_prior(about.kind, field, schedule, molecule, temperature_k=about.temperature_k)

    def facts(self, about: ModelDescription) -> dict[str, Any]:
        names = [entry["name"] for entry in about.facts["molecules"]]
        beads = [f"{topology.n_atoms} beads" for topology in about.molecules]
        return {
            "molecules": dict(zip(names, beads, strict=True)),
            "bead_types": ", ".join(BeadTable.of(about.molecules).types),
            "card": {"length_unit": "nm", "smallest_width_nm": about.smallest_width_nm, **about.facts},
        }


_INTERPRETED = (
    *("format_version", "kind", "network", "schedule", "length_unit", "temperature_k", "smallest_width_nm"),
    *("conservative", "bead_types", "molecules", "sha256"),
)
"""Entries of a card that this module interprets; all other entries are kept as facts."""


def _network(model: Model) -> SharedEnergy:
    """The network without its weights.

    Raises:
        PriorError: Tensors do not have the shapes that the description states, or a molecule has no torsion; this is
            found before memory is allocated.
    """
    about = model.description
    sizes, table = TransformerEnergySizes(**about.sizes), BeadTable.of(about.molecules)
    empty, weights = torch.empty(0, 0), model.weights
    nodes = weights.get("transformer.node_embedding.weight", empty)
    types = weights.get("transformer.type_embedding.weight", empty)
    queries = weights.get("transformer.blocks.0.attention.to_q.weight", empty)
    layers = sum(name.endswith(".attention.to_q.weight") for name in weights)
    found = [tuple(nodes.shape), tuple(types.shape), tuple(queries.shape), layers]
    stated = [
        (sizes.hidden, table.slots + sizes.hidden + 1),
        (len(table.types), sizes.hidden),
        (sizes.heads * sizes.head_dim, sizes.hidden),
        sizes.layers,
    ]
    for number, topology in enumerate(about.molecules):
        found.append(tuple(weights.get(f"molecules.{number}.pairs.coefficients", empty).shape))
        stated.append((sizes.levels, fitted_count(topology, sizes.fitted), 2 + sizes.gaussians))
        if not topology.torsions:
            raise PriorError("the bonds of a molecule in the model card form no chain of four beads.")
    if found != stated:
        raise PriorError(
            "tensors do not fit the model card: nodes, bead types, queries, blocks, and pairs of every molecule are "
            f"{stated} in the card and {found} in the tensors."
        )
    return SharedEnergy(about.molecules, table, sizes)
