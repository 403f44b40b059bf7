"""`tpsctl inspect CHECKPOINT --logp STRUCTURE`: log-densities of structures under the prior in a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.endpoints.fit import bead_order, winding_order
from tpsctl.endpoints.load import load_structures
from tpsctl.errors import PriorError
from tpsctl.prior.densities import log_densities
from tpsctl.prior.network import NetworkPrior
from tpsctl.workflows.checkpoints import open_prior, read_model
from tpsctl.workflows.sample.assemble.diffusion_time import usable_times


def log_density_report(path: Path, structures: list[str], t: float | None, *, select: str = "all") -> dict[str, Any]:
    """Log-densities of structures, as JSON values.

    Args:
        path: The checkpoint.
        structures: Structure files with one frame or more; or points of a model potential, "x,y" in nm.
        t: Diffusion time; None for the smallest sound one of the checkpoint, or the smallest common one.
        select: MDTraj selection of the beads in the files.

    Raises:
        PriorError: The prior has no score at t, or the structures have not its beads.
        EndpointError: A file cannot be read, or is not of the prior's molecule.
    """
    about = read_model(path).description
    first = None if _is_point(structures[0]) else load_structures(structures[0], select=select)[0].topology
    prior = open_prior(path, first).to(device="cpu", dtype=torch.float64)
    if t is None:
        t = (about.facts.get("diffusion_times") or usable_times(prior))[0]
    rows: list[dict[str, Any]] = []
    found = None
    for structure in structures:
        sources, x = _configurations(structure, prior, t, select)
        found = log_densities(prior, x, t)
        relative = [None] * len(x) if found.relative is None else found.relative.tolist()
        rows += [
            {"structure": source, "relative_nats": a, "normalized_nats": b, "prior_mismatch_nats": c}
            for source, a, b, c in zip(
                sources, relative, found.normalized.tolist(), found.prior_mismatch.tolist(), strict=True
            )
        ]
    assert found is not None
    return {
        "diffusion_time": t,
        "noise_width_nm": found.width_nm,
        "coordinates": found.coordinates,
        "unit": f"nats; normalized: of a density in nm^-{found.coordinates}, relative: up to a constant",
        "structures": rows,
    }


def _is_point(text: str) -> bool:
    try:
        [float(part) for part in text.split(",")]
    except ValueError:
        return False
    return not Path(text).exists()


def _configurations(text: str, prior: NetworkPrior, t: float, select: str) -> tuple[list[str], Tensor]:
    """Names and positions (structure, bead, dim), nm, in the prior's order of beads."""
    if _is_point(text):
        sources, x = [text], torch.tensor([[[float(part) for part in text.split(",")]]], dtype=torch.float64)
    else:
        frames = load_structures(text, select=select)
        sources, x = [frame.source for frame in frames], torch.stack([frame.x.double() for frame in frames])
        if prior.topology is not None:
            order = bead_order(frames[0].topology, prior.topology, name=f'prior "{prior.kind}"')
            x = x[:, winding_order(frames[0].topology, x[:1].expand(2, -1, -1), prior.at(t), order)]
    if x.shape[1:] != (prior.n_beads, prior.n_dims):
        raise PriorError(
            f"{text}: has {x.shape[1]} beads in {x.shape[2]} dimensions, the prior is for {prior.n_beads} in "
            f"{prior.n_dims}. Give structures of its molecule, choose beads with --select, or give a point x,y in nm."
        )
    return sources, x
