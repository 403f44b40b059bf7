"""Reads a finished run from its directory alone: manifest, molecule and paths, without the files it was made from."""

import json
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import OutputError
from tpsctl.molecule.topology import Topology
from tpsctl.output.dcd import read_dcd
from tpsctl.output.manifest import read_manifest
from tpsctl.output.pdb import read_mmcif, read_pdb
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.workflows.sample.assemble import System


@dataclass(frozen=True)
class RecordedRun:
    """A finished run of `tpsctl sample`, read from its directory.

    Attributes:
        directory: The run directory.
        manifest: Its manifest.
    """

    directory: Path
    manifest: dict[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "RecordedRun":
        """The run in a directory.

        Raises:
            OutputError: There is no finished run of `tpsctl sample` in it.
        """
        manifest = read_manifest(directory) if directory.is_dir() else None
        if manifest is None:
            found = "has no manifest.json" if directory.is_dir() else "is no folder"
            raise OutputError(
                f"{directory}: {found}, so it is no finished run. Name the directory of a finished `tpsctl sample`."
            )
        if not isinstance(manifest, dict) or not isinstance(manifest.get("paths"), list) or "recipe" not in manifest:
            raise OutputError(f"{directory}: its manifest.json is not that of a finished run of `tpsctl sample`.")
        return cls(directory, manifest)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.manifest["name"]

    @property
    def is_molecule(self) -> bool:
        """Whether the paths are of a molecule, and not of a point in a model potential."""
        return "position_nm" not in self.manifest["recipe"]["endpoints"]["start"]

    @property
    def dt_ps(self) -> float | None:
        """Step of the action, ps; None for routes, which have none."""
        chosen = self.manifest.get("chosen", {}).get("action.dt_ps")
        return None if chosen is None else chosen["value"]

    @cached_property
    def topology(self) -> Topology:
        """The beads of the paths.

        Raises:
            EndpointError: topology.pdb cannot be read.
            OutputError: It is missing.
        """
        from tpsctl.endpoints.load import load_structure

        return load_structure(self.topology_file).topology

    @property
    def topology_file(self) -> Path:
        """topology.pdb, or topology.cif where PDB cannot hold the names."""
        files = [self.directory / f"topology{suffix}" for suffix in (".pdb", ".cif")]
        for file in files:
            if file.is_file():
                return file
        raise OutputError(f"{files[0]}: no such file. The run directory is damaged; run its recipe again.")

    @cached_property
    def paths(self) -> Float[Tensor, "path image bead 3"]:
        """All paths, nm, with the precision of the files: float32 of DCD, or three digits behind the point of PDB.

        Raises:
            OutputError: A file is missing or damaged.
        """
        count = len(self.manifest["paths"])
        if not count:
            raise OutputError(f"{self.directory}: this run found no path.")
        return torch.stack([self._path(k) for k in range(count)])

    @cached_property
    def system(self) -> System:
        """The ends of the paths, which are their first and last images.

        Raises:
            OutputError: The run is of a point in a model potential.
        """
        if not self.is_molecule:
            raise OutputError(f"{self.directory}: its paths are of a point in a model potential, not of a molecule.")
        pairs = self.paths[:, [0, -1]]
        sets = any(key.endswith("_frame") for key in self.manifest["paths"][0])
        return System(self.topology, pairs[0], is_molecule=True, pairs=pairs if sets else None)

    def recipe(self, changes: dict[str, Any], assignments: Sequence[str] = ()) -> SampleRecipe:
        """The recipe as it was resolved, with the section `validation.energy` updated and keys set.

        Args:
            changes: Keys of `validation.energy` with their new values.
            assignments: Further changes, as given to `--set`.

        Raises:
            RecipeError: A change is invalid; the message has one line per mistake.
        """
        values = json.loads(json.dumps(self.manifest["recipe"]))
        if changes:
            values["validation"]["energy"] = (values["validation"]["energy"] or {}) | changes
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "recipe.yaml"
            file.write_text(json.dumps(values), encoding="utf-8")
            return load_recipe(file, SampleRecipe, assignments)

    def _path(self, number: int) -> Float[Tensor, "image bead 3"]:
        stem = self.directory / "paths" / f"path_{number:04d}"
        readers = {".dcd": read_dcd, ".pdb": lambda file: read_pdb(file)[1], ".cif": lambda file: read_mmcif(file)[1]}
        for suffix, reader in readers.items():
            file = stem.with_suffix(suffix)
            if file.is_file():
                try:
                    return torch.from_numpy(reader(file)).double() * NM_PER_ANGSTROM
                except (ValueError, IndexError, struct.error) as error:
                    raise OutputError(f"{file}: damaged ({error}). Run the recipe again.") from None
        raise OutputError(
            f"{stem}.dcd: no such file. This needs the paths: keep output.trajectories: [dcd] in the recipe."
        )
