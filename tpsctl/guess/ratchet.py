"""Trajectories in the prior's score that a ratchet keeps from turning back.

A path that is minimized keeps the mechanism of its guess, so a guess should already go the way that dynamics goes.
From one end, Langevin dynamics runs on the energy -log p, in units of kT and of a thermal step per time step. Progress
is the distance of the map of contacts from that of the other end,

    z(x) = sum_ij [c(r_ij) - c(r_ij^B)]^2 / sum_ij c(r_ij^B)^2 ,        c(r) = 1 / (1 + (r / r0)^6) ,

over pairs of beads at least three bonds apart. A bias k/2 (z - z_min)^2 acts only while z is above the lowest value
z_min that it had so far: steps forward are free, and the way forward is found by thermal motion alone. A weak wall
keeps the pairs from coming closer than four fifths of the least distance in the two ends, where a trained prior knows
nothing. A trajectory has arrived when a tenth of its first z is left. Its images are equally spaced in time from the
moment when it last was near the start.

Source: ratcheted dynamics: Marchi and Ballone, J. Chem. Phys. 110 (1999) 3697; with the map of contacts: Camilloni,
Broglia and Tiana, J. Chem. Phys. 134 (2011) 045105; as guesses that an Onsager-Machlup action judges: a Beccara,
Fant and Faccioli, Phys. Rev. Lett. 114 (2015) 098103. The integrator is BAOAB: Leimkuhler and Matthews, Appl. Math.
Res. Express 2013, 34.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PathError
from tpsctl.guess.base import Guess, blocks_of, fix_gauge, normal
from tpsctl.molecule.contacts import distant_pairs
from tpsctl.molecule.geometry import superpose
from tpsctl.molecule.topology import Topology

ScoreFunction = Callable[[Tensor], Tensor]
"""Configurations (batch, bead, 3), nm -> score, 1/nm."""

ROWS = 8
"""Trajectories that run at the same time; a run of fewer has idle rows, so that no path depends on the others."""
FRICTION_STEP = 0.02
"""Friction times the time step."""
LARGEST_STEP_NM, STIFF_SHARE = 0.003, 0.4
"""Largest thermal step, and the largest product of the step with the frequency of the stiffest motion."""
RANGE = 1.3
"""r0 in mean distances of the pairs in the end."""
ARRIVED, LEFT = 0.1, 0.9
"""Shares of the first z at which a trajectory has arrived, and above which it still is at its start."""
WALL_KT_PER_NM2, WALL_SHARE = 8000.0, 0.8
"""Strength of the wall, and where it begins, in least distances of the pairs in the two ends."""
RECORD = 5
"""Steps between frames."""


class RatchetGuess(Guess):
    """Ratcheted dynamics in a score from the first end to the other (see the module).

    Args:
        score: The score; it may compute on any device.
        topology: Which beads are bonded.
        strength_kt: Strength k of the ratchet, kT.
        range_nm: Distance r0 at which a contact is half formed, nm; None for 1.3 mean distances in the other end.
        steps: Most steps of a trajectory.
        device: Where the score computes.

    Raises:
        PathError: No two beads are three bonds apart.
    """

    together = ROWS

    def __init__(
        self,
        score: ScoreFunction,
        topology: Topology,
        *,
        strength_kt: float = 2500.0,
        range_nm: float | None = None,
        steps: int = 6000,
        device: torch.device | str = "cpu",
    ) -> None:
        self._score, self._strength, self._range, self._steps = score, strength_kt, range_nm, steps
        self._device = torch.device(device)
        self._pairs = torch.tensor(distant_pairs(topology, 3)).reshape(-1, 2).T
        if not self._pairs.numel():
            raise PathError(
                'path.guess.kind: "ratchet" measures progress by pairs of beads that are at least three bonds apart, '
                "and this molecule has none. Use idpp or torsion."
            )

    def draw_all(
        self, ends: Tensor, images: int, generators: Sequence[torch.Generator], indices: Sequence[int]
    ) -> list[Tensor]:
        place = {number: k for k, number in enumerate(indices)}
        drawn: dict[int, Tensor] = {}
        for block in blocks_of(indices, ROWS):
            rows = {number % ROWS: place[number] for number in block}
            idle = place[block[0]]
            trajectories = self._run(
                ends[[rows.get(row, idle) for row in range(ROWS)]],
                [generators[rows[row]] if row in rows else None for row in range(ROWS)],
            )
            drawn |= {k: _images(trajectories[row], ends[k], images) for row, k in rows.items()}
        return [drawn[k] for k in range(len(indices))]

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        return self.draw_all(ends[None], images, [generator], [index])[0]

    def _run(self, ends: Tensor, generators: Sequence[torch.Generator | None]) -> list[Tensor]:
        """The frames (frame, bead, 3), nm, of every row between leaving the start and arriving, on the CPU."""
        x, goal = ends.to(self._device).unbind(1)
        progress = ContactProgress(self._pairs.to(self._device), goal, self._range)
        i, j = self._pairs
        wall = (WALL_SHARE * (ends[:, :, i] - ends[:, :, j]).norm(dim=-1).amin((1, 2))).to(x)[:, None]
        step = (STIFF_SHARE / stiffness(self._score, x).sqrt()).clamp_max(LARGEST_STEP_NM)[:, None, None]
        zero = torch.zeros(x.shape[1:], dtype=torch.float64)

        def noise() -> Tensor:
            return torch.stack([zero if g is None else normal(x.shape[1:], g, zero) for g in generators]).to(x)

        first = lowest = progress.at(x)

        def force(x: Tensor) -> Tensor:
            nonlocal lowest
            z, slope, repulsion = progress.with_slopes(x, wall)
            behind = (z - lowest).clamp_min(0)
            lowest = torch.minimum(lowest, z)
            return self._score(x) - self._strength * behind[:, None, None] * slope + WALL_KT_PER_NM2 * repulsion

        frames, seen = [x], [first]
        for number, now in enumerate(islice(langevin(force, x, noise, step), self._steps), 1):
            if number % RECORD == 0:
                frames.append(now)
                seen.append(progress.at(now))
                if bool((lowest <= ARRIVED * first).logical_or(~now.isfinite().all(-1).all(-1)).all()):
                    break
        whole, z = torch.stack(frames, 1).cpu(), torch.stack(seen, 1).cpu()
        return [_reactive(of_row, z_row) for of_row, z_row in zip(whole, z, strict=True)]


def langevin(
    force: ScoreFunction, x: Float[Tensor, "row bead 3"], noise: Callable[[], Tensor], step: Tensor | float
) -> Iterator[Tensor]:
    """Positions, nm, after every step of Langevin dynamics with mass 1 and kT 1, by BAOAB.

    Args:
        force: Force in kT/nm at positions; called once per step.
        x: Where it begins, nm.
        noise: Standard normal numbers in the shape of x; the first ones are the velocities.
        step: Time step, which is the thermal displacement in one step, nm; a number or one for each row.
    """
    keep = math.exp(-FRICTION_STEP)
    v, f = noise(), force(x)
    while True:
        x = x + step / 2 * (v + step / 2 * f)
        v = keep * (v + step / 2 * f) + math.sqrt(1 - keep**2) * noise()
        x = x + step / 2 * v
        f = force(x)
        v = v + step / 2 * f
        yield x


class ContactProgress:
    """How far the contacts of configurations are from those of the other end (see the module).

    Args:
        pairs: Pairs of beads (2, pair).
        goal: The other end of every row (row, bead, 3), nm.
        range_nm: Distance r0, nm; None for 1.3 mean distances of the pairs in the other end.
    """

    def __init__(self, pairs: Tensor, goal: Float[Tensor, "row bead 3"], range_nm: float | None = None) -> None:
        self._i, self._j = pairs
        distances = (goal[:, self._i] - goal[:, self._j]).norm(dim=-1)
        mean = distances.mean(1, keepdim=True)
        self.range_nm = RANGE * mean if range_nm is None else torch.full_like(mean, range_nm)
        self._goal = self._formed(distances)
        self._norm = self._goal.square().sum(1)

    def at(self, x: Float[Tensor, "row bead 3"]) -> Float[Tensor, " row"]:
        """z of configurations, nm: 0 at the other end."""
        off = self._formed((x[:, self._i] - x[:, self._j]).norm(dim=-1)) - self._goal
        return off.square().sum(1) / self._norm

    def with_slopes(self, x: Float[Tensor, "row bead 3"], wall_nm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z, its gradient, 1/nm, and by how much pairs closer than `wall_nm` (row, 1) are too close, nm, as vectors."""
        apart = x[:, self._i] - x[:, self._j]
        r = apart.norm(dim=-1).clamp_min(1e-6)
        power = (r / self.range_nm) ** 6
        formed = 1 / (1 + power)
        off = formed - self._goal
        slope = -12 * off * formed.square() * power / r / self._norm[:, None]
        direction = apart / r[..., None]
        zero = torch.zeros_like(x)

        def spread(along: Tensor) -> Tensor:
            pulled = along[..., None] * direction
            return zero.index_add(1, self._i, pulled).index_add(1, self._j, -pulled)

        return off.square().sum(1) / self._norm, spread(slope), spread((wall_nm - r).clamp_min(0))

    def _formed(self, r: Tensor) -> Tensor:
        return 1 / (1 + (r / self.range_nm) ** 6)


