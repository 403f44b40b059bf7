"""Whether a checkpoint, and the diffusion time in use, are fit for paths by the verdict that the checkpoint carries."""

from tpsctl.checkpoints.stored_verdict import StoredVerdict, read_verdict
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.recipe.prior import CheckpointPriorSection, SnapshotsPriorSection

_ALL_THE_SAME = "or set prior.accept_unfit: true to use it all the same."


def verdict_of(section: CheckpointPriorSection | SnapshotsPriorSection, topology: Topology | None) -> StoredVerdict:
    """The verdict that the checkpoint of a recipe carries on a molecule, which matters if it serves several.

    Raises:
        PriorError: It is malformed.
    """
    return read_verdict(section.checkpoint, topology)


def require_fit(section: CheckpointPriorSection | SnapshotsPriorSection, topology: Topology | None) -> None:
    """Refuse a checkpoint whose own verdict on a molecule is that it is unfit for paths.

    Raises:
        PriorError: It is unfit, and the recipe does not accept that.
    """
    verdict = verdict_of(section, topology)
    if verdict.is_fit is False and not section.accept_unfit:
        raise PriorError(f"{section.checkpoint}: {verdict.words} Train it longer or with more data, {_ALL_THE_SAME}")


def require_fit_time(section: CheckpointPriorSection, time: float, key: str, topology: Topology | None) -> None:
    """Refuse a diffusion time below those that the checkpoint's own verdict finds fit for paths.

    Args:
        section: The prior of the recipe.
        time: The diffusion time.
        key: The key of the recipe that gives it.
        topology: The molecule.

    Raises:
        PriorError: It is too small, and the recipe does not accept that.
    """
    verdict = verdict_of(section, topology)
    if section.accept_unfit or verdict.is_fit is None or verdict.times is None or time >= verdict.times[0] * (1 - 1e-3):
        return
    raise PriorError(
        f"{key}: got {time:g}; {section.checkpoint} says: {verdict.words} Use {verdict.times[0]:.3g} or auto, "
        f"{_ALL_THE_SAME}"
    )
