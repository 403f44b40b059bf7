"""`SnapshotPotential` in checkpoints: the field between snapshots of a process. It is no score of an equilibrium."""

import math
from dataclasses import asdict
from typing import Any

import torch

from tpsctl.checkpoints.architectures.base import Architecture
from tpsctl.checkpoints.architectures.in_network_units import filled
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.snapshot_potential import SnapshotPotential, SnapshotPotentialSizes
from tpsctl.prior.network import NetworkPrior
from tpsctl.prior.snapshots import CAVEAT, SnapshotPrior, SnapshotTimes
from tpsctl.prior.units import NetworkUnits

_LARGEST = 1 << 16


class SnapshotPotentialArchitecture(Architecture):
    """Stores the field between snapshots in a checkpoint; `snapshot_prior` makes its prior."""

    name = "snapshot_potential"
    prefix = "network."

    def card(self, about: ModelDescription) -> dict[str, Any]:
        topology = about.topology
        return {
            "kind": about.kind,
            "network": {"name": self.name, **about.sizes},
            "length_unit": "nm",
            "scale_nm": about.scale_nm,
            "offset_nm": about.offset_nm,
            "atoms": None if topology is None else [asdict(atom) for atom in topology.atoms],
            "bonds": None if topology is None else [list(bond) for bond in topology.bonds],
            "caveat": CAVEAT,
            "provenance": about.provenance,
            **about.facts,
        }

    def description(self, card: dict[str, Any]) -> ModelDescription:
        sizes = SnapshotPotentialSizes(**{k: int(v) for k, v in card["network"].items() if k != "name"})
        scale, offset = (tuple(float(v) for v in card[key]) for key in ("scale_nm", "offset_nm"))
        times, diffusion = tuple(float(v) for v in card["times_ps"]), float(card["diffusion_nm2_per_ps"])
        length = _growth_length(card)
        numbers = (*scale, *offset, *times, diffusion, *([] if length is None else [length]))
        rising = all(a < b for a, b in zip(times[:-1], times[1:], strict=True))
        if not all(map(math.isfinite, numbers)) or min(scale) <= 0 or diffusion < 0 or len(times) < 2 or not rising:
            raise ValueError("a number is out of range, or the times do not rise")
        if length is not None and length <= 0:
            raise ValueError("the length of growth is not above 0")
        return ModelDescription(
            kind=card["kind"],
            network=self.name,
            sizes=sizes.to_dict(),
            temperature_k=None,
            scale_nm=scale,
            offset_nm=offset,
            topology=_topology(card, sizes.beads),
            provenance=dict(card["provenance"]),
            facts={
                "times_ps": list(times),
                "diffusion_nm2_per_ps": diffusion,
                "growth_length_nm": length,
                **_verdict(card),
            },
        )

    def prior(self, model: Model, topology: Topology | None) -> NetworkPrior:
        raise PriorError(
            "this is a field between snapshots, whose score belongs to no equilibrium. Give it as prior: "
            "{kind: snapshots, checkpoint: FILE} with action: {functional: transport}."
        )

    def facts(self, about: ModelDescription) -> dict[str, Any]:
        times = {name: value for name, value in about.facts.items() if name != "verdict"}
        return {**times, "notes": [f"mind: {CAVEAT}"], "card": _verdict(about.facts)}


def snapshot_prior(model: Model) -> SnapshotPrior:
    """Make the prior of a field between snapshots, on the CPU.

    Raises:
        PriorError: The model is something else, or tensors do not fit the description.
    """
    about = model.description
    if about.network != SnapshotPotentialArchitecture.name:
        raise PriorError(
            f"got a model of kind {about.kind!r}, expected a field between snapshots. Use kind: checkpoint."
        )
    sizes = SnapshotPotentialSizes(**about.sizes)
    if min(about.sizes.values()) < 1 or sizes.layers > len(model.weights) or max(about.sizes.values()) > _LARGEST:
        raise PriorError("the network's sizes are wrong: one is below 1, or larger than the file can fill.")
    with torch.device("meta"):  # takes no memory before the shapes have been compared with the file's
        network = SnapshotPotential(sizes)
    when = SnapshotTimes(
        tuple(about.facts["times_ps"]), about.facts["diffusion_nm2_per_ps"], about.facts["growth_length_nm"]
    )
    units = NetworkUnits(about.scale_nm, about.offset_nm)
    return SnapshotPrior(filled(network, model), units, when, about.topology)


def _growth_length(card: dict[str, Any]) -> float | None:
    """The length of growth, nm; None without growth, as in files of earlier versions."""
    found = card.get("growth_length_nm")
    return None if found is None else float(found)


def _verdict(card: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": card["verdict"]} if "verdict" in card else {}


def _topology(card: dict[str, Any], beads: int) -> Topology | None:
    if card["atoms"] is None:
        return None
    topology = Topology(
        tuple(Atom(**atom) for atom in card["atoms"]), tuple((int(i), int(j)) for i, j in card["bonds"])
    )
    if topology.n_atoms != beads or not all(0 <= i < j < beads for i, j in topology.bonds):
        raise ValueError("atoms and bonds do not fit the number of beads")
    return topology
