"""One round: paths, shots from their tops, guided samples around the transition state, and guesses through those.

Every step is a finished folder that is not repeated, and what lies between two folders follows from the first of them.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.files import write_text
from tpsctl.output.dcd import read_dcd
from tpsctl.output.trajectory import write_ensemble, write_frames
from tpsctl.progress import Progress
from tpsctl.recipe.refine import RefineRecipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.simulation.shooting.committor import HIGHEST, LOWEST
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.workflows.guide.run import guide_recipe
from tpsctl.workflows.refine.guesses import guesses_through
from tpsctl.workflows.refine.sections import guide_recipe_of, sample_recipe, structures_section
from tpsctl.workflows.refine.stage import do_stage
from tpsctl.workflows.sample.run import run_recipe
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.shoot.examined import ExaminedRun
from tpsctl.workflows.shoot.run import shoot
from tpsctl.workflows.shoot.settings import PhysicsSettings, ShootSettings

_FEWEST_GUIDES = 2


@dataclass(frozen=True)
class RoundResult:
    """What a round found.

    Attributes:
        facts: Its entry of the manifest.
        guesses: Files with new guesses; none if there is no transition state to go through.
        topology: The file that names their beads.
    """

    facts: dict[str, Any]
    guesses: Sequence[Path]
    topology: Path


class Round:
    """A round of a recipe.

    Args:
        number: Which round it is, from 1.
        recipe: The whole recipe.
        base: The recipe of its paths.
        folder: Where the round goes.
        settings: Where and how it is done.
        progress: Told what is done.
    """

    def __init__(
        self,
        number: int,
        recipe: RefineRecipe,
        base: SampleRecipe,
        folder: Path,
        settings: RunSettings,
        progress: Progress,
    ) -> None:
        self._number = number
        self._recipe, self._base, self._folder = recipe, base, folder
        self._settings, self._progress = settings, progress

    def do(self, before: RoundResult | None) -> RoundResult:
        """Do the round, with the guesses of the one before, as far as it is not done.

        Raises:
            Interrupted: The job was told to stop; every finished folder and what the present one saved is kept.
        """
        manifest = self._sample(before)
        run = ExaminedRun.read(self._folder / "sample", (), threads=1)
        topology = run.stored.topology_file
        facts: dict[str, Any] = {
            "paths": len(manifest["paths"]),
            "barrier_kj_per_mol": _barrier(manifest),
            "images": 0,
            "guides": 0,
            "outcome": "no_transition_state",
        }
        images, shots, facts["images"] = self._shoot(run)
        facts["guides"] = len(images)
        if shots is None or len(images) < _FEWEST_GUIDES:
            return RoundResult(facts, (), topology)
        guided = self._guide(run, images, shots)
        found = _transition_states(self._folder / "guided", run)
        facts |= {
            "outcome": guided["outcome"],
            "success": guided["success"]["guided"],
            "unguided_success": guided["success"]["unguided"],
            "excess_work_nats": guided["excess_work_nats"],
            "transition_states": len(found),
        }
        if not len(found):
            return RoundResult(facts, (), topology)
        system = run.tools.given_system
        write_ensemble(
            self._folder / "transition_states", found, system.topology, title="transition states", formats=("dcd",)
        )
        guesses = guesses_through(found, self._base, run.tools)
        files = [
            write_frames(self._folder / "guesses" / f"guess_{k:04d}.dcd", path, title=f"guess {k}")
            for k, path in enumerate(guesses)
        ]
        return RoundResult(facts, files, topology)

    def _sample(self, before: RoundResult | None) -> dict[str, Any]:
        folder = self._folder / "sample"
        guesses, topology = ((), None) if before is None else (before.guesses, before.topology)
        recipe = sample_recipe(self._base, self._number, folder, guesses, topology)
        file = self._written("sample.yaml", recipe.model_dump_json(indent=1))
        return do_stage(
            lambda shard: run_recipe(recipe, self._run_settings(file, folder, shard), self._progress),
            folder,
            self._settings.shard,
            self._progress,
        )

    def _shoot(self, run: ExaminedRun) -> tuple[Tensor, dict[str, Any] | None, int]:
        """Images of the best paths at the transition state, nm; how shots were made; from how many images."""
        found, shots, count = [], None, 0
        for number in _best(run, self._recipe.shots.paths):
            path = run.stored.path(number)
            manifest = self._shots(run, number, _images(run, number, len(path), self._recipe.shots.around))
            shots = manifest["recipe"]
            count += len(manifest["starts"])
            for start in manifest["starts"]:
                if start["verdict"].startswith("transition state") and LOWEST <= start["p_b"] <= HIGHEST:
                    found.append(path[int(start["start"].split()[-1])])
        ends = run.tools.given_system.ends
        return torch.stack(found) if found else ends[:0], shots, count

    def _shots(self, run: ExaminedRun, number: int, images: tuple[int, ...]) -> dict[str, Any]:
        folder, wanted = self._folder / "shots" / f"path_{number:04d}", self._recipe.shots
        physics = PhysicsSettings(wanted.dynamics, None, wanted.friction_per_ps, wanted.dt_ps, wanted.longest_ps)
        return do_stage(
            lambda shard: shoot(
                ShootSettings(
                    run=run.stored.directory,
                    out=folder,
                    path=number,
                    images=images,
                    physics=physics,
                    least=wanted.least,
                    most=wanted.most,
                    shard=shard,
                    threads=1,
                    max_hours=self._settings.max_hours,
                ),
                self._progress,
            ),
            folder,
            self._settings.shard,
            self._progress,
        )

    def _guide(self, run: ExaminedRun, images: Tensor, shots: dict[str, Any]) -> dict[str, Any]:
        folder, system = self._folder / "guided", run.tools.given_system
        files: dict[str, Path | None] = {"guides": None, "ends": None}
        if system.is_molecule:
            for name, x in (("guides", images), ("ends", system.ends)):
                stem = self._folder / name
                (files[name],) = write_ensemble(stem, x, system.topology, title=name, formats=("pdb",))
        recipe = guide_recipe_of(
            self._recipe,
            run,
            shots,
            guides=structures_section(images, files["guides"]),
            ends=structures_section(system.ends, files["ends"]),
            folder=folder,
        )
        file = self._written("guide.yaml", recipe.model_dump_json(indent=1))
        return do_stage(
            lambda shard: guide_recipe(recipe, self._run_settings(file, folder, shard), self._progress),
            folder,
            self._settings.shard,
            self._progress,
        )

    def _run_settings(self, file: Path, folder: Path, shard: Any) -> RunSettings:
        given = self._settings
        return RunSettings(
            out=folder,
            shard=shard,
            device=given.device,
            threads=given.threads,
            max_hours=given.max_hours,
            save_every_s=given.save_every_s,
            scratch=given.scratch,
            origin=(str(file),),
        )

    def _written(self, name: str, text: str) -> Path:
        """The recipe of a stage as a file, from which its command can be given by hand, too."""
        file = self._folder / name
        write_text(file, text + "\n")
        return file


def _best(run: ExaminedRun, count: int) -> list[int]:
    """The valid paths with the lowest barriers; all paths count where none is valid, or energies are unknown."""
    entries = run.stored.entries
    good = [entry for entry in entries if entry["gate"] == "valid"] or entries
    return [int(entry["path"]) for entry in sorted(good, key=_barrier_of)[:count]]


def _images(run: ExaminedRun, number: int, count: int, around: int) -> tuple[int, ...]:
    """The top of a path and images around it; where energies are unknown, as many images spread along the path."""
    if "raw" in run.stored.entries[number]:
        top = run.top(number)
        return tuple(image for image in range(top - around, top + around + 1) if 0 < image < count - 1)
    wanted = 2 * around + 1
    spread = {round((k + 1) * (count - 1) / (wanted + 1)) for k in range(wanted)}
    return tuple(sorted(image for image in spread if 0 < image < count - 1))


def _barrier(manifest: dict[str, Any]) -> float | None:
    known = [_barrier_of(entry) for entry in manifest["paths"] if "raw" in entry]
    return min(known) if known else None


def _barrier_of(entry: dict[str, Any]) -> float:
    return float(entry["raw"]["barrier_forward_kj_per_mol"]) if "raw" in entry else 0.0


def _transition_states(folder: Path, run: ExaminedRun) -> Tensor:
    """The wanted samples of a guided run, nm, in the order of the paths' beads."""
    with (folder / "samples.csv").open(encoding="utf-8") as stream:
        wanted = [row["success"] == "true" for row in csv.DictReader(stream)]
    x = torch.from_numpy(read_dcd(folder / "samples" / "guided.dcd").astype("float64")) * NM_PER_ANGSTROM
    system = run.tools.given_system
    x = x[torch.tensor(wanted)][..., : system.ends.shape[-1]]
    if not system.is_molecule or run.tools.prior.topology is None:
        return x
    from tpsctl.endpoints.fit import bead_order

    order = bead_order(run.tools.prior.topology, system.topology, name="the run")
    return x[:, order]
