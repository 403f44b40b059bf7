"""The one reader of a finished run directory: manifest, tables, molecule, paths and recipe, for every later command.

What is wrong with the directory that a user names is told in the same words for all commands (`run_refusals`).
"""

import copy
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.errors import OutputError, RecipeError, TpsctlError
from tpsctl.molecule.topology import Topology
from tpsctl.output.dcd import read_dcd
from tpsctl.output.manifest import NAME, file_sha256, read_manifest
from tpsctl.output.pdb import read_mmcif, read_pdb
from tpsctl.output.trajectory import dummy_topology
from tpsctl.recipe.auto import DEFAULT_TEMPERATURE_K
from tpsctl.recipe.document import Document, Origin
from tpsctl.recipe.loader import resolve
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.workflows.run_refusals import AGAIN, SAMPLED, damaged, missing, no_finished_run, of_another_version
from tpsctl.workflows.run_tables import ImageTable, RunTable
from tpsctl.workflows.sample.assemble import System

_NEEDED = (
    *("name", "outcome", "produced", "valid", "converged", "energies", "prior_force_fields", "notes", "started"),
    *("seconds", "versions", "machines", "digest", "inputs", "chosen"),
)
"""What the manifest of a finished run holds beside its recipe and its paths."""

SHOTS = "shooting"
"""Folder of a run directory with the shots of `tpsctl shoot`, unless they are elsewhere."""

_READERS = {".dcd": read_dcd, ".pdb": lambda file: read_pdb(file)[1], ".cif": lambda file: read_mmcif(file)[1]}


