"""What the files of a run say of a verdict, whichever method found the paths: columns, manifest entries."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from tpsctl.output import tables
from tpsctl.output.tables import Column
from tpsctl.validation.energy import PathEnergies, Profile
from tpsctl.workflows.sample.judge import PathVerdicts


def image_columns(verdict: PathVerdicts) -> dict[str, Column]:
    """The columns of images.csv."""
    return tables.image_columns(
        profiles=verdict.profiles,
        displacement_nm=None if verdict.energies is None else verdict.energies.displacement_nm,
        gap_nm=verdict.gap_nm,
        dihedrals=verdict.dihedrals,
        gate=verdict.gate.columns,
    )


def protocol_entry(energies: PathEnergies | None) -> dict[str, Any] | None:
    """How energies were computed, for the manifest."""
    if energies is None:
        return None
    restraint = None if energies.restraint is None else asdict(energies.restraint)
    return asdict(energies.protocol) | {"restraint": restraint}


def profile_entry(profile: Profile, dihedrals: Mapping[str, Tensor], path: int) -> dict[str, Any]:
    """The highest image and the barriers of one path, for the manifest."""
    top = int(profile.highest_image[path])
    return {
        "highest_image": top,
        "highest_energy_kj_per_mol": profile.energy[path, top].item(),
        "barrier_forward_kj_per_mol": profile.barrier_forward[path].item(),
        "barrier_backward_kj_per_mol": profile.barrier_backward[path].item(),
        "dihedrals_deg": {name: math.degrees(angle[path, top]) for name, angle in dihedrals.items()},
    }
