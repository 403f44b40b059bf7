"""The published checkpoints with golden inputs and outputs; tests that need them are skipped where they are absent."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tpsctl.prior.network.graph_transformer import Beads
from tpsctl.prior.published.layouts import read_published
from tpsctl.prior.published.model import Model, build
from tpsctl.prior.published.prior import PublishedPrior

FILES = {
    "chignolin_diff": "model-best.pt",
    "chignolin_flow": "model-best-flow.pt",
    "tetra_diff": "model-best.pt",
    "tetra_flow": "model-best-flow.pt",
}
BOLTZMANN_PUBLISHED = 0.83144626181  # amu A^2 / ps^2 / K, the digits of the published code


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Data made by running the published code; TPSCTL_SHARED says where the folder above it is."""
    shared = Path(os.environ.get("TPSCTL_SHARED", Path(__file__).parents[4] / "shared"))
    if not (shared / "golden").is_dir():
        pytest.skip(f"no golden data in {shared}/golden: set TPSCTL_SHARED to the folder that holds golden/")
    return shared / "golden"


@dataclass
class Case:
    """One protein and kind of the golden data."""

    name: str
    path: Path
    meta: dict[str, Any]
    arrays: Any
    model: Model

    def prior(self, dtype: torch.dtype) -> PublishedPrior:
        """The published treatment: padding along, derivative with respect to centered positions."""
        beads = None
        if "z" in self.arrays:
            types = torch.tensor(self.arrays["z"]).long()
            beads = Beads(torch.arange(len(types)), types, types != 0)
        return build(self.model, compat=True, beads=beads).to(device="cpu", dtype=dtype)

    def lengths(self) -> list[tuple[float, str]]:
        """Network units in Angstrom that there is data for, with the tag in the arrays' names."""
        every = [(float(self.arrays["norm_factor"]), ""), (1.0, "_nf1"), (3.7, "_nf3p7")]
        return [(length, tag) for length, tag in every if f"model_t0.5{tag}_f64" in self.arrays]

    def get(self, name: str, dtype: torch.dtype) -> np.ndarray | None:
        key = f"{name}_{'f64' if dtype is torch.float64 else 'f32'}"
        return self.arrays.get(key)

    def time(self, latent: float) -> float:
        """tpsctl's t of a published latent time."""
        return latent / (1000 if "diff" in self.name else 10)

    def kt(self, length: float) -> float:
        """kT in the published unit of energy: amu/ps^2 times the square of the network unit."""
        return BOLTZMANN_PUBLISHED * self.meta["temp_K"] / length**2


@pytest.fixture(scope="session", params=sorted(FILES))
def case(request, golden_folder) -> Case:
    return load_case(golden_folder, request.param)


def load_case(folder: Path, name: str) -> Case:
    path = folder / name / FILES[name]
    arrays = np.load(folder / name / "golden.npz")
    meta = json.loads((folder / name / "meta.json").read_text())
    return Case(name, path, meta, {key: arrays[key] for key in arrays}, read_published(path))
