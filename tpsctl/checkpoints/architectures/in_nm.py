"""Energies in checkpoints: they work in nm and serve one molecule, whose atoms and bonds are in the card."""

import math
from abc import abstractmethod
from typing import Any

from torch import nn

from tpsctl.checkpoints.architectures.base import Architecture
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.prior.fields.energy import EnergyField
from tpsctl.prior.network import NetworkPrior, energy_prior
from tpsctl.score.schedule import NoiseSchedule, schedule_from_dict

VELOCITY_REGRESSION = "velocity regression"
"""What the card of a flow-matching energy has under "objective"; older cards say nothing there."""

_DENOISED_FLOW = (
    "This flow-matching checkpoint was trained by denoising, as earlier versions did. Its score is used like that of a "
    "diffusion model; only its time t is that of the straight path from data to noise.",
)
_MOST_BONDS = 12
"""Largest number of bonds of one atom or bead that a model card may state."""


class EnergyArchitecture(Architecture):
    """Stores an energy of one molecule in a checkpoint, and makes a prior of it."""

    prefix = ""

    @abstractmethod
    def sizes(self, numbers: dict[str, int]) -> dict[str, Any]:
        """Complete the sizes in a card; raises TypeError for a name that the network does not know."""

    @abstractmethod
    def network(self, model: Model, topology: Topology) -> nn.Module:
        """Make the network without its weights.

        Raises:
            PriorError: Tensors do not have the shapes that the description states, or the bonds are not those of such a
                network; this is found before memory is allocated.
        """

    @abstractmethod
    def field(self, network: Any, n_beads: int, smallest_width: float) -> EnergyField:
        """A network with its weights as a field; `smallest_width` is the smallest noise width of its training, nm."""

    def card(self, about: ModelDescription) -> dict[str, Any]:
        topology, schedule = _complete(about)
        return {
            "kind": about.kind,
            "network": {"name": self.name, **about.sizes},
            "schedule": schedule.to_dict(),
            "length_unit": "nm",
            "temperature_k": about.temperature_k,
            "smallest_width_nm": about.smallest_width_nm,
            "conservative": True,
            **topology_entries(topology),
            **about.facts,
        }

    def description(self, card: dict[str, Any]) -> ModelDescription:
        sizes = {k: int(v) for k, v in card["network"].items() if k != "name"}
        about = ModelDescription(
            kind=card["kind"],
            network=self.name,
            sizes=self.sizes(sizes),
            temperature_k=float(card["temperature_k"]),
            schedule=schedule_from_dict(card["schedule"]),
            smallest_width_nm=float(card["smallest_width_nm"]),
            topology=read_topology(card),
            notes=_DENOISED_FLOW if _was_denoised(card) else (),
            facts={key: value for key, value in card.items() if key not in _INTERPRETED},
        )
        require_numbers(about)
        require_molecule(_complete(about)[0])
        return about

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        about = model.description
        molecule, schedule = _complete(about)
        try:
            network = self.network(model, molecule)
            network.load_state_dict(model.weights)
        except (RuntimeError, IndexError) as error:
            raise PriorError(f"tensors do not fit the model card ({error}).") from error
        field = self.field(network, molecule.n_atoms, about.smallest_width_nm)
        return energy_prior(about.kind, field, schedule, molecule, temperature_k=about.temperature_k)

    def facts(self, about: ModelDescription) -> dict[str, Any]:
        card = {"length_unit": "nm", "smallest_width_nm": about.smallest_width_nm, **about.facts}
        return {"card": card, **({"notes": list(about.notes)} if about.notes else {})}


_INTERPRETED = (
    *("format_version", "kind", "network", "schedule", "length_unit", "temperature_k", "smallest_width_nm"),
    *("conservative", "atoms", "bonds", "sha256"),
)
"""Entries of a card that this module interprets; all other entries are kept as facts."""


def _was_denoised(card: dict[str, Any]) -> bool:
    """Whether a card calls flow matching what was trained by denoising."""
    return card["kind"] == "flow_matching" and card.get("objective") != VELOCITY_REGRESSION


def _complete(about: ModelDescription) -> tuple[Topology, NoiseSchedule]:
    if about.topology is None or about.schedule is None:
        raise PriorError("an energy needs its molecule and its schedule; the description lacks one of them.")
    return about.topology, about.schedule


def require_numbers(about: ModelDescription) -> None:
    """Refuse numbers that no sound energy in nm has.

    Raises:
        ValueError: A number is out of range.
    """
    numbers = (about.temperature_k, about.smallest_width_nm, *about.sizes.values())
    if not all(math.isfinite(v) and v > 0 for v in numbers):
        raise ValueError("a size, temperature or width is not a finite number > 0")
    if about.sizes["levels"] < 2:
        raise ValueError("fewer than 2 levels")


def require_molecule(topology: Topology) -> None:
    """Refuse masses and bonds that no molecule has.

    Raises:
        ValueError: A mass is out of range, or the bonds are malformed.
    """
    if not all(math.isfinite(mass) and mass > 0 for mass in topology.masses_amu):
        raise ValueError("a mass is not a finite number > 0")
    n_atoms, bonds = topology.n_atoms, topology.bonds
    if n_atoms < 4 or not all(0 <= i < j < n_atoms for i, j in bonds) or len(set(bonds)) < len(bonds):
        raise ValueError("bonds are no sorted pairs of at least 4 atoms")
    if max(len(around) for around in topology.neighbors) > _MOST_BONDS:
        raise ValueError(f"an atom has more than {_MOST_BONDS} bonds")


def topology_entries(topology: Topology) -> dict[str, Any]:
    """Atoms and bonds of a molecule as entries of a card."""
    return {
        "atoms": [_atom_row(atom) for atom in topology.atoms],
        "bonds": [list(bond) for bond in topology.bonds],
    }


def read_topology(entries: dict[str, Any]) -> Topology:
    """The molecule in entries of a card; the inverse of `topology_entries`."""
    atoms = tuple(
        Atom(str(n), str(e), str(r), int(i), str(c), float(m), *map(str, code))
        for n, e, r, i, c, m, *code in entries["atoms"]
    )
    return Topology(atoms, tuple((int(i), int(j)) for i, j in entries["bonds"]))


def _atom_row(atom: Atom) -> list[str | int | float]:
    """Names, numbers and mass of an atom; the insertion code follows only where there is one."""
    code = [atom.insertion_code] if atom.insertion_code else []
    return [atom.name, atom.element, atom.residue_name, atom.residue_id, atom.chain_id, atom.mass_amu, *code]
