"""The recipe: one frozen pydantic model per section, strict, every key with description and unit.

A recipe says everything that decides the result; where it runs (device, threads) belongs to the
command line. Methods that differ in their keys are discriminated unions, so a key that does not
apply is refused instead of ignored. Units are in the key names: nm, ps, K, kJ/mol.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


class Section(BaseModel):
    """Base of every section: unknown keys refused, values immutable, no silent type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def key(description: str, unit: str = "", **constraints: Any) -> Any:
    """A documented recipe key; `unit` is "1" for a pure number, "" for text and choices."""
    return Field(description=description, json_schema_extra={"unit": unit} if unit else None, **constraints)


# --- endpoints ------------------------------------------------------------------------------------


class StructureEnd(Section):
    """One end, from a structure file."""

    structure: Path = key("Structure file: PDB, mmCIF or GRO.")
    frame: int | None = key("Model of the file, counted from 0; needed if it has several.", "1", default=None, ge=0)


class TrajectoryEnd(Section):
    """One end, from a frame of a trajectory."""

    trajectory: Path = key("Trajectory file: XTC, DCD, TRR, NetCDF or HDF5.")
    topology: Path = key("Structure file that names the trajectory's atoms.")
    frame: int = key("Frame of the trajectory, counted from 0.", "1", ge=0)


class PositionEnd(Section):
    """One end, as a point of a model potential."""

    position_nm: tuple[float, ...] = key("Coordinates, one per dimension.", "nm", min_length=1, max_length=3)


def _end_kind(value: Any) -> str:
    return "trajectory" if _has(value, "trajectory") else "structure"


def _endpoints_kind(value: Any) -> str:
    start = value.get("start") if isinstance(value, dict) else getattr(value, "start", None)
    return "model" if _has(start, "position_nm") else "molecule"


def _has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, dict) else hasattr(value, name)


MoleculeEnd = Annotated[
    Annotated[StructureEnd, Tag("structure")] | Annotated[TrajectoryEnd, Tag("trajectory")], Discriminator(_end_kind)
]


