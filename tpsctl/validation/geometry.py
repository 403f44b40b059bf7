"""The geometry gate, which checks whether every image is a possible structure of the molecule.

The gate comes before any energy, because a minimizer hides the faults that the gate finds: an inverted center relaxes
into the wrong stereoisomer with a plausible energy. Everything is compared with the two ends, for which the user
vouches, so an unusual but real feature of an end does not count as a fault of the path.

The checks of every image are: finite positions; bond lengths; clashes of atoms more than two bonds apart; handedness
of stereo centers (chirality); order of equivalent neighbors around a center, such as the hydrogens of CH2, CH3 and NH3
(winding); peptide omega; jump to the next image. Images are marked, never dropped. Beads that are not atoms (C-alpha
chains) are not checked for handedness, winding and omega; model systems are checked for finite positions and jumps.
"""

from dataclasses import dataclass
from itertools import compress

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.errors import ValidationError
from tpsctl.molecule.geometry import rmsd
from tpsctl.molecule.symmetry import StereoCenters, equivalence_classes, stereo_centers
from tpsctl.molecule.topology import Topology
from tpsctl.validation.checks import BondCheck, CenterCheck, Check, ClashCheck, OmegaCheck, are_beads, omegas

JUMP_RATIO = 10.0
"""Largest gap to the next image, as a multiple of the mean gap of the path; a larger gap counts as a jump."""

CHECKS = ("finite", "bonds", "clashes", "chirality", "winding", "omega", "jump")
"""The names of all checks, in the order in which faults are reported."""


@dataclass(frozen=True)
class GateReport:
    """Result of the geometry gate for a batch of paths.

    Attributes:
        passes: Whether each image passes, by check, for the checks that apply.
        measured: The quantities of the checks that apply, per image: `bond_deviation` (relative), `closest_contact`
            (ratio to the allowed distance), `handedness` and `winding` (least determinant), `omega_deviation_deg`,
            `gap_ratio` (gap to the next image over the path's mean gap; 0 at the last image).
        faults: For each path the faults at the worst image of every failed check; "" if there are none.
    """

    passes: dict[str, Bool[Tensor, "path image"]]
    measured: dict[str, Float[Tensor, "path image"]]
    faults: tuple[str, ...]

    @property
    def image_passes(self) -> Bool[Tensor, "path image"]:
        """Images without any fault."""
        return torch.stack(list(self.passes.values())).all(0)

    @property
    def path_passes(self) -> Bool[Tensor, " path"]:
        """Paths of which every image passes."""
        return self.image_passes.all(1)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """For each path "valid" or its faults."""
        return tuple(fault or "valid" for fault in self.faults)

    @property
    def columns(self) -> dict[str, Tensor]:
        """All columns of a table with one row per image: `valid`, `ok_<check>`, and the measured quantities."""
        return {"valid": self.image_passes, **{f"ok_{name}": ok for name, ok in self.passes.items()}, **self.measured}


