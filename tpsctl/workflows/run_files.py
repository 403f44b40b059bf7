"""Reads a finished run directory again, as reports and figures need it: manifest, tables, structures."""

import csv
import json
from collections.abc import Callable, Mapping
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
from tpsctl.output.manifest import read_manifest
from tpsctl.output.pdb import read_mmcif, read_pdb
from tpsctl.output.trajectory import dummy_topology

_NEEDED = (
    *("name", "outcome", "produced", "valid", "converged", "energies", "prior_force_fields", "notes", "started"),
    *("seconds", "versions", "machines", "digest", "inputs", "chosen"),
)
"""What the manifest of a finished run holds beside its recipe and its paths."""


@dataclass(frozen=True)
class RunFiles:
    """The files of a finished run.

    Attributes:
        folder: The run directory.
        manifest: What `manifest.json` says.
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> "RunFiles":
        """The files in a run directory.

        Raises:
            RecipeError: There is no finished run.
            OutputError: The manifest cannot be read.
        """
        manifest = read_manifest(folder) if folder.is_dir() else None
        if manifest is None:
            unfinished = (folder / "state" / "plan.json").exists()
            remedy = "finish it with `tpsctl gather`" if unfinished else "make one with `tpsctl sample`"
            raise RecipeError(f"{folder}: expected a finished run with a manifest.json, found none; {remedy}.")
        if "paths" not in manifest or "recipe" not in manifest:
            raise RecipeError(
                f"{folder / 'manifest.json'}: this is no manifest of `tpsctl sample`. Name another folder."
            )
        if missing := [name for name in _NEEDED if name not in manifest]:
            raise RecipeError(
                f"{folder / 'manifest.json'}: has no {', '.join(missing)}, because an older version of tpsctl wrote "
                "it. Run the recipe again."
            )
        return cls(folder, manifest)

    @property
    def paths(self) -> list[dict[str, Any]]:
        """What the manifest says of every path."""
        return self.manifest["paths"]

    @property
    def is_molecule(self) -> bool:
        """False for the points of a model system."""
        return "position_nm" not in self.manifest["recipe"]["endpoints"]["start"]

    @property
    def n_dims(self) -> int:
        """Number of coordinates of a bead."""
        return 3 if self.is_molecule else len(self.manifest["recipe"]["endpoints"]["start"]["position_nm"])

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.folder / name).is_file()

    def table(self, name: str) -> dict[str, list[str]]:
        """The columns of a CSV file by name.

        Raises:
            OutputError: The file is missing or has no header.
        """
        file = self.folder / name
        try:
            with file.open(encoding="utf-8", newline="") as stream:
                header, *rows = csv.reader(stream)
        except (OSError, ValueError, csv.Error) as error:
            raise OutputError(f"{file}: cannot be read ({error or 'empty'}). Run the recipe again.") from None
        if any(len(row) != len(header) for row in rows):
            raise OutputError(f"{file}: a row is shorter or longer than the header. Run the recipe again.")
        return {column: [row[k] for row in rows] for k, column in enumerate(header)}

    @cached_property
    def images(self) -> dict[str, list[str]]:
        """The columns of images.csv."""
        return self.table("images.csv") if self.has("images.csv") else {}

    def per_image(self, column: str) -> Float[np.ndarray, "path image"] | None:
        """A numeric column of images.csv; None if it is not there."""
        return numbers(self.images[column]).reshape(len(self.paths), -1) if column in self.images else None

    def energies(self) -> dict[str, Float[np.ndarray, "path image"]]:
        """E - E(A) of every image by kind, kJ/mol."""
        found = {kind: self.per_image(f"energy_{kind}_above_start_kj_per_mol") for kind in ("raw", "minimized")}
        return {kind: energy for kind, energy in found.items() if energy is not None}

    @property
    def has_arc_length(self) -> bool:
        """Whether the distances along paths are arc lengths in mass-weighted coordinates."""
        return "arc_length_sqrt_amu_nm" in self.images

    def distances(self) -> Float[np.ndarray, "path image"]:
        """Distance of every image from A along its path: arc length, sqrt(amu) nm, or else the sum of gaps, nm."""
        length = self.per_image("arc_length_sqrt_amu_nm")
        if length is not None:
            return length
        gaps = self.per_image("gap_to_next_nm")
        if gaps is None:
            raise OutputError(f"{self.folder / 'images.csv'}: has no column gap_to_next_nm. Run the recipe again.")
        steps = np.nan_to_num(gaps[:, :-1])
        return np.concatenate([np.zeros((len(gaps), 1)), steps.cumsum(1)], 1)

    def dihedrals_deg(self) -> dict[str, Float[np.ndarray, "path image"]]:
        """The backbone dihedrals of every image by their columns, e.g. "phi_ala2", degrees."""
        names = [c.removesuffix("_deg") for c in self.images if c.startswith(("phi_", "psi_", "omega_"))]
        names = [name for name in names if not name.endswith("deviation")]
        found = {name: self.per_image(f"{name}_deg") for name in names}
        return {name: values for name, values in found.items() if values is not None}

    def stationary(self, path: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Images of the path of a route that are minima, and those that are saddles."""
        n_images = len(self.images["image"]) // len(self.paths)
        kinds = self.images["stationary"][path * n_images : (path + 1) * n_images]
        return tuple(np.flatnonzero([k == "minimum" for k in kinds]).tolist()), tuple(
            np.flatnonzero([k == "saddle" for k in kinds]).tolist()
        )

    @cached_property
    def topology(self) -> Topology:
        """Atoms and bonds as in topology.pdb or topology.cif.

        Raises:
            TpsctlError: The file is missing or cannot be read.
        """
        if not self.is_molecule:
            return dummy_topology(1)
        from tpsctl.endpoints.load import load_structure

        file = self.folder / ("topology.pdb" if self.has("topology.pdb") else "topology.cif")
        if not file.is_file():
            raise OutputError(f"{self.folder}: topology.pdb is missing. Run the recipe again.")
        return load_structure(file).topology

    def structures_angstrom(self) -> Float[np.ndarray, "path image atom 3"] | None:
        """Positions of all images, angstrom; None if the recipe asked for no trajectory files.

        Raises:
            OutputError: A file is missing or damaged.
        """
        if not self.paths or not (self.folder / "paths").is_dir():
            return None
        return np.stack([self._path(entry["path"]) for entry in self.paths])

    def _path(self, number: int) -> np.ndarray:
        stem = self.folder / "paths" / f"path_{number:04d}"
        readers = {".dcd": read_dcd, ".pdb": lambda f: read_pdb(f)[1], ".cif": lambda f: read_mmcif(f)[1]}
        for suffix, read in readers.items():
            file = stem.with_suffix(suffix)
            if file.is_file():
                try:
                    return read(file)
                except (ValueError, IndexError) as error:
                    raise OutputError(f"{file}: is damaged ({error}). Run the recipe again.") from None
        raise OutputError(f"{stem}.dcd: is missing. Run the recipe again.")

    def potential(self) -> Callable[[Tensor], Tensor] | None:
        """The potential of a model system, kJ/mol; None for a molecule, or if the prior has none or is gone."""
        if self.is_molecule:
            return None
        from tpsctl.recipe.sample import SampleRecipe
        from tpsctl.workflows.sample.assemble import make_prior, make_system

        try:
            recipe = SampleRecipe.model_validate_json(json.dumps(self.manifest["recipe"]))
            prior = make_prior(recipe.prior, make_system(recipe.endpoints), torch.device("cpu"))
        except (TpsctlError, ValueError):
            return None
        return None if prior.potential is None else prior.potential.energy

    @property
    def groups(self) -> Int[np.ndarray, " path"]:
        """The route or channel of every path, which has one color everywhere; 0 where nothing is told apart."""
        if "routes" in self.manifest:
            return np.arange(len(self.paths))
        return np.array([entry.get("channel") or 0 for entry in self.paths], dtype=int)

    @property
    def valid(self) -> list[bool]:
        """Whether every path passed the gate."""
        return [entry["gate"] == "valid" for entry in self.paths]


def numbers(cells: list[str]) -> Float[np.ndarray, " row"]:
    """Cells of a table as numbers; an empty one is NaN."""
    return np.array([float(cell) if cell else np.nan for cell in cells])


def text_of(values: Mapping[str, Any], key: str) -> str:
    """A value of the manifest as text, "-" if it is unknown."""
    value = values.get(key)
    return "-" if value is None else str(value)
