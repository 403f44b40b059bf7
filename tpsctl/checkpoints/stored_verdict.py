"""The verdict that a native checkpoint carries: whether it is fit for paths, and at which diffusion times.

`tpsctl train` writes it (entries `verdict` and `diffusion_times` of the model card). Published checkpoints, and those
of earlier versions, have none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.checkpoints import native
from tpsctl.checkpoints.architectures.in_nm import read_topology
from tpsctl.checkpoints.molecules import find_molecule
from tpsctl.checkpoints.stored_regions import StoredRegions, read_regions
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology

NO_VERDICT = (
    "this checkpoint carries no verdict on whether it is fit for paths; `tpsctl train` stores one. Judge it by the "
    "energies of the paths."
)


@dataclass(frozen=True)
class StoredVerdict:
    """What a checkpoint says of its fitness for paths.

    Attributes:
        is_fit: Whether it is fit for paths; None if it does not say.
        words: The verdict in words; empty if it does not say.
        times: The smallest and the largest diffusion time that are fit for paths; None if it does not say.
        regions: Where its data were; None if it does not say.
    """

    is_fit: bool | None = None
    words: str = ""
    times: tuple[float, float] | None = None
    regions: StoredRegions | None = None


def read_verdict(checkpoint: Path, topology: Topology | None = None) -> StoredVerdict:
    """The verdict in a checkpoint file; an empty one for files that are not native.

    Args:
        checkpoint: The file.
        topology: The user's molecule, for a file that serves several: its verdict is that on this molecule. None, or
            another molecule, for the verdict on all of them.

    Raises:
        PriorError: The file is unreadable, or its entries are malformed.
    """
    if checkpoint.suffix != ".safetensors":
        return StoredVerdict()
    card = _part_of(checkpoint, native.read_card(checkpoint), topology)
    is_fit, words = _verdict(checkpoint, card.get("verdict"))
    regions = read_regions(checkpoint, card.get("verdict"))
    return StoredVerdict(is_fit, words, _times(checkpoint, card.get("diffusion_times")), regions)


def _part_of(checkpoint: Path, card: dict[str, Any], topology: Topology | None) -> dict[str, Any]:
    """The entries of a card on one molecule; the card itself if it has no such entries."""
    if topology is None or "molecules" not in card:
        return card
    try:
        number = find_molecule([read_topology(entry) for entry in card["molecules"]], topology)
        return card if number is None else dict(card["molecules"][number])
    except (KeyError, TypeError, ValueError) as error:
        raise PriorError(f"{checkpoint}: the molecules in its model card are malformed ({error!r}).") from None


def _verdict(checkpoint: Path, stored: Any) -> tuple[bool | None, str]:
    if stored is None:
        return None, ""
    found = stored if isinstance(stored, dict) else {}
    is_fit, words = found.get("fit_for_paths"), found.get("words")
    if not isinstance(is_fit, bool) or not isinstance(words, str):
        raise PriorError(
            f"{checkpoint}: the entry verdict of its model card is malformed: expected fit_for_paths (true or false) "
            "and words (text). Train it again, or take another checkpoint."
        )
    return is_fit, words


def _times(checkpoint: Path, stored: Any) -> tuple[float, float] | None:
    if stored is None:
        return None
    is_range = isinstance(stored, list) and len(stored) == 2 and all(isinstance(t, int | float) for t in stored)
    if not (is_range and 0 <= stored[0] <= stored[1] <= 1):
        raise PriorError(
            f"{checkpoint}: diffusion_times is {stored}, expected [smallest, largest], both in [0, 1]. "
            "Give prior.diffusion_time, or take another checkpoint."
        )
    return float(stored[0]), float(stored[1])
