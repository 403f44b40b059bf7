"""What the command line says about shots."""

from dataclasses import dataclass
from pathlib import Path

from tpsctl.jobs.shard import Shard


@dataclass(frozen=True)
class PhysicsSettings:
    """The dynamics of the shots; None leaves a number to the program, which writes down what it took.

    Attributes:
        dynamics: "force_field" (Langevin) or "prior" (overdamped, in the score of the prior).
        temperature_k: Temperature of Langevin dynamics, K; None for that of the run.
        friction_per_ps: Friction of Langevin dynamics, 1/ps.
        dt_ps: Time step, ps.
        longest_ps: Longest time of a shot, ps.
    """

    dynamics: str = "auto"
    temperature_k: float | None = None
    friction_per_ps: float = 1.0
    dt_ps: float | None = None
    longest_ps: float | None = None


@dataclass(frozen=True)
class ShootSettings:
    """What is shot, and how the work is kept.

    Attributes:
        run: The run directory whose path is examined.
        out: Where the result goes; None for a folder of the run.
        path: Number of the path; None for the best one.
        images: Images that shots start from; None for the top and others around it.
        assignments: Changes of the run's recipe (`--set`).
        physics: The dynamics.
        least: Shots from an image before anything is decided.
        most: Most shots from an image.
        width: Width of the interval of the committor that is narrow enough.
        ensemble: Accepted transition paths that are wanted; 0 for committors.
        seed: Seed of all random numbers; None for that of the recipe.
        overwrite: Whether an earlier result may be replaced.
        resume: Whether there must be something to go on with.
        shard: Which part of every round; None for all, and the files of the result.
        threads: CPU threads, each a process of its own; None for all.
        max_hours: Time after which to stop, resumable; None for none.
        origin: Words after `tpsctl shoot` that do this again.
    """

    run: Path
    out: Path | None = None
    path: int | None = None
    images: tuple[int, ...] | None = None
    assignments: tuple[str, ...] = ()
    physics: PhysicsSettings = PhysicsSettings()
    least: int = 100
    most: int = 400
    width: float = 0.15
    ensemble: int = 0
    seed: int | None = None
    overwrite: bool = False
    resume: bool = False
    shard: Shard | None = None
    threads: int | None = None
    max_hours: float | None = None
    origin: tuple[str, ...] = ()
