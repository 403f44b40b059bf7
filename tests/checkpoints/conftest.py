"""The published checkpoints with golden inputs and outputs; tests that need them are skipped where they are absent.

Every result is compared with the published code's float64 one: within `BAR`, or, where the networks (random weights,
saturated in Angstrom) do not allow that, within what the published code's own rounding is (`Case.published_rounding`):
a golden number is not known better. Results that are chaotic may differ by twice what the last digit of positions,
weights and layers' outputs decides (`Case.last_digit`).
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tpsctl.checkpoints.architectures.graph_transformer import graph_transformer
from tpsctl.checkpoints.architectures.in_network_units import prior_of
from tpsctl.checkpoints.layouts.registry import read_published
from tpsctl.checkpoints.model import Model
from tpsctl.networks.graph_transformer import attention, frozen
from tpsctl.networks.graph_transformer.network import Beads
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import NetworkPrior

FILES = {
    "chignolin_diff": "model-best.pt",
    "chignolin_flow": "model-best-flow.pt",
    "tetra_diff": "model-best.pt",
    "tetra_flow": "model-best-flow.pt",
}
LAYERS = [(attention, name) for name in ("standardized", "softmax", "tilted", "to_heads", "from_heads")]
LAYERS += [(frozen, name) for name in ("standardized", "gated", "gelu")]
"""Layers that are functions, where the network looks them up."""
BAR = {torch.float64: 1e-12, torch.float32: 2e-5}
BOLTZMANN_PUBLISHED = 0.83144626181  # amu A^2 / ps^2 / K, the digits of the published code


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Data made by running the published code; TPSCTL_SHARED says where the folder above it is."""
    shared = Path(os.environ.get("TPSCTL_SHARED", Path(__file__).parents[3] / "shared"))
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

    def prior(self, dtype: torch.dtype) -> NetworkPrior:
        """The published treatment: padding along, derivative with respect to centered positions."""
        network = graph_transformer(self.model)
        beads = Beads(torch.arange(network.sizes.slots))
        if "z" in self.arrays:
            types = torch.tensor(self.arrays["z"]).long()
            beads = Beads(torch.arange(len(types)), types, types != 0)
        field = GraphTransformerField(network, beads, compat=True)
        return prior_of(self.model, field).to(device="cpu", dtype=dtype)

    def lengths(self) -> list[tuple[float, str]]:
        """Network units in Angstrom that there is data for, with the tag in the arrays' names."""
        every = [(float(self.arrays["norm_factor"]), ""), (1.0, "_nf1"), (3.7, "_nf3p7")]
        return [(length, tag) for length, tag in every if f"model_t0.5{tag}_f64" in self.arrays]

    def check(
        self,
        name: str,
        dtype: torch.dtype,
        compute: Callable[..., Any],
        *inputs: torch.Tensor,
        bar: float | None = None,
        part: Callable[[np.ndarray], np.ndarray] = lambda array: array,
        evaluations: int = 1,
    ) -> None:
        """compute(prior, *inputs) in a precision against (a part of) the float64 array of this name.

        Args:
            evaluations: How often compute rounds anew, i.e. evaluates the network one after the other.
        """
        expected = part(self.arrays[f"{name}_f64"])
        bar = max(bar or BAR[dtype], self.published_rounding(name, dtype, part))
        error = relative(compute(self.prior(dtype), *(x.to(dtype) for x in inputs)), expected)
        if error > bar:
            decided = self.last_digit(dtype, compute, *inputs)
            no_digit_left = decided > 0.1  # chaotic
            allowed = 2 * evaluations * decided
            assert no_digit_left or error <= allowed, f"{self.name} {name}: {error:.2g} > {bar}, {allowed:.2g}"

    def published_rounding(
        self, name: str, dtype: torch.dtype, part: Callable[[np.ndarray], np.ndarray] = lambda array: array
    ) -> float:
        """Error of the published code's own result in a precision.

        In float32 it is there to be seen. In float64 it is that, smaller by the ratio of the precisions, 2^-29: the
        same operations round. Twice that, as signs are random. (Where float32 has no digit left, this says nothing.)
        """
        if f"{name}_f32" not in self.arrays:
            return 0.0
        single = relative(part(self.arrays[f"{name}_f32"]), part(self.arrays[f"{name}_f64"]))
        return single if dtype == torch.float32 else 2 * single * 2.0**-29

    def last_digit(self, dtype: torch.dtype, compute: Callable[..., Any], *inputs: torch.Tensor) -> float:
        """Largest of four changes of the float64 result as all it is made from moves by its last digit in dtype.

        That is positions, weights, and what layers hand on.
        """
        generator = torch.Generator().manual_seed(0)

        def moved(x: torch.Tensor) -> torch.Tensor:
            ends = torch.where(torch.rand(x.shape, generator=generator) < 0.5, -torch.inf, torch.inf)
            return torch.nextafter(x.to(dtype), ends.to(dtype)).double()

        def handed_on(out: torch.Tensor) -> torch.Tensor:
            return out + (moved(out.detach()) - out.detach())

        exact, changes = compute(self.prior(torch.float64), *(x.double() for x in inputs)), []
        for _ in range(4):
            prior = self.prior(torch.float64)
            with torch.no_grad():
                for weight in prior.field.network.parameters():
                    weight.copy_(moved(weight))
            for layer in prior.field.network.modules():
                layer.register_forward_hook(lambda _, inputs, out: handed_on(out))
            with pytest.MonkeyPatch.context() as patch:
                for module, name in LAYERS:
                    layer = getattr(module, name)
                    patch.setattr(module, name, lambda *inputs, layer=layer: handed_on(layer(*inputs)))
                changes.append(relative(compute(prior, *(moved(x) for x in inputs)), exact))
        return max(changes)

    def positions(self, length: float, name: str = "x_angstrom") -> torch.Tensor:
        """Golden positions in network units of a length in Angstrom."""
        return torch.tensor(self.arrays[name], dtype=torch.float64) / length

    def time(self, latent: float) -> float:
        """tpsctl's t of a published latent time."""
        return latent / (1000 if "diff" in self.name else 10)

    def kt(self, length: float) -> float:
        """kT in the published unit of energy: amu/ps^2 times the square of the network unit."""
        return BOLTZMANN_PUBLISHED * self.meta["temp_K"] / length**2


def relative(found: Any, expected: Any) -> float:
    """Largest deviation relative to the largest value."""
    found, expected = (np.asarray(v, dtype=np.float64) for v in (found, expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="session", params=sorted(FILES))
def case(request, golden_folder) -> Case:
    return load_case(golden_folder, request.param)


def load_case(folder: Path, name: str) -> Case:
    path = folder / name / FILES[name]
    arrays = np.load(folder / name / "golden.npz")
    meta = json.loads((folder / name / "meta.json").read_text())
    return Case(name, path, meta, {key: arrays[key] for key in arrays}, read_published(path))