@dataclass(frozen=True)
class StoredRun:
    """A finished run of `tpsctl sample`, as its directory holds it.

    Attributes:
        directory: The run directory.
        manifest: What its manifest.json says.
    """

    directory: Path
    manifest: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "StoredRun":
        """The run in a directory.

        Raises:
            RecipeError: It holds no finished run, or one that this version of tpsctl cannot read.
        """
        manifest = _manifest(directory) if directory.is_dir() else None
        if manifest is None:
            raise no_finished_run(directory)
        file = directory / NAME
        if not isinstance(manifest, dict) or not {"recipe", "paths"} <= manifest.keys():
            raise RecipeError(f"{file}: no manifest of a run. {SAMPLED}")
        if lacking := [name for name in _NEEDED if name not in manifest]:
            raise RecipeError(f"{file}: has no {', '.join(lacking)}: {of_another_version(manifest)}")
        return cls(directory, manifest)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.manifest["name"]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the manifest says of every path."""
        return self.manifest["paths"]

    @property
    def valid(self) -> list[bool]:
        """Whether every path passed the gate."""
        return [entry["gate"] == "valid" for entry in self.entries]

    @property
    def groups(self) -> Int[np.ndarray, " path"]:
        """The route or channel of every path, which has one color everywhere; 0 where nothing is told apart."""
        if "routes" in self.manifest:
            return np.arange(len(self.entries))
        return np.array([entry.get("channel") or 0 for entry in self.entries], dtype=int)

    @property
    def is_molecule(self) -> bool:
        """Whether the paths are of a molecule, and not of a point in a model potential."""
        return "position_nm" not in self.manifest["recipe"]["endpoints"]["start"]

    @property
    def n_dims(self) -> int:
        """Number of coordinates of a bead."""
        return 3 if self.is_molecule else len(self.manifest["recipe"]["endpoints"]["start"]["position_nm"])

    @property
    def dt_ps(self) -> float | None:
        """Step of the action, ps; None for routes, which have none."""
        return self.manifest["chosen"].get("action.dt_ps", {}).get("value")

    @property
    def temperature_k(self) -> float:
        """The temperature of the run, K."""
        recipe = self.manifest["recipe"]
        chosen = self.manifest["chosen"].get("action.temperature_k", {}).get("value")
        given = (chosen, recipe["action"].get("temperature_k"), recipe["prior"].get("temperature_k"))
        return next((float(value) for value in given if value), DEFAULT_TEMPERATURE_K)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.directory / name).is_file()

    def table(self, name: str) -> RunTable:
        """A CSV file of the run.

        Raises:
            RecipeError: The file is missing or damaged.
        """
        return RunTable.read(self._require(self.directory / name))

    @cached_property
    def images(self) -> ImageTable:
        """The table of all images, without columns for a run without paths."""
        name = "images.csv"
        table = self.table(name) if self.has(name) else RunTable(self.directory / name, {})
        return ImageTable(table, len(self.entries))

    @property
    def topology_file(self) -> Path:
        """topology.pdb, or topology.cif where PDB cannot hold the names.

        Raises:
            RecipeError: Neither is there.
        """
        return self._require(self.directory / "topology.pdb", self.directory / "topology.cif")

    @cached_property
    def topology(self) -> Topology:
        """Atoms and bonds of the paths.

        Raises:
            RecipeError: The file is missing.
            EndpointError: It cannot be read.
        """
        if not self.is_molecule:
            return dummy_topology(1)
        from tpsctl.endpoints.load import load_structure

        return load_structure(self.topology_file).topology

    @property
    def has_trajectories(self) -> bool:
        """Whether there are files of the paths, as the recipe may ask for none."""
        return bool(self.entries) and (self.directory / "paths").is_dir()

    def path_file(self, number: int) -> Path:
        """The most precise file of a path that the recipe asked for.

        Raises:
            RecipeError: There is no such path, or no file of it.
        """
        self.require_paths()
        if not 0 <= number < len(self.entries):
            raise RecipeError(f"--path {number}: {self.directory} has the paths 0 to {len(self.entries) - 1}.")
        stem = self.directory / "paths" / f"path_{number:04d}"
        if not self.has_trajectories:
            raise RecipeError(
                f"{stem}.dcd: missing, because the recipe of this run asked for no trajectories. Run it again with "
                "output.trajectories: [dcd, pdb]."
            )
        suffixes = (".dcd",) if "dcd" in self.manifest["recipe"]["output"]["trajectories"] else (".pdb", ".cif")
        return self._require(*(stem.with_suffix(suffix) for suffix in suffixes))

    def path(self, number: int) -> Float[Tensor, "image bead dim"]:
        """The images of a path, nm, with the precision of its file: float32 of DCD, or three digits of PDB.

        Raises:
            RecipeError: There is no such path, or its file is missing or damaged.
        """
        file = self.path_file(number)
        try:
            x = torch.from_numpy(_READERS[file.suffix](file)).double() * NM_PER_ANGSTROM
        except OutputError as error:  # names the file and the byte
            raise RecipeError(f"{error} {AGAIN}") from None
        except (ValueError, IndexError, struct.error) as error:
            raise damaged(file, str(error)) from None
        return x[..., : self.n_dims].contiguous()

    @cached_property
    def paths(self) -> Float[Tensor, "path image bead dim"]:
        """All paths, nm.

        Raises:
            RecipeError: The run found none, or a file is missing or damaged.
        """
        self.require_paths()
        found = [self.path(number) for number in range(len(self.entries))]
        odd = next((number for number, path in enumerate(found) if path.shape != found[0].shape), None)
        if odd is not None:
            raise damaged(self.path_file(odd), f"its shape is {tuple(found[odd].shape)}, not {tuple(found[0].shape)}")
        return torch.stack(found)

    def require_paths(self) -> None:
        """Refuse a run without paths.

        Raises:
            RecipeError: The run found none.
        """
        if not self.entries:
            raise RecipeError(f"{self.directory}: this run found no path. Name one that did.")

    @cached_property
    def system(self) -> System:
        """The ends of the paths, which are their first and last images.

        Raises:
            RecipeError: The run is of a point in a model potential, or a file is missing or damaged.
        """
        if not self.is_molecule:
            raise RecipeError(f"{self.directory}: its paths are of a point in a model potential, not of a molecule.")
        pairs = self.paths[:, [0, -1]]
        sets = any(key.endswith("_frame") for key in self.entries[0])
        return System(self.topology, pairs[0], is_molecule=True, pairs=pairs if sets else None)

    def recipe(self, changes: Mapping[str, Any] | None = None, assignments: Sequence[str] = ()) -> SampleRecipe:
        """The recipe as it was resolved, with some changes.

        Args:
            changes: New values by dotted key.
            assignments: Further changes, as given to `--set`.

        Raises:
            RecipeError: A change is invalid, or this version of tpsctl does not know a key of the recipe.
        """
        file = str(self.directory / NAME)
        values = copy.deepcopy(self.manifest["recipe"])
        document = Document(file, values, {(): Origin(file, self.directory)})
        try:
            resolve(document, SampleRecipe)
        except RecipeError as error:
            raise RecipeError(f"{error}\n{file}: {of_another_version(self.manifest)}") from None
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            section = values
            for name in parents:
                section = section[name]
            section[last] = value
        for assignment in assignments:
            document.assign(assignment)
        return resolve(document, SampleRecipe)

    def require_inputs(self, prefixes: Sequence[str] = ("",)) -> dict[str, Any]:
        """The input files of the run whose keys begin so, as the manifest has them; all must be what they were.

        Raises:
            RecipeError: One is missing or was changed.
        """
        found = {key: entry for key, entry in self.manifest["inputs"].items() if key.startswith(tuple(prefixes))}
        for key, entry in found.items():
            file = Path(entry["file"])
            if not file.exists():
                raise RecipeError(f"{key}: {file} of the run {self.directory} is no longer there. Put it back.")
            if file_sha256(file) != entry["sha256"]:
                raise RecipeError(f"{key}: {file} has changed since the run {self.directory}. {AGAIN}")
        return found

    def potential(self) -> Callable[[Tensor], Tensor] | None:
        """The potential of a model system, kJ/mol; None for a molecule, or if the prior has none or is gone."""
        if self.is_molecule:
            return None
        from tpsctl.workflows.sample.assemble import make_prior, make_system

        try:
            recipe = self.recipe()
            prior = make_prior(recipe.prior, make_system(recipe.endpoints), torch.device("cpu"))
        except TpsctlError:
            return None
        return None if prior.potential is None else prior.potential.energy

    def _require(self, *files: Path) -> Path:
        """The first of these files that is there."""
        for file in files:
            if file.is_file():
                return file
        raise missing(files[0])


def _manifest(folder: Path) -> Any:
    """The content of a manifest; None if there is none."""
    try:
        return read_manifest(folder)
    except OutputError:
        raise damaged(folder / NAME, "no JSON") from None
