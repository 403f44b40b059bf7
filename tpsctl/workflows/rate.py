"""`tpsctl rate`: committor and rate constant from equilibrium samples, by the variational backward Kolmogorov equation.

A point in a model potential is sampled at a raised temperature and reweighted. For a molecule, the samples are those of
a data set of `tpsctl simulate`, with the weights of its bias, and the committor is a function of torsions.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.torsions import named_torsions
from tpsctl.progress import Progress
from tpsctl.recipe.loader import require_files
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.units import diffusion_coefficient
from tpsctl.validation.rate.committor import FEW_SAMPLES, States, WeightedSamples, fit_committor, measure_rate
from tpsctl.validation.rate.tempered import tempered_samples
from tpsctl.workflows.sample.tools import Tools

WALKERS, SETTLE, EVERY = 200, 400, 10
PIECES = 10
"""Pieces of every trajectory that count as independent groups for error bars."""
RADIUS_FRACTION, RADIUS_DEG = 0.05, 15.0
"""Default radius of the states: this fraction of the distance between the ends of a point, or this many degrees."""


@dataclass(frozen=True)
class RateSettings:
    """How committor and rate are found.

    Attributes:
        radius: Radius of both states around the ends, nm for a point and degrees for torsions; None for the default.
        torsions: Names of the torsions that the committor of a molecule is a function of.
        data: Data set with the samples of a molecule.
        diffusion_nm2_per_ps: D of a point; None for the recipe's, or 1.
        friction_per_ps: Friction of a molecule in D = kT / (m friction), 1/ps.
        tempering: Factor of the temperature at which a point is sampled.
        samples: Number of samples for the fit; a point gets twice as many for the measurement, and of a molecule's data
            set at most so many frames are used for each.
        steps: Most steps of the fit.
        draws: Bootstrap draws.
        seed: Seed of samples, fit and draws.
    """

    radius: float | None = None
    torsions: tuple[str, ...] = ()
    data: Path | None = None
    diffusion_nm2_per_ps: float | None = None
    friction_per_ps: float = 1.0
    tempering: float = 4.0
    samples: int = 12_000
    steps: int = 400
    draws: int = 200
    seed: int = 1


def rate_of_recipe(recipe: SampleRecipe, settings: RateSettings, progress: Progress) -> dict[str, Any]:
    """Functional, reactive flux and rate constant between the ends of a recipe; JSON values.

    Raises:
        RecipeError: The recipe or an option is unusable for this.
        ValidationError: The states overlap, or hold all samples.
    """
    require_files(recipe)
    tools = Tools(recipe, torch.device("cpu"), torch.get_num_threads())
    of_molecule = bool(settings.torsions) or settings.data is not None
    states, fitted, measured, about = (_molecule if of_molecule else _point)(tools, settings, progress)
    with progress.task("committor", settings.steps) as update:

        def tell(step: int, flux: float) -> None:
            update(step, f"functional of held-out samples, up to a factor: {flux:.3e}")

        committor = fit_committor(fitted, states, steps=settings.steps, seed=settings.seed, tell=tell)
    found = measure_rate(committor, measured, draws=settings.draws, seed=settings.seed)
    facts = {"name": recipe.name} | about
    if "diffusion_nm2_per_ps" in about:
        facts["functional_per_nm2"] = found.flux_per_ps / (2 * about["diffusion_nm2_per_ps"])
    facts |= asdict(found)
    notes = [] if found.transition_samples >= FEW_SAMPLES else [_few(found.transition_samples, of_molecule)]
    if of_molecule:
        notes.append(
            "this is the rate of overdamped dynamics. Inertia limits a real one: it is at most that of "
            "transition-state theory, which `tpsctl sample` prints for routes, so trust this number only where "
            "friction exceeds the frequencies of the motion, some 10 to 100/ps"
        )
    return facts | {"settings": _settings_entry(settings, states), "notes": notes}


def _few(count: int, of_molecule: bool) -> str:
    cure = (
        "a data set with a bias that crosses the barrier" if of_molecule else "a larger --tempering or more --samples"
    )
    return f"only {count} samples lie between committors 0.05 and 0.95, so the rate is not known; take {cure}"


def _settings_entry(settings: RateSettings, states: States) -> dict[str, Any]:
    entry = asdict(settings) | {"data": None if settings.data is None else str(settings.data)}
    entry["radius"] = float(torch.tensor(states.radius).rad2deg()) if states.periodic else states.radius
    return entry


def _point(
    tools: Tools, settings: RateSettings, progress: Progress
) -> tuple[States, WeightedSamples, WeightedSamples, dict[str, Any]]:
    """States, samples for the fit and for the measurement, and facts of a point in a model potential."""
    if tools.system.is_molecule:
        raise RecipeError(
            "the ends are structures of a molecule: name the torsions that its committor is a function of with --cv, "
            "and a data set of `tpsctl simulate` with --data."
        )
    prior = tools.prior
    if prior.potential is None:
        raise RecipeError(
            f'prior "{prior.kind}" is no model potential, and its samples have no weights. Use one that is.'
        )
    a, b = tools.system.ends.flatten(1).double()
    radius = settings.radius or RADIUS_FRACTION * float((a - b).norm())
    states = States(a, b, radius, periodic=False)
    given = settings.diffusion_nm2_per_ps or getattr(tools.recipe.action, "diffusion_nm2_per_ps", None)
    diffusion = given or 1.0

    def energy(x: Tensor) -> Tensor:
        density = prior.log_density(x.view(-1, prior.n_beads, prior.n_dims), 0.0)
        assert density is not None, "a model potential knows its density"
        return -density

    progress.say(f"sampling {tools.prior.kind} at {settings.tempering:g} times its temperature ...")
    starts = torch.where((torch.arange(WALKERS) % 2 == 0).unsqueeze(1), a, b)

    def draw(seed: int, count: int) -> WeightedSamples:
        c, weights, walkers = tempered_samples(
            energy,
            starts,
            tempering=settings.tempering,
            settle=SETTLE,
            samples=-(-count // WALKERS),
            every=EVERY,
            step=RADIUS_FRACTION * float((a - b).norm()),
            generator=torch.Generator().manual_seed(seed),
        )
        metric = diffusion * torch.eye(len(a), dtype=c.dtype).expand(len(c), -1, -1)
        return WeightedSamples(c, metric, weights, walkers)

    about = {
        "states": f"balls of {radius:g} nm around the ends",
        "diffusion_nm2_per_ps": diffusion,
        "temperature_k": prior.temperature_k,
    }
    first, second = settings.seed * 2, settings.seed * 2 + 1
    return states, draw(first, settings.samples), draw(second, 2 * settings.samples), about


def _molecule(
    tools: Tools, settings: RateSettings, progress: Progress
) -> tuple[States, WeightedSamples, WeightedSamples, dict[str, Any]]:
    """States, samples for the fit and for the measurement, and facts of a molecule with torsions."""
    if not settings.torsions or settings.data is None:
        missing = "--cv" if not settings.torsions else "--data"
        raise RecipeError(f"{missing}: missing. The committor of a molecule needs both --cv and --data.")
    topology = tools.system.topology
    known = {torsion.name: torsion.atoms for torsion in named_torsions(topology)}
    for name in settings.torsions:
        if name not in known:
            raise RecipeError(f"--cv: got {name!r}, expected one of {', '.join(known)}.")
    data = Dataset.load(settings.data)
    if [atom.name for atom in data.topology.atoms] != [atom.name for atom in topology.atoms]:
        raise RecipeError(
            f"--data {settings.data}: its {data.topology.n_atoms} atoms are not the {topology.n_atoms} of the ends in "
            "the same order. Give a data set that was simulated with these structures."
        )
    atoms = torch.tensor([known[name] for name in settings.torsions])
    a, b = dihedral(tools.system.ends.double(), atoms)
    radius_deg = settings.radius or RADIUS_DEG
    states = States(a, b, float(torch.tensor(radius_deg, dtype=torch.float64).deg2rad()), periodic=True)
    diffusion = torch.tensor(
        [diffusion_coefficient(m, settings.friction_per_ps, data.temperature_k) for m in topology.masses_amu],
        dtype=torch.float64,
    )
    if len(data.trajectories.unique()) < 2:
        raise RecipeError(f"--data {settings.data}: holds one trajectory, expected at least 2, to fit and to measure.")
    progress.say(f"reading {len(data)} frames of {settings.data} ...")
    halves = data.split(max(1, len(data.trajectories.unique()) // 2), seed=settings.seed)
    fitted, measured = (_of_frames(half, atoms, diffusion, settings.samples) for half in halves)
    about = {
        "states": f"within {radius_deg:g} degrees of the ends in {', '.join(settings.torsions)}",
        "friction_per_ps": settings.friction_per_ps,
        "temperature_k": data.temperature_k,
    }
    return states, fitted, measured, about


def _of_frames(data: Dataset, atoms: Tensor, diffusion: Tensor, most: int) -> WeightedSamples:
    """Torsions, their metric and the weights of frames of a data set, at most `most` of them, evenly spread."""
    frames = torch.arange(0, len(data), -(-len(data) // most))
    x = data.positions[frames].double().requires_grad_(True)
    angles = dihedral(x, atoms)
    slopes = torch.stack([torch.autograd.grad(angle.sum(), x, retain_graph=True)[0] for angle in angles.unbind(1)], 1)
    metric = torch.einsum("sian,sjan,a->sij", slopes, slopes, diffusion)
    number, order = data.trajectories[frames].unique(return_inverse=True)
    pieces = torch.zeros_like(order)
    for k in range(len(number)):
        mine = (order == k).nonzero().flatten()
        pieces[mine] = k * PIECES + torch.arange(len(mine)) * PIECES // len(mine)
    return WeightedSamples(angles.detach(), metric, data.weights()[frames], pieces)