class MoleculeEndpoints(Section):
    """Two structures of one molecule. Atoms are matched by name, then by bonds."""

    start: MoleculeEnd = key("Structure A; its atom order is the order of all output.")
    end: MoleculeEnd = key("Structure B; superposed on A.")
    select: str = key('Beads of the path, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)


class ModelEndpoints(Section):
    """Two points of a model potential."""

    start: PositionEnd = key("Point A.")
    end: PositionEnd = key("Point B.")


Endpoints = Annotated[
    Annotated[MoleculeEndpoints, Tag("molecule")] | Annotated[ModelEndpoints, Tag("model")],
    Discriminator(_endpoints_kind),
]


# --- prior ----------------------------------------------------------------------------------------


class CheckpointPrior(Section):
    """A trained generative model."""

    kind: Literal["checkpoint"] = key("A trained model.")
    checkpoint: Path = key("Checkpoint file.")
    diffusion_time: float = key("Diffusion time at which the score is used; 0 is data, 1 is noise.", "1", ge=0, le=1)
    precision: Literal["float32", "float64"] = key("Precision in which the network computes.", default="float32")


class OpenMMPrior(Section):
    """A force field as the prior: score = force / kT. Paths are then classical Onsager-Machlup paths."""

    kind: Literal["openmm"] = key("A force field.")
    force_field: tuple[str, ...] = key("OpenMM force-field XML files, e.g. amber14-all.xml.", min_length=1)
    temperature_k: float = key("Temperature in score = force / kT.", "K", gt=0)


class MuellerBrownPrior(Section):
    """The Mueller-Brown potential in two dimensions, in the published rescaling."""

    kind: Literal["mueller_brown"] = key("The Mueller-Brown potential.")
    temperature_k: float = key("Temperature in score = force / kT.", "K", gt=0)


class DoubleWellPrior(Section):
    """A double well along the first coordinate, harmonic in the others; minima at -a and a."""

    kind: Literal["double_well"] = key("A double well.")
    barrier_kj_per_mol: float = key("Height of the barrier.", "kJ/mol", default=20.0, gt=0)
    half_distance_nm: float = key("a, the distance of each minimum from the barrier.", "nm", default=0.1, gt=0)
    stiffness_kj_per_mol_nm2: float = key(
        "Spring constant of the other coordinates.", "kJ/mol/nm^2", default=1000.0, gt=0
    )
    temperature_k: float = key("Temperature in score = force / kT.", "K", gt=0)


class GaussianPrior(Section):
    """A Gaussian around a point: the exactly solvable harmonic prior."""

    kind: Literal["gaussian"] = key("A Gaussian (harmonic) prior.")
    mean_nm: tuple[float, ...] = key("Center, one coordinate per dimension.", "nm", min_length=1, max_length=3)
    std_nm: float = key("Standard deviation.", "nm", gt=0)
    diffusion_time: float = key("Diffusion time; 0 is data, 1 is noise.", "1", default=0.0, ge=0, le=1)


class PluginPrior(Section):
    """A prior that another installed package brings (entry-point group tpsctl.priors)."""

    kind: Literal["plugin"] = key("A plug-in.")
    name: str = key("Name of the prior, as its package gives it.", min_length=1)
    diffusion_time: float = key("Diffusion time; 0 is data, 1 is noise.", "1", default=0.0, ge=0, le=1)
    options: dict[str, Any] = key("Its own settings, as its package describes them.", default={})


Prior = Annotated[
    CheckpointPrior | OpenMMPrior | MuellerBrownPrior | DoubleWellPrior | GaussianPrior | PluginPrior,
    Field(discriminator="kind"),
]


# --- path -----------------------------------------------------------------------------------------


class LinearGuess(Section):
    """Straight lines between the ends. For model potentials; atoms collide on them."""

    kind: Literal["linear"] = key("Straight line.")


class LatentGuess(Section):
    """Both ends noised to a level, joined there, and denoised by the prior."""

    kind: Literal["latent"] = key("Interpolation in the prior's noise.")
    level: float = key("Diffusion time of the interpolation; larger gives more diverse paths.", "1", gt=0, le=1)
    interpolation: Literal["linear", "spherical"] = key("How noised ends are joined.", default="spherical")
    steps: int = key("Steps of the denoising.", "1", default=100, ge=1)


class IdppGuess(Section):
    """Interpolated distances instead of coordinates (image dependent pair potential)."""

    kind: Literal["idpp"] = key("Interpolation of distances.")
    spread_nm: float = key("Random displacement of the middle; 0 makes all paths equal.", "nm", default=0.05, ge=0)


class Waypoint(Section):
    """Values of named torsions at a point of the path."""

    fraction: float = key("Where on the path, between 0 and 1.", "1", gt=0, lt=1)
    torsions_deg: dict[str, float] = key("Value by name, e.g. {phi ALA2: 0, psi ALA2: 84}.", "degrees", min_length=1)


class TorsionGuess(Section):
    """Turning about bonds: bond lengths, handedness and windings hold all along."""

    kind: Literal["torsion"] = key("Interpolation of torsions.")
    spread_deg: float = key(
        "Standard deviation of random waves on the torsions; 0 makes all paths equal.", "degrees", default=20.0, ge=0
    )
    long_way: float = key(
        "Probability that a torsion which changes a lot goes the long way round.", "1", default=0.0, ge=0, le=1
    )
    waypoints: tuple[Waypoint, ...] = key("Points that the path is sent through.", default=())


class TrajectoryGuess(Section):
    """The user's own frames, resampled to the number of images."""

    kind: Literal["trajectory"] = key("Frames of trajectories or of an earlier run.")
    trajectories: tuple[Path, ...] = key(
        "Trajectory files with the atoms of the ends; path k takes file k, and starts over after the last.",
        min_length=1,
    )
    topology: Path = key("Structure file that names the trajectories' atoms.")


Guess = Annotated[LinearGuess | LatentGuess | IdppGuess | TorsionGuess | TrajectoryGuess, Field(discriminator="kind")]


class ScreenSection(Section):
    """Guesses of a molecule that fail the geometry gate, or are too high, are drawn again, and counted."""

    max_draws: int = key("Most draws per path; the last stays, marked, if none passes.", "1", default=5, ge=1)
    max_energy_kj_per_mol: float | None = key(
        "Highest allowed energy above the start, with validation.energy's force field; default: any.",
        "kJ/mol",
        default=None,
        gt=0,
    )


class PathSection(Section):
    """How many paths, how fine, and where they start."""

    paths: int = key("Number of paths.", "1", ge=1)
    images: int = key("Images per path, both ends included.", "1", ge=3)
    batch_paths: int | None = key(
        "Paths that are optimized together: the unit of shards. Default: 2 on a CPU, 32 on a GPU.",
        "1",
        default=None,
        ge=1,
    )
    guess: Guess = key("The initial path.")
    screen: ScreenSection = key("What is done with bad guesses.", default=ScreenSection())


# --- action ---------------------------------------------------------------------------------------


class Action(Section):
    """What all functionals share: the physical step and the diffusion coefficient of every bead."""

    dt_ps: float = key("Physical time between two images.", "ps", gt=0)
    friction_per_ps: float | None = key(
        "Langevin friction gamma; D = kT / (mass gamma) for every bead.", "1/ps", default=None, gt=0
    )
    diffusion_nm2_per_ps: float | None = key(
        "Diffusion coefficient set by hand for all beads, instead of friction_per_ps.", "nm^2/ps", default=None, gt=0
    )
    temperature_k: float | None = key("Temperature of the dynamics; default: the prior's.", "K", default=None, gt=0)

    @model_validator(mode="after")
    def _one_diffusion(self) -> Self:
        if (self.friction_per_ps is None) == (self.diffusion_nm2_per_ps is None):
            raise ValueError("give exactly one of friction_per_ps (1/ps) and diffusion_nm2_per_ps (nm^2/ps)")
        return self


class TruncatedAction(Action):
    """Kinetic and drift term: the zero-temperature limit, a sum of squares."""

    functional: Literal["truncated"] = key("Kinetic + drift.")


class EulerMaruyamaAction(Action):
    """Exact log-likelihood of the discretized dynamics; for scores that are no gradient."""

    functional: Literal["euler_maruyama"] = key("Transition-kernel likelihood.")


class ExactDivergence(Section):
    """Trace of the score's Jacobian, column by column: for small systems."""

    kind: Literal["exact"] = key("Exact trace.")


class HutchinsonDivergence(Section):
    """Trace estimated with random signs, with an error bar."""

    kind: Literal["hutchinson"] = key("Random probes.")
    probes: int = key("Rademacher vectors per image.", "1", default=8, ge=2)


class OnsagerMachlupAction(Action):
    """Kinetic, drift and divergence term: finite temperature."""

    functional: Literal["onsager_machlup"] = key("Kinetic + drift + divergence.")
    divergence: Annotated[ExactDivergence | HutchinsonDivergence, Field(discriminator="kind")] = key(
        "How the divergence of the score is computed.", default=ExactDivergence(kind="exact")
    )


ActionSection = Annotated[
    TruncatedAction | OnsagerMachlupAction | EulerMaruyamaAction, Field(discriminator="functional")
]


# --- optimize -------------------------------------------------------------------------------------


class Stage(Section):
    """What all methods share. Several stages run one after another, each from the last one's paths."""

    max_steps: int = key("Most iterations; reaching it in the last stage counts as not converged.", "1", ge=1)
    action_tolerance: float = key(
        "Converged if the action fell by less than this fraction over the last five steps, and",
        "1",
        default=1e-4,
        gt=0,
    )
    gradient_tolerance_per_nm: float = key(
        "no coordinate has a larger derivative of the action than this.", "1/nm", default=10.0, gt=0
    )
    dt_ps: float | None = key("Physical step of this stage; default: action.dt_ps.", "ps", default=None, gt=0)
    diffusion_time: float | None = key(
        "Diffusion time of this stage; default: prior.diffusion_time.", "1", default=None, ge=0, le=1
    )
    images: int | None = key("Images in this stage; default: path.images.", "1", default=None, ge=3)


class LevenbergMarquardt(Stage):
    """Damped Gauss-Newton on the least-squares form; finds saddles where the others stall."""

    method: Literal["levenberg_marquardt"] = key("Levenberg-Marquardt.")


class Lbfgs(Stage):
    """L-BFGS with the path's Laplacian as the initial Hessian."""

    method: Literal["lbfgs"] = key("L-BFGS.")
    max_displacement_nm: float = key("Longest move of any bead in one step.", "nm", default=0.02, gt=0)


class Adam(Stage):
    """Adam with a fixed learning rate."""

    method: Literal["adam"] = key("Adam.")
    learning_rate_nm: float = key("Learning rate: the length of an early step of each coordinate.", "nm", gt=0)


class Sgd(Stage):
    """Gradient descent with momentum."""

    method: Literal["sgd"] = key("Gradient descent with momentum.")
    learning_rate_nm2: float = key("Learning rate: step = rate x gradient.", "nm^2", gt=0)
    momentum: float = key("Momentum.", "1", default=0.9, ge=0, lt=1)


Method = Annotated[LevenbergMarquardt | Lbfgs | Adam | Sgd, Field(discriminator="method")]


def _optimize_kind(value: Any) -> str:
    return "stages" if isinstance(value, list | tuple) else "single"


OptimizeSection = Annotated[
    Annotated[Method, Tag("single")] | Annotated[tuple[Method, ...], Field(min_length=1), Tag("stages")],
    Discriminator(_optimize_kind),
]


# --- validation and output ------------------------------------------------------------------------


class EnergyCheck(Section):
    """OpenMM energies of every image."""

    force_field: tuple[str, ...] = key("OpenMM force-field XML files, e.g. amber14-all.xml.", min_length=1)
    minimize: bool = key("Also after a short restrained minimization, with its displacement.", default=True)


class ValidationSection(Section):
    """How finished paths are judged. The geometry gate always runs for molecules."""

    energy: EnergyCheck | None = key("Energies with a force field; left out: none.", default=None)


class OutputSection(Section):
    """What is written, and where."""

    directory: Path = key("Run directory; made new, never overwritten without --overwrite.")
    trajectories: tuple[Literal["dcd", "pdb"], ...] = key("Formats of the paths.", default=("dcd",))
    figures: bool = key("Draw the figures.", default=True)


class Recipe(Section):
    """A complete description of one `tpsctl sample` run."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the run, for tables and figures.", min_length=1)
    seed: int = key("Seed of all random numbers; each path has its own stream.", "1", ge=0)
    endpoints: Endpoints = key("The two fixed ends.")
    prior: Prior = key("Where the score comes from.")
    path: PathSection = key("Number and size of the paths, and the initial guess.")
    action: ActionSection = key("The functional that is minimized.")
    optimize: OptimizeSection = key("The minimizer, or a list of stages.")
    validation: ValidationSection = key("Checks of the finished paths.", default=ValidationSection())
    output: OutputSection = key("Files to write.")

    @model_validator(mode="after")
    def _last_stage_has_all_images(self) -> Self:
        if self.stages[-1].images not in (None, self.path.images):
            raise ValueError(
                f"optimize: the last stage has {self.stages[-1].images} images, path.images is {self.path.images}; "
                "leave images out of the last stage"
            )
        return self

    @property
    def stages(self) -> tuple[LevenbergMarquardt | Lbfgs | Adam | Sgd, ...]:
        """The stages of the optimization, one if only one method is given."""
        return self.optimize if isinstance(self.optimize, tuple) else (self.optimize,)
