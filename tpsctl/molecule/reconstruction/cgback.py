"""The back-end CGBack: a diffusion model draws the heavy atoms of every residue, given the C-alpha atoms around it.

CGBack then draws anew the residues that clash, that pierce a ring, or whose center has the wrong handedness. The small
network that its package ships (3.8 MB, two layers) is used for both. CGBack is meant as a program; it is driven here as
a library with its files replaced by arrays, and the random generators that it seeds get their states back.
Source: Ugarte La Torre and Sugita, CGBack (2025), package cgback.
"""

import logging
import random
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tpsctl.errors import ValidationError
from tpsctl.molecule.reconstruction.base import HeavyAtoms, Reconstructor
from tpsctl.units import NM_PER_ANGSTROM

MOST_REPAIRS = 30
"""Most rounds in which CGBack draws faulty residues anew; those that are left are found by the gate."""


class CgbackReconstructor(Reconstructor):
    """Reconstructs with cgback, in about 10 s for 20 residues on one core."""

    name = "cgback"
    package = "cgback"

    def reconstruct(self, residues: Sequence[str], x: np.ndarray) -> HeavyAtoms:
        from cgback import parser

        center = x.mean(0)
        with _own_torch_and_random_numbers(), _own_log_handlers():
            done = _run(_system(residues, (x - center) / NM_PER_ANGSTROM), self.seed)
        found: HeavyAtoms = []
        for residue, rows in zip(residues, done.heavy_coordinates.astype(float), strict=True):
            names = parser.HEAVY_ATOM_TYPE_DECODER[parser.RESIDUE_TYPE_ENCODER[residue]]
            positions = rows[: len(names)] * NM_PER_ANGSTROM + center
            found.append({name: p for name, p in zip(names, positions, strict=True) if np.isfinite(p).all()})
            if len(found[-1]) < len(names) - 1:  # the second oxygen of a C terminus is not drawn
                raise ValidationError(f"cgback: got no finite position for an atom of a residue {residue}.")
        return found


def _system(residues: Sequence[str], x_angstrom: np.ndarray) -> Any:
    """CGBack's description of one chain of which only the C-alpha atoms are known."""
    from cgback import parser
    from cgback.system import System

    n = len(residues)
    heavy = np.full((n, 15, 3), np.nan, np.float32)
    heavy[:, parser.BACKBONE_ATOM_TYPE_ENCODER["CA"]] = x_angstrom
    chain = np.zeros(n, np.uint32)
    return System(
        chain_ids=chain,
        residue_types=np.array([parser.RESIDUE_TYPE_ENCODER[residue] for residue in residues], np.uint8),
        loc_types=parser.determine_loc_types(chain),
        heavy_coordinates=heavy,
        hydrogen_coordinates=np.full((n, 16, 3), np.nan, np.float32),
        heavy_mask=np.ones(n, bool),
        hydrogen_mask=np.ones(n, bool),
    )


def _run(system: Any, seed: int) -> Any:
    """Let CGBack do its work on a system, and return the system that it would write to a file."""
    from cgback.backmapper import Backmapper

    class InMemory(Backmapper):
        def initialize_system(self) -> Any:
            return system

        def write_system(self, system: Any, suffix: str = "") -> None:
            self.written = system

    options = Namespace(
        INPUT="(beads)", output="(memory)", model="S", num_timesteps=None, device="cpu", batch=1024, seed=seed,
        keep=False, energy_minimization=False, ignore_existing=False, verbose=False, debug=False, diffuser="DDPM",
        fix_structure_model="S", fix_structure_max_iterations=MOST_REPAIRS, skip_sampling=False,
        skip_add_hydrogen=False, skip_fix_structure=False, skip_fix_structure_clashes=False,
    )  # fmt: skip
    mapper = InMemory(options)
    try:
        mapper.run()
    except SystemExit:
        raise ValidationError("cgback: it gave up on a chain; its package may be damaged. Install it again.") from None
    return mapper.written


@contextmanager
def _own_torch_and_random_numbers() -> Iterator[None]:
    """Let CGBack work in single precision, and give the generators that it seeds their states back afterwards."""
    import torch

    plain, numbers, precision = random.getstate(), np.random.get_state(), torch.get_default_dtype()  # noqa: NPY002
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_default_dtype(precision)
        random.setstate(plain)
        np.random.set_state(numbers)  # noqa: NPY002


@contextmanager
def _own_log_handlers() -> Iterator[None]:
    """Remove the log handlers that CGBack adds each time, and keep its warnings about unrepaired residues silent.

    The gate finds these residues and names them.
    """
    logger = logging.getLogger("cgback.backmapper")
    before = list(logger.handlers)
    logger.disabled = True
    try:
        yield
    finally:
        logger.handlers[:] = before
        logger.disabled = False
