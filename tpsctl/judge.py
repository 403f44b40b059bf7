"""The verdict on finished paths: gate and energies of every image, dihedrals, what is highest."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.assemble import System
from tpsctl.geometry import dihedral
from tpsctl.prior.base import Prior
from tpsctl.recipe.models import ValidationSection
from tpsctl.validation.channels import find_channels
from tpsctl.validation.energy import EnergyModel, PathEnergies, Profile, Restraint, path_energies
from tpsctl.validation.geometry import GateReport, GeometryGate


@dataclass(frozen=True)
class Verdict:
    """What validation says of a batch of paths.

    Attributes:
        gate: Geometry gate, per image and per path.
        energies: Energies with their protocol; None if there are none.
        dihedrals: Backbone dihedrals by label, rad.
        gap_nm: Root-mean-square distance per bead from each image to the next.
        channels: Number of each path's route, 0 the lowest; empty where there are no phi and psi or no energies.
    """

    gate: GateReport
    energies: PathEnergies | None
    dihedrals: Mapping[str, Float[Tensor, "path image"]]
    gap_nm: Float[Tensor, "path gap"]
    channels: tuple[int, ...]

    @property
    def profiles(self) -> dict[str, Profile]:
        """Energies by kind: "raw" and "minimized", as far as there are."""
        if self.energies is None:
            return {}
        minimized = self.energies.minimized
        return {"raw": self.energies.raw} | ({} if minimized is None else {"minimized": minimized})


def judge(
    section: ValidationSection,
    system: System,
    prior: Prior,
    paths: Float[Tensor, "path image bead dim"],
    gate: GeometryGate,
    energy_model: EnergyModel | None,
) -> Verdict:
    """Gate first, then energies: a minimizer would hide what the gate finds."""
    report = gate.check(paths)
    energies, dihedrals = _energies(section, prior, paths, energy_model), _dihedrals(system, paths)
    return Verdict(
        gate=report,
        energies=energies,
        dihedrals=dihedrals,
        gap_nm=paths.diff(dim=1).square().sum((2, 3)).div(paths.shape[2]).sqrt(),
        channels=_channels(energies, dihedrals),
    )


def _channels(energies: PathEnergies | None, dihedrals: Mapping[str, Tensor]) -> tuple[int, ...]:
    angles = [angle for name, angle in dihedrals.items() if not name.startswith("omega")]
    if energies is None or not angles:
        return ()
    top = energies.raw.highest_image.unsqueeze(1)
    at_top = torch.cat([angle.gather(1, top) for angle in angles], dim=1)
    return tuple(find_channels(at_top, energies.raw.barrier_forward))


def _energies(
    section: ValidationSection, prior: Prior, paths: Tensor, energy_model: EnergyModel | None
) -> PathEnergies | None:
    if prior.potential is not None:
        energy = prior.potential.energy(paths.flatten(0, 1)).detach().unflatten(0, paths.shape[:2])
        return PathEnergies(Profile(energy), None, None, None, (prior.potential.name,), "")
    if energy_model is None or section.energy is None:
        return None
    return path_energies(energy_model, paths, Restraint() if section.energy.minimize else None)


def _dihedrals(system: System, paths: Tensor) -> dict[str, Tensor]:
    if not system.is_molecule:
        return {}
    named = system.topology.backbone_dihedrals
    return {name: dihedral(paths, torch.tensor([atoms])).squeeze(-1) for name, atoms in named}