def stiffness(score: ScoreFunction, x: Float[Tensor, "row bead 3"], iterations: int = 12) -> Float[Tensor, " row"]:
    """The largest curvature of -log p, 1/nm^2, at each of these configurations, by power iteration; at least 1."""
    spread = 1e-4
    v = normal(x.shape[1:], torch.Generator().manual_seed(0), x).expand_as(x)
    middle, largest = score(x), x.new_ones(len(x))
    for _ in range(iterations):
        v = v / v.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-30)
        v = (middle - score(x + spread * v)) / spread
        largest = v.flatten(1).norm(dim=1)
    return largest.nan_to_num(nan=1.0).clamp_min(1)


def _reactive(frames: Tensor, z: Tensor) -> Tensor:
    """The frames from where a trajectory was last near its start to where it was closest to the other end."""
    known = frames.isfinite().all((1, 2))
    if not bool(known.all()):
        last = max(int((~known).nonzero()[0]), 1)
        frames, z = frames[:last], z[:last]
    arrived = (z <= ARRIVED * z[0]).nonzero()
    last = int(arrived[0]) if len(arrived) else int(z.argmin())
    first = int((z[: last + 1] >= LEFT * z[0]).nonzero()[-1])
    return frames[first : last + 1]


def _images(frames: Tensor, ends: Tensor, images: int) -> Tensor:
    """Images at equal times along the frames, each superposed on the one before it, between the two ends."""
    frames = frames.to(ends)
    where = torch.linspace(0, len(frames) - 1, images - 2).round().long()
    path = [ends[0]]
    for frame in frames[where]:
        path.append(superpose(frame[None], path[-1][None])[0])
    return fix_gauge(torch.stack([*path, ends[1]]), ends)
