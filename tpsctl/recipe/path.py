"""The section `path`: how many paths, how fine, and the initial guess."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tpsctl.recipe.auto import AUTO, ImagesOrAuto
from tpsctl.recipe.section import Section, key


class LinearGuessSection(Section):
    """Straight lines between the ends. For model potentials; atoms collide on them."""

    kind: Literal["linear"] = key("Straight line.")


class LatentGuessSection(Section):
    """Both ends noised to a level, joined there, and denoised by the prior."""

    kind: Literal["latent"] = key("Interpolation in the prior's noise.")
    level: float = key("Diffusion time of the interpolation; larger gives more diverse paths.", "1", gt=0, le=1)
    interpolation: Literal["linear", "spherical"] = key("How noised ends are joined.", default="spherical")
    steps: int = key("Steps of the denoising.", "1", default=100, ge=1)


class IdppGuessSection(Section):
    """Interpolated distances instead of coordinates (image dependent pair potential)."""

    kind: Literal["idpp"] = key("Interpolation of distances.")
    spread_nm: float = key("Random displacement of the middle; 0 makes all paths equal.", "nm", default=0.05, ge=0)


class WaypointSection(Section):
    """Values of named torsions at a point of the path."""

    fraction: float = key("Where on the path, between 0 and 1.", "1", gt=0, lt=1)
    torsions_deg: dict[str, float] = key("Value by name, e.g. {phi ALA2: 0, psi ALA2: 84}.", "degrees", min_length=1)


class TorsionGuessSection(Section):
    """Turning about bonds: bond lengths, handedness and windings hold all along."""

    kind: Literal["torsion"] = key("Interpolation of torsions.")
    spread_deg: float = key(
        "Standard deviation of random waves on the torsions; 0 makes all paths equal.", "degrees", default=20.0, ge=0
    )
    long_way: float = key(
        "Probability that a torsion which changes a lot goes the long way round.", "1", default=0.0, ge=0, le=1
    )
    waypoints: tuple[WaypointSection, ...] = key("Points through which the guess passes.", default=())


class TrajectoryGuessSection(Section):
    """The user's own frames, resampled to the number of images."""

    kind: Literal["trajectory"] = key("Frames of trajectories or of an earlier run.")
    trajectories: tuple[Path, ...] = key(
        "Trajectory files with the atoms of the ends; path k takes file k, and starts over after the last.",
        min_length=1,
    )
    topology: Path = key("Structure file that names the trajectories' atoms.")


class RatchetGuessSection(Section):
    """Dynamics in the score of the prior from the start, kept from turning back by a ratchet. For chains of beads."""

    kind: Literal["ratchet"] = key("Ratcheted dynamics in the prior.")
    strength_kt: float = key(
        "Strength of the ratchet against steps back: the weaker, the closer to free dynamics, and the longer.",
        "kT",
        default=2500.0,
        gt=0,
    )
    range_nm: float | None = key(
        "Distance at which two beads are half in contact; default: 1.3 mean distances of pairs in the end.",
        "nm",
        default=None,
        gt=0,
    )
    steps: int = key("Most time steps of a trajectory.", "1", default=6000, ge=100)


GuessSection = Annotated[
    LinearGuessSection
    | LatentGuessSection
    | IdppGuessSection
    | TorsionGuessSection
    | TrajectoryGuessSection
    | RatchetGuessSection,
    Field(discriminator="kind"),
]


class ScreenSection(Section):
    """Guesses of a molecule that fail the geometry gate, or whose energy is too high, are drawn again and counted."""

    max_draws: int = key("Most draws per path; if none passes, the last is used and marked.", "1", default=5, ge=1)
    max_energy_kj_per_mol: float | None = key(
        "Highest allowed energy above the start, with the force field of validation.energy; default: no limit.",
        "kJ/mol",
        default=None,
        gt=0,
    )


class PathSection(Section):
    """How many paths, how fine, and where they start."""

    paths: int = key(
        "Number of paths; in a search for routes, the number of attempts in a round.", "1", default=16, ge=1
    )
    images: ImagesOrAuto = key(
        "Images per path, both ends included; auto: from the distance between the ends.", "1", default=AUTO
    )
    batch_paths: int | None = key(
        "Number of paths that are optimized together; a shard has whole batches. Default: 2 on a CPU; on GPUs, each "
        "GPU gets an equal share, as far as its memory allows.",
        "1",
        default=None,
        ge=1,
    )
    guess: GuessSection = key("The initial path.", default=TorsionGuessSection(kind="torsion"))
    screen: ScreenSection = key("How bad guesses are replaced.", default=ScreenSection())
