"""infretis: a load directory with one numbered folder per path, for its external engines."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import OutputError
from tpsctl.files import write_text
from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.output.exports.trr import write_trr


@dataclass(frozen=True)
class InfretisExport(Export):
    """A load directory.

    Attributes:
        order: Label of the backbone dihedral that is the order parameter, e.g. "phi ALA2", in rad; None for the
            distance covered along the path, from 0 to 1.
    """

    order: str | None = None
    name = "infretis"
    help = (
        "Set load_dir to this folder (simulation.load_dir). Each path has its order parameter in order.txt, its frames "
        "in traj.txt and accepted/. The order parameter of infretis.toml must be the one of order.txt: the dihedral "
        "named with --order, in rad (without it, the distance covered along the path, which infretis does not know)."
    )

    def write(self, folder: Path, path: ExportedPath) -> None:
        home = folder / str(path.number)
        trajectory = f"{path.stem}.trr"
        (home / "accepted").mkdir(parents=True)
        times = np.array(path.times_ps, dtype=float)
        write_trr(home / "accepted" / trajectory, path.x.numpy(), path.velocities.numpy(), times)
        order = self._order(path).tolist()
        head = "# Cycle: 0, status: ACC"
        lines = [head, "#     Time       Orderp", *(f"{i:>10d} {value:>12.6f}" for i, value in enumerate(order)), ""]
        write_text(home / "order.txt", "\n".join(lines))
        rows = [f"{i:>10d}  {trajectory:>20s}  {i:>10d}  {1:>5d}" for i in range(len(order))]
        lines = [head, "#     Step              Filename       index    vel", *rows, ""]
        write_text(home / "traj.txt", "\n".join(lines))

    def _order(self, path: ExportedPath) -> Float[Tensor, " image"]:
        if self.order is None:
            covered = torch.nn.functional.pad(rmsd(path.x[:-1], path.x[1:]).cumsum(0), (1, 0))
            return covered / covered[-1]
        named = dict(path.topology.backbone_dihedrals)
        if self.order not in named:
            known = ", ".join(named) or "none"
            raise OutputError(f"--order {self.order}: no such dihedral. This molecule has: {known}.")
        angle = dihedral(path.x, torch.tensor([named[self.order]]))[:, 0]
        return angle - 2 * math.pi * (angle > math.pi)
