"""The verdicts on finished paths: gate and energies of every image, dihedrals, what is highest, and what it is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import ActionTerms
from tpsctl.molecule.energy_protocol import EnergyProtocol
from tpsctl.molecule.geometry import dihedral
from tpsctl.validation.bound import ActionBound, least_action
from tpsctl.validation.channels import find_channels
from tpsctl.validation.energy import PathEnergies, Profile, Restraint, path_energies
from tpsctl.validation.geometry import GateReport
from tpsctl.validation.saddle import TopJudge
from tpsctl.validation.tops import PathTops, TopVerdict
from tpsctl.workflows.sample.assemble import System, path_seed
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.sample.tools import Tools


@dataclass(frozen=True)
class PathVerdicts:
    """What validation says of a batch of paths.

    Attributes:
        gate: Geometry gate, per image and per path.
        energies: Energies with their protocol; None if there are none.
        dihedrals: Backbone dihedrals by label, rad.
        gap_nm: Root-mean-square distance per bead from each image to the next.
        bound: The actions with the least actions for the energies of the images; None if it was not computed.
        tops: For every landscape ("prior", "force_field") on which tops were judged, the verdicts on each path.
    """

    gate: GateReport
    energies: PathEnergies | None
    dihedrals: Mapping[str, Float[Tensor, "path image"]]
    gap_nm: Float[Tensor, "path gap"]
    bound: ActionBound | None = None
    tops: Mapping[str, tuple[PathTops, ...]] = field(default_factory=dict)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """For each path "valid", or the faults of its images and of its action."""
        below = [""] * len(self.gate.faults) if self.bound is None else self.bound.faults
        both = (filter(None, pair) for pair in zip(self.gate.faults, below, strict=True))
        return tuple("; ".join(faults) or "valid" for faults in both)

    def tops_of(self, path: int) -> dict[str, PathTops]:
        """The verdicts on the tops of one path, by landscape."""
        return {name: of_paths[path] for name, of_paths in self.tops.items()}

    @property
    def all_saddles(self) -> bool:
        """Whether the top of every path is a saddle on every landscape on which it was judged."""
        return all(top.is_saddle for of_paths in self.tops.values() for top in of_paths)

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
        facts["tops"] = {name: [asdict(top) for top in of_paths] for name, of_paths in self.tops.items()}
        if self.bound is not None:
            tensors |= {"bound.action": self.bound.action, "bound.bound": self.bound.bound}
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
        tops = {name: tuple(map(PathTops.from_json, of_paths)) for name, of_paths in facts["tops"].items()}
        bound = ActionBound(**below("bound.")) if "bound.action" in tensors else None
        return cls(gate, energies, below("dihedrals."), tensors["gap_nm"], bound, tops)

    @classmethod
    def joined(cls, parts: "Sequence[PathVerdicts]") -> "PathVerdicts":
        """The verdicts of several batches as one."""
        tensors, facts = zip(*(part.store() for part in parts), strict=True)
        whole = {name: torch.cat([some[name] for some in tensors]) for name in tensors[0]}
        faults = [fault for some in facts for fault in some["faults"]]
        tops = {name: [top for some in facts for top in some["tops"][name]] for name in facts[0]["tops"]}
        return cls.from_stored(whole, facts[0] | {"faults": faults, "tops": tops})


def judge(tools: Tools, paths: Float[Tensor, "path image bead dim"]) -> PathVerdicts:
    """Judge finished paths, nm: the gate first, then energies, because a minimizer would hide what the gate finds."""
    return verdict_of(tools.system, tools.gate.check(paths), _energies(tools, paths), paths)


def verdict_of(system: System, gate: GateReport, energies: PathEnergies | None, paths: Tensor) -> PathVerdicts:
    """The verdict on paths, nm, whose gate and energies are known, with their dihedrals and gaps."""
    return PathVerdicts(
        gate=gate,
        energies=energies,
        dihedrals=_dihedrals(system, paths),
        gap_nm=paths.diff(dim=1).square().sum((2, 3)).div(paths.shape[2]).sqrt(),
    )


def with_bound(tools: Tools, verdict: PathVerdicts, paths: Tensor, terms: ActionTerms) -> PathVerdicts:
    """The verdict with the bound of the action, if the prior knows its energy.

    Args:
        tools: The recipe with its prior.
        verdict: The verdict so far.
        paths: The paths, nm.
        terms: Their final action terms.
    """
    prior = tools.prior
    if not prior.conservative:
        return verdict
    frames = paths.flatten(0, 1).to(tools.device, precision_of(tools.recipe.prior))
    with torch.no_grad():
        density = prior.log_density(frames, tools.final_time)
    if density is None:
        return verdict
    energy = -density.detach().cpu().double().unflatten(0, paths.shape[:2])
    return replace(verdict, bound=ActionBound((terms.kinetic + terms.drift).cpu().double(), least_action(energy)))


def with_saddles(tools: Tools, verdict: PathVerdicts, paths: Tensor, numbers: Sequence[int]) -> PathVerdicts:
    """The verdict with what the tops of valid paths are on every landscape, if they are to be judged.

    Args:
        tools: The recipe with its landscapes.
        verdict: The verdict so far.
        paths: The paths, nm.
        numbers: Their numbers, from which their random numbers follow.
    """
    if not tools.judges_saddles:
        return verdict
    return with_tops(tools.landscapes, tools.recipe.seed, verdict, paths, numbers)


def with_tops(
    landscapes: Mapping[str, TopJudge], seed: int, verdict: PathVerdicts, paths: Tensor, numbers: Sequence[int]
) -> PathVerdicts:
    """The verdict with what the tops of valid paths are on these landscapes.

    Args:
        landscapes: What judges the tops, by name.
        seed: Seed of the recipe.
        verdict: The verdict so far.
        paths: The paths, nm.
        numbers: Their numbers, from which their random numbers follow.
    """
    rows = [row for row, words in enumerate(verdict.verdicts) if words == "valid"]
    seeds = [path_seed(seed, numbers[row]) for row in rows]
    x = paths[rows].detach().cpu().double()
    invalid = PathTops((), None, TopVerdict.NOT_JUDGED)
    done: dict[TopJudge, tuple[PathTops, ...]] = {}
    for landscape in set(landscapes.values()):
        found = dict(zip(rows, landscape.judge(x, seeds) if rows else [], strict=True))
        done[landscape] = tuple(found.get(row, invalid) for row in range(len(paths)))
    return replace(verdict, tops={name: done[landscape] for name, landscape in landscapes.items()})


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
