"""The verdicts on finished paths: gate and energies of every image, dihedrals, what is highest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.energy_protocol import EnergyProtocol
from tpsctl.molecule.geometry import dihedral
from tpsctl.validation.channels import find_channels
from tpsctl.validation.energy import PathEnergies, Profile, Restraint, path_energies
from tpsctl.validation.geometry import GateReport
from tpsctl.workflows.sample.assemble import System
from tpsctl.workflows.sample.tools import Tools


@dataclass(frozen=True)
class PathVerdicts:
    """What validation says of a batch of paths.

    Attributes:
        gate: Geometry gate, per image and per path.
        energies: Energies with their protocol; None if there are none.
        dihedrals: Backbone dihedrals by label, rad.
        gap_nm: Root-mean-square distance per bead from each image to the next.
    """

    gate: GateReport
    energies: PathEnergies | None
    dihedrals: Mapping[str, Float[Tensor, "path image"]]
    gap_nm: Float[Tensor, "path gap"]

    @property
    def channels(self) -> tuple[int, ...]:
        """Number of each path's route, 0 the lowest; empty where there are no phi and psi or no energies."""
        return _channels(self.energies, self.dihedrals)

    @property
    def profiles(self) -> dict[str, Profile]:
        """Energy profiles by kind: "raw" and "minimized", as far as there are any."""
        if self.energies is None:
            return {}
        minimized = self.energies.minimized
        return {"raw": self.energies.raw} | ({} if minimized is None else {"minimized": minimized})

    def store(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The verdict as plain tensors, path by path, and JSON facts."""
        tensors = {"gap_nm": self.gap_nm} | {f"dihedrals.{name}": angle for name, angle in self.dihedrals.items()}
        tensors |= {f"passes.{name}": ok for name, ok in self.gate.passes.items()}
        tensors |= {f"measured.{name}": value for name, value in self.gate.measured.items()}
        tensors |= {f"energies.{kind}": profile.energy for kind, profile in self.profiles.items()}
        facts: dict[str, Any] = {"faults": self.gate.faults, "energies": None}
        if self.energies is not None:
            if self.energies.displacement_nm is not None:
                tensors["displacement_nm"] = self.energies.displacement_nm
            restraint = None if self.energies.restraint is None else asdict(self.energies.restraint)
            facts["energies"] = asdict(self.energies.protocol) | {"restraint": restraint}
        return tensors, facts

    @classmethod
    def from_stored(cls, tensors: dict[str, Tensor], facts: dict[str, Any]) -> "PathVerdicts":
        """The verdict that `store` gave."""

        def below(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        profiles = {kind: Profile(energy) for kind, energy in below("energies.").items()}
        about = facts["energies"]
        energies = about and PathEnergies(
            raw=profiles["raw"],
            minimized=profiles.get("minimized"),
            displacement_nm=tensors.get("displacement_nm"),
            restraint=about["restraint"] and Restraint(**about["restraint"]),
            protocol=_protocol(about),
        )
        gate = GateReport(below("passes."), below("measured."), tuple(facts["faults"]))
        return cls(gate, energies, below("dihedrals."), tensors["gap_nm"])

    @classmethod
    def joined(cls, parts: "Sequence[PathVerdicts]") -> "PathVerdicts":
        """The verdicts of several batches as one."""
        tensors, facts = zip(*(part.store() for part in parts), strict=True)
        whole = {name: torch.cat([some[name] for some in tensors]) for name in tensors[0]}
        return cls.from_stored(whole, facts[0] | {"faults": [fault for some in facts for fault in some["faults"]]})


def judge(tools: Tools, paths: Float[Tensor, "path image bead dim"]) -> PathVerdicts:
    """Judge finished paths, nm: the gate first, then energies, because a minimizer would hide what the gate finds."""
    return PathVerdicts(
        gate=tools.gate.check(paths),
        energies=_energies(tools, paths),
        dihedrals=_dihedrals(tools.system, paths),
        gap_nm=paths.diff(dim=1).square().sum((2, 3)).div(paths.shape[2]).sqrt(),
    )


def _protocol(about: dict[str, Any]) -> EnergyProtocol:
    values = {name: value for name, value in about.items() if name != "restraint"}
    return EnergyProtocol(**(values | {"force_field": tuple(values["force_field"])}))


def _channels(energies: PathEnergies | None, dihedrals: Mapping[str, Tensor]) -> tuple[int, ...]:
    angles = [angle for name, angle in dihedrals.items() if not name.startswith("omega")]
    if energies is None or not angles:
        return ()
    top = energies.raw.highest_image.unsqueeze(1)
    at_top = torch.cat([angle.gather(1, top) for angle in angles], dim=1)
    return tuple(find_channels(at_top, energies.raw.barrier_forward))


def _energies(tools: Tools, paths: Tensor) -> PathEnergies | None:
    potential, wanted = tools.prior.potential, tools.recipe.validation.energy
    if potential is not None:
        energy = potential.energy(paths.flatten(0, 1)).detach().unflatten(0, paths.shape[:2])
        return PathEnergies(Profile(energy), None, None, None, EnergyProtocol((potential.name,)))
    if tools.energy_model is None or wanted is None:
        return None
    return path_energies(tools.energy_model, paths, Restraint() if wanted.minimize else None)


def _dihedrals(system: System, paths: Tensor) -> dict[str, Tensor]:
    if not system.is_molecule:
        return {}
    named = system.topology.backbone_dihedrals
    return {name: dihedral(paths, torch.tensor([atoms])).squeeze(-1) for name, atoms in named}
