"""Where the data of a checkpoint were, and how far its energies were off there, as its verdict says.

`tpsctl train` writes it (entry `regions` of the verdict in the model card). A card is untrusted input, so that every
number is checked.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import PriorError
from tpsctl.molecule.torsion_cover import TorsionCover


@dataclass(frozen=True)
class StoredRegions:
    """What a checkpoint says of the regions of its data.

    Attributes:
        torsions: Names of the torsions.
        cover: The regions.
        largest_error_kj_per_mol: Largest error of the energy difference of two regions; None if unknown.
    """

    torsions: tuple[str, ...]
    cover: TorsionCover
    largest_error_kj_per_mol: float | None


def read_regions(checkpoint: Path, verdict: Any) -> StoredRegions | None:
    """The regions in the verdict of a card; None if it has none.

    Raises:
        PriorError: They are malformed.
    """
    stored = verdict.get("regions") if isinstance(verdict, dict) else None
    if stored is None:
        return None
    try:
        torsions = tuple(stored["torsions"])
        centers = torch.tensor(stored["centers_deg"], dtype=torch.float64)
        radius, error = float(stored["radius_deg"]), stored["largest_error_kj_per_mol"]
        is_sound = (
            all(isinstance(name, str) for name in torsions)
            and centers.shape == (len(centers), len(torsions))
            and bool(centers.isfinite().all())
            and 0 <= radius <= 180
            and (error is None or (isinstance(error, int | float) and math.isfinite(error)))
        )
    except (KeyError, TypeError, ValueError):
        is_sound = False
    if not is_sound:
        raise PriorError(
            f"{checkpoint}: the entry regions of its verdict is malformed: expected torsions (names), centers_deg (one "
            "row of angles per region), radius_deg and largest_error_kj_per_mol. Judge it again with "
            "`tpsctl inspect --judge`."
        )
    return StoredRegions(torsions, TorsionCover(centers.deg2rad(), math.radians(radius)), error)
