"""With what, how and where a finished run is compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Baseline = Literal["idpp", "latent", "string"]


@dataclass(frozen=True)
class CompareSettings:
    """With what, how and where a finished run is compared.

    Attributes:
        references: Trajectories of simulations; none for a comparison with baselines alone.
        topology: Structure file that names the atoms of the trajectories; needed with them.
        select: MDTraj selection of the trajectories' beads; None for that of the run.
        stride: Every frame whose number is a multiple of it is used.
        lag: Lag time of the Markov model in used frames; None to choose it.
        clusters: Number of microstates that are sought.
        bins: Number of bins of the progress q for profiles.
        draws: Number of draws for error bars.
        seed: Seed of clustering and draws.
        temperature_k: Temperature of the simulation, K; None for that of the run.
        baselines: Ways to make paths beside the controls.
        overwrite: Whether an earlier comparison may be replaced.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for all.
    """

    references: tuple[Path, ...] = ()
    topology: Path | None = None
    select: str | None = None
    stride: int = 1
    lag: int | None = None
    clusters: int = 100
    bins: int = 3
    draws: int = 200
    seed: int = 1
    temperature_k: float | None = None
    baselines: tuple[Baseline, ...] = ()
    overwrite: bool = False
    device: str = "auto"
    threads: int | None = None
