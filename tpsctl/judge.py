"""The verdict on finished paths: gate and energies of every image, dihedrals, what is highest."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.assemble import System
from tpsctl.geometry import dihedral
from tpsctl.prior.base import Prior
from tpsctl.prior.potential import PotentialPrior
from tpsctl.progress import Progress
from tpsctl.recipe.models import ValidationSection
from tpsctl.validation.energy import EnergyModel, PathEnergies, Profile, Restraint, path_energies


@dataclass(frozen=True)
class Verdict:
    """What validation says of a batch of paths.

    Attributes:
        profiles: Energies by kind: "raw", "minimized".
        displacement_nm: How far minimization moved each image; None if there was none.
        force_field: XML files, or the model potential's name; empty without energies.
        platform: OpenMM platform; "" without one.
        dihedrals: Backbone dihedrals by label, rad.
        gap_nm: Root-mean-square distance per bead from each image to the next.
        gate_columns: Per image, by name.
        gate: Per path, "valid" or what is wrong.
    """

    profiles: Mapping[str, Profile]
    displacement_nm: Float[Tensor, "path image"] | None
    force_field: tuple[str, ...]
    platform: str
    dihedrals: Mapping[str, Float[Tensor, "path image"]]
    gap_nm: Float[Tensor, "path gap"]
    gate_columns: Mapping[str, Tensor]
    gate: tuple[str, ...]


def judge(
    section: ValidationSection, system: System, prior: Prior, paths: Tensor, threads: int, progress: Progress
) -> Verdict:
    """Gate first, then energies: a minimizer would hide what the gate finds."""
    columns, gate = _gate(system, paths)
    energies = _energies(section, system, prior, paths, threads, progress)
    profiles = {} if energies is None else {"raw": energies.raw}
    if energies is not None and energies.minimized is not None:
        profiles["minimized"] = energies.minimized
    quadruples = {} if not system.is_molecule else dict(system.topology.backbone_dihedrals)
    return Verdict(
        profiles=profiles,
        displacement_nm=None if energies is None else energies.displacement_nm,
        force_field=() if energies is None else energies.force_field,
        platform="" if energies is None else energies.platform,
        dihedrals={name: dihedral(paths, torch.tensor([q]))[..., 0] for name, q in quadruples.items()},
        gap_nm=paths.diff(dim=1).square().sum((2, 3)).div(paths.shape[2]).sqrt(),
        gate_columns=columns,
        gate=gate,
    )


def _gate(system: System, paths: Tensor) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    finite = paths.isfinite().all(-1).all(-1)
    return {"finite": finite}, tuple("valid" if ok else "not finite" for ok in finite.all(1).tolist())


def _energies(
    section: ValidationSection, system: System, prior: Prior, paths: Tensor, threads: int, progress: Progress
) -> PathEnergies | None:
    if isinstance(prior, PotentialPrior):
        energy = prior.energy(paths.flatten(0, 1)).detach().unflatten(0, paths.shape[:2])
        return PathEnergies(Profile(energy), None, None, None, (prior.kind,), "")
    if section.energy is None:
        return None
    progress.say(f"energies of {paths.shape[0]} x {paths.shape[1]} images ...")
    model = EnergyModel(system.topology, section.energy.force_field, system.ends[0], threads=threads)
    return path_energies(model, paths, Restraint() if section.energy.minimize else None)