class GeometryGate:
    """The gate for one molecule, or, without a topology, for a model system.

    Args:
        topology: Bonds and elements; None for a model system.
        ends: Both ends, or all of a set of ends, nm, with which every check compares.

    Raises:
        ValidationError: The ends differ in the handedness of a center, so no path between them can pass.
    """

    def __init__(self, topology: Topology | None, ends: Float[Tensor, "end bead dim"]) -> None:
        self._ends = ends.detach().cpu().to(torch.float64)
        self._is_molecule = topology is not None and ends.shape[-1] == 3 and topology.n_atoms > 2
        self._checks = _checks(topology, self._ends) if topology is not None and self._is_molecule else []

    def check(self, paths: Float[Tensor, "path image bead dim"]) -> GateReport:
        """Check every image of every path (nm)."""
        shape = paths.shape[:2]
        x = paths.detach().cpu().to(torch.float64)
        finite = torch.isfinite(x).flatten(2).all(-1)
        passes, measured = {"finite": finite}, {}
        faults = [
            [f"finite at image {int(row.int().argmin())}: position not finite"] * (not row.all()) for row in finite
        ]
        # An image that is not finite fails this check only; the other checks are given the start in its place.
        x = torch.where(finite[..., None, None], x, self._ends[0])
        for check in self._checks:
            value, which = (v.reshape(shape) for v in check.measure(x.flatten(0, 1)))
            ok = check.passes(value)
            passes[check.name], measured[check.column] = ok, value
            for k in (~ok.all(1)).nonzero().flatten().tolist():
                faults[k].append(_worst(check, ok[k], value[k], which[k]))
        ratio = self._gap_ratio(x)
        passes["jump"], measured["gap_ratio"] = ratio <= JUMP_RATIO, ratio
        for k in (ratio > JUMP_RATIO).any(1).nonzero().flatten().tolist():
            faults[k].append(_jump(ratio[k]))
        return GateReport(passes, measured, tuple("; ".join(found) for found in faults))

    def faults(self, paths: Float[Tensor, "path image bead dim"]) -> list[str]:
        """The faults of each path (nm); "" for a path without faults."""
        return list(self.check(paths).faults)

    def _gap_ratio(self, x: Float[Tensor, "path image bead dim"]) -> Float[Tensor, "path image"]:
        """Gap to the next image over the mean gap of the path; the gap of molecules is the RMSD after superposition."""
        here, there = x[:, :-1], x[:, 1:]
        gap = rmsd(here, there) if self._is_molecule else (there - here).flatten(2).norm(dim=-1)
        ratio = gap / gap.mean(1, keepdim=True).clamp_min(torch.finfo(gap.dtype).tiny)
        return torch.nn.functional.pad(ratio, (0, 1))


def _checks(topology: Topology, ends: Float[Tensor, "end bead 3"]) -> list[Check]:
    """The checks that apply to this molecule."""
    checks: list[Check] = [ClashCheck(topology, ends)]
    if topology.bonds:
        checks.insert(0, BondCheck(topology, ends))
    if are_beads(topology, ends):
        return checks
    for name, column, centers in zip(
        ("chirality", "winding"), ("handedness", "winding"), _centers(topology, ends), strict=True
    ):
        if centers.atoms:
            checks.append(CenterCheck(name, column, topology, centers, ends))
    if omegas(topology):
        omega = OmegaCheck(topology, ends)
        checks += [omega] if omega.applies else []
    return checks


def _centers(topology: Topology, ends: Float[Tensor, "end bead 3"]) -> tuple[StereoCenters, StereoCenters]:
    """The stereo centers whose neighbors are all distinct, and the centers that have equivalent neighbors."""
    centers = stereo_centers(topology, ends)
    handedness = centers.handedness(ends)
    for atom, of_atom in zip(centers.atoms, handedness.mT.tolist(), strict=True):
        if len(set(of_atom)) > 1:
            raise ValidationError(
                f"geometry gate: the ends differ in the handedness of {topology.atoms[atom].label}, so no path can "
                "keep it. Match the ends first, or replace the end with swapped chirality."
            )
    classes = equivalence_classes(topology)
    is_distinct = [len({classes[i] for i in around}) == len(around) for around in centers.neighbors]
    return _some(centers, is_distinct), _some(centers, [not distinct for distinct in is_distinct])


def _some(centers: StereoCenters, keep: list[bool]) -> StereoCenters:
    return StereoCenters(tuple(compress(centers.atoms, keep)), tuple(compress(centers.neighbors, keep)))


def _worst(check: Check, ok: Tensor, value: Tensor, which: Tensor) -> str:
    """The fault of the worst image of a path and the number of images that fail."""
    failing = (~ok).nonzero().flatten()
    low_is_bad = bool(check.passes(torch.tensor([torch.inf], dtype=value.dtype)))
    bad = value[failing]
    image = int(failing[bad.argmin() if low_is_bad else bad.argmax()])
    return _told(check.name, image, len(failing), check.describe(int(which[image]), float(value[image])))


def _jump(ratio: Float[Tensor, " image"]) -> str:
    image = int(ratio.argmax())
    text = f"gap to the next image is {float(ratio[image]):.0f} times the mean, expected at most {JUMP_RATIO:.0f}"
    return _told("jump", image, int((ratio > JUMP_RATIO).sum()), text)


def _told(name: str, image: int, count: int, text: str) -> str:
    others = f" (and {count - 1} more)" if count > 1 else ""
    return f"{name} at image {image}{others}: {text}"
