"""`tpsctl check`: everything that can be wrong, found before any optimization.

Each check is a function that yields findings; an error that a user can mend becomes a failed finding,
and what depends on it is left out. Each check is announced, and its verdict told, while it is done. Nothing is
written.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from tpsctl.action.memory import bytes_per_image, default_budget
from tpsctl.endpoints.match import AtomMap
from tpsctl.errors import RecipeError, TpsctlError
from tpsctl.guess.screen import Screening
from tpsctl.jobs.directory import earlier_result
from tpsctl.jobs.plan import read_plan
from tpsctl.optimize.stages import Stage, interpolated
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.progress import Progress
from tpsctl.recipe.loader import require_files
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.check_routes import check_routes
from tpsctl.workflows.sample.check_saddles import check_ends, check_saddles
from tpsctl.workflows.sample.committor import require_shootable
from tpsctl.workflows.sample.devices import require_usable
from tpsctl.workflows.sample.estimate import Estimate, duration, resident_bytes, typical_steps
from tpsctl.workflows.sample.guesses import draw_guesses
from tpsctl.workflows.sample.hardware import use_hardware
from tpsctl.workflows.sample.identity import identify
from tpsctl.workflows.sample.plausible import (
    Finding,
    Severity,
    energy_verdict,
    require_sensible_action,
    score_verdict,
)
from tpsctl.workflows.sample.prior_fit import checkpoint_soundness, force_fit, noise_fit
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

_TRIAL_STEPS = 1
"""Steps of each stage that are tried on one path, to see that they work and how long they take."""

_MOST_PAIRS = 24
"""Relabeled atoms that the report names one by one."""


@dataclass
class Report:
    """All findings of a check."""

    recipe: str
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    estimate: Estimate | None = None

    @property
    def passed(self) -> bool:
        return all(finding.verdict != "FAIL" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "passed": self.passed, "findings": [asdict(f) for f in self.findings]}


def check_recipe(
    recipe: SampleRecipe, settings: RunSettings, progress: Progress | None = None, *, trial: bool = True
) -> Report:
    """Check everything a valid recipe names.

    Args:
        recipe: What is checked.
        settings: Where and how it would be run.
        progress: Told about every check when it begins and when it is done; None for nobody.
        trial: Whether to try the guess and a step of every stage.
    """
    started = time.monotonic()
    progress = progress or Progress()
    subject = _Subject(recipe, settings, progress)
    report = Report(recipe.name)
    for name, check in _CHECKS.items():
        if name in _TRIALS and not trial:
            continue
        progress.say(f"checking {_WORDS[name]} ...")
        begun, before, stopped = time.monotonic(), len(report.findings), False
        try:
            report.findings += check(subject)
        except TpsctlError as error:
            report.findings.append(Finding(name, "FAIL", str(error)))
            stopped = name in _FATAL
        verdict = max((finding.verdict for finding in report.findings[before:]), key=_SEVERITY.index, default="ok")
        progress.say(f"{_WORDS[name]}: {verdict} ({time.monotonic() - begun:.1f} s)")
        if stopped:
            break
    report.seconds = time.monotonic() - started
    report.estimate = subject.estimate
    return report


class _Subject(Tools):
    """The tools of a run, and what only a check asks for; each is made when it is first needed."""

    def __init__(self, recipe: SampleRecipe, settings: RunSettings, progress: Progress) -> None:
        super().__init__(recipe, *use_hardware(settings, recipe))
        require_usable(self.device)
        self.progress = progress
        self.settings = settings
        self.guess_seconds = 0.0
        self.estimate: Estimate | None = None

    @cached_property
    def stages(self) -> list[Stage]:
        return assemble.make_stages(self.recipe, self.chosen, self.prior, self.system)

    @cached_property
    def score_at_ends(self) -> Tensor:
        score = ScoreInPrecision(self.prior.at(self.final_time), assemble.precision_of(self.recipe.prior))
        return score(self.system.all_ends.to(self.device)).cpu()

    @cached_property
    def strangest(self) -> slice:
        """Where among all ends the pair lies whose scores are the largest, which is judged in place of all pairs."""
        pair = int(self.score_at_ends.flatten(1).abs().amax(1).view(-1, 2).amax(1).argmax())
        return slice(2 * pair, 2 * pair + 2)

    @cached_property
    def guess(self) -> tuple[Tensor, Screening]:
        """Guess of the first path."""
        return draw_guesses(self, [0], self.progress)


def _files(subject: _Subject) -> Iterator[Finding]:
    require_files(subject.given)
    identity = identify(subject.recipe)
    yield Finding("recipe", "ok", f"digest {identity['digest'][:12]}, {len(identity['inputs'])} input files")
    directory = (subject.settings.out or subject.recipe.output.directory).resolve()
    try:
        earlier = earlier_result(directory, identity["digest"], identity, overwrite=False)
    except RecipeError as error:
        yield Finding("output", "FAIL", str(error))
        return
    unfinished = read_plan(directory)
    if unfinished is not None and unfinished.digest != identity["digest"]:
        text = "holds the unfinished run of another recipe. Choose another directory with --out."
        yield Finding("output", "FAIL", f"{directory}: {text}")
    elif unfinished is not None:
        yield Finding("output", "note", f"{directory}: holds this run, unfinished; `sample` will go on with it")
    elif earlier is not None:
        yield Finding("output", "note", f"{directory}: holds this very run already; `sample` will show it")
    else:
        yield Finding("output", "ok", f"{directory}: free")


def _ends(subject: _Subject) -> Iterator[Finding]:
    system = subject.system
    pairs = system.all_pairs
    distance = (pairs[:, 1] - pairs[:, 0]).square().sum(-1).mean(-1).sqrt()
    beads = f"{system.topology.n_atoms} atoms" if system.is_molecule else "model potential"
    apart, several = f"{distance.max():.4g}", ""
    if system.pairs is not None:
        apart, several = (
            f"{distance.min():.4g} to {apart}",
            f"; {len(pairs)} pairs of ends, which the paths take in turn",
        )
    yield Finding("ends", "ok", f"{beads}{several}; {apart} nm apart (root mean square per bead)")
    if system.atom_map is not None:
        matched = system.atom_map
        text = f"atoms matched by {matched.method}; {_relabeled(matched)}; handedness of all centers agrees"
        yield Finding("atom map", "ok", text)
    for note in system.notes:
        yield Finding("ends", "note", note)


def _relabeled(matched: AtomMap) -> str:
    """Which equivalent atoms of the end got another label."""
    if matched.equivalent_atoms == "keep":
        return "equivalent atoms keep their labels"
    pairs = [f"{a} = {b}" for a, b in matched.renamed]
    shown = ", ".join(pairs[:_MOST_PAIRS]) + (
        f" and {len(pairs) - _MOST_PAIRS} more" if len(pairs) > _MOST_PAIRS else ""
    )
    return f"relabeled: {shown or 'none'}"


def _prior(subject: _Subject) -> Iterator[Finding]:
    recipe, prior = subject.recipe, subject.prior
    if subject.device_note:
        yield Finding("device", "note", subject.device_note)
    kelvin = "any temperature" if prior.temperature_k is None else f"{prior.temperature_k:g} K"
    yield Finding("prior", "ok", f"{prior.kind}, {prior.n_beads} beads, {kelvin}")
    if isinstance(prior, OpenMMPrior):
        low, high = min(prior.made.masses_amu), max(prior.made.masses_amu)
        masses = f"masses of the System, {low:.4g} to {high:.4g} amu"
        yield Finding("system", "ok", f"{prior.protocol}; {masses}")
        for note in prior.made.notes:
            yield Finding("system", "note", note)
    wanted = recipe.action.temperature_k
    if wanted is not None and prior.temperature_k is not None and abs(wanted - prior.temperature_k) > 0.5:
        text = f"action.temperature_k is {wanted:g} K, the prior belongs to {prior.temperature_k:g} K"
        yield Finding("prior", "warn", text)
    score = subject.score_at_ends
    if not bool(score.isfinite().all()):
        raise TpsctlError(
            "the prior's score at the ends is not finite. Look for clashes in the structures, and check the "
            "checkpoint, force field or plug-in of the prior."
        )
    largest = score.flatten(1).abs().amax(1).view(-1, 2).amax(0).tolist()
    yield Finding("score", *score_verdict(*largest))
    if prior.generative:
        yield noise_fit(score[subject.strangest], prior.sigma_nm(subject.chosen.diffusion_time.value))
    if isinstance(recipe.prior, CheckpointPriorSection):
        yield from checkpoint_soundness(recipe.prior, prior.topology)


def _energies(subject: _Subject) -> Iterator[Finding]:
    model = subject.energy_model
    if model is None:
        own = subject.recipe.route and isinstance(subject.prior, OpenMMPrior)
        if subject.system.is_molecule and not own:
            yield Finding("energies", "warn", "no validation.energy in the recipe: paths will have no energies")
        return
    a, b = model.energies(subject.system.all_ends).view(-1, 2).amax(0).tolist()
    highest = "" if subject.system.pairs is None else "highest "
    text = f"{model.protocol}: {highest}A {a:.2f}, {highest}B {b:.2f}, B - A {b - a:+.2f} kJ/mol"
    yield Finding("energies", *energy_verdict(a, b, subject.system.topology.n_atoms, text))
    for note in model.made.notes:
        yield Finding("energies", "note", note)
    if assemble.prior_is_force_field(subject.recipe):
        yield Finding("prior fit", "ok", "the prior is this force field")
    elif subject.prior.temperature_k is not None:
        score, ends = subject.score_at_ends[subject.strangest], subject.system.all_ends[subject.strangest]
        yield force_fit(model, score, ends, subject.prior.temperature_k)


def _saddles(subject: _Subject) -> Iterator[Finding]:
    yield from check_saddles(subject)
    yield from check_ends(subject)
    require_shootable(subject)
    if subject.given.validation.committor:
        yield Finding("committor", "ok", "shots from the best path follow once the paths are judged")


def _guess(subject: _Subject) -> Iterator[Finding]:
    recipe = subject.recipe
    if recipe.route:
        return
    started = time.monotonic()
    guess, screening = subject.guess
    seconds = subject.guess_seconds = time.monotonic() - started
    gaps = guess.diff(dim=1).square().sum((2, 3)).sqrt()
    text = f"{recipe.path.guess.kind}: one path in {seconds:.2f} s, largest/mean gap {gaps.max() / gaps.mean():.2f}"
    if screening.failing:
        faults = f"the last one has: {screening.faults[0]}" if screening.faults else "none passes the screening"
        cure = "Use another path.guess (torsion, idpp, waypoints), or a larger path.screen.max_draws."
        yield Finding("guess", "FAIL", f"{text}; {screening.summary()}; {faults}. {cure}")
    else:
        yield Finding("guess", "ok", f"{text}; {screening.summary()}")
    if recipe.path.paths > 1 and recipe.path.guess.kind == "linear" and subject.system.pairs is None:
        yield Finding("guess", "warn", f"a linear guess has no randomness: all {recipe.path.paths} paths will be equal")


def _cost(subject: _Subject) -> Iterator[Finding]:
    if subject.recipe.route:
        for finding, estimate in check_routes(subject):
            subject.estimate = estimate
            yield finding
        return
    recipe, step_seconds = subject.recipe, []
    guess = subject.guess[0]
    for section, stage in zip(subject.chosen.stages, subject.stages, strict=True):
        paths = interpolated(guess, stage.images or guess.shape[1])
        trial = assemble.make_optimizer(section.model_copy(update={"max_steps": _TRIAL_STEPS}))
        started = time.monotonic()
        _, outcome = trial.minimize(stage.action, paths)
        step_seconds.append((time.monotonic() - started) / _TRIAL_STEPS)
        terms = stage.action.terms(paths)
        require_sensible_action(stage.name, terms.total[0].item(), outcome.terms.total[0].item())
        text = f"{stage.name}: action of the guess {terms.total[0].item():.4g} = "
        text += f"kinetic {terms.kinetic[0].item():.4g} + drift {terms.drift[0].item():.4g}; "
        text += f"{outcome.terms.total[0].item():.4g} after {_TRIAL_STEPS} step"
        yield Finding("action", "ok", text)
    per_path = sum(each * stage.optimizer.max_steps for each, stage in zip(step_seconds, subject.stages, strict=True))
    images = guess[0]
    gradients = bytes_per_image(subject.stages[-1].action.score, images) * len(images)
    chunk = default_budget(images.device)
    subject.estimate = Estimate(subject.guess_seconds + per_path, resident_bytes(), gradients, chunk)
    budget = "within" if gradients * recipe.path.paths < chunk else "worked on in chunks of"
    each = ", ".join(f"{seconds:.2g}" for seconds in step_seconds)
    typical = sum(n * typical_steps(section) for n, section in zip(step_seconds, subject.chosen.stages, strict=True))
    text = f"optimization: {each} s a step and path, typically {duration(typical * recipe.path.paths)} of work for all "
    text += f"paths, at most {duration(per_path * recipe.path.paths)}; "
    text += f"gradients need {gradients * recipe.path.paths / 1e6:.0f} MB, {budget} {chunk / 1e6:.0f} MB"
    yield Finding("cost", "ok", text)


_CHECKS: dict[str, Callable[[_Subject], Iterator[Finding]]] = {
    "recipe": _files,
    "ends": _ends,
    "prior": _prior,
    "energies": _energies,
    "saddles": _saddles,
    "guess": _guess,
    "cost": _cost,
}
_WORDS = {
    "recipe": "recipe and files",
    "ends": "the two ends",
    "prior": "the prior",
    "energies": "energies of the ends",
    "saddles": "minima and saddles",
    "guess": "the initial guess",
    "cost": "a trial of the work",
}
_SEVERITY: tuple[Severity, ...] = ("ok", "note", "warn", "FAIL")
_TRIALS = ("guess", "cost")
_FATAL = ("recipe", "ends", "prior")
