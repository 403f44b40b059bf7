"""The string method: images move along the score across the path, and are spread evenly along it after every step.

In scaled coordinates z = x / sqrt(D) with drift b = sqrt(D) s and the unit tangent t of the path (without rigid motions
of the molecule, along which no score pulls),

    z_i <- z_i + 0.7 (|H_i| + c_i)^-1 b'_i ,     b' = b - (b . t) t ,     then images at equal distances |dz| ,

where H = -sqrt(D) J sqrt(D) is renewed every few steps. A string at rest has b' = 0 everywhere: it is a minimum-energy
path of an overdamped molecule, the limit of Onsager-Machlup paths of long duration, and has no time step. Tangents come
from neighboring images, so that a move carries disturbances along the path with the speed b_t / (|H| + c); with
c >= 2 b_t / gap this speed stays below one gap a step, and the string is stable.

Without the Jacobian, the images of a path take explicit steps 0.7 b' / k, where k is the largest curvature that the
last steps have met. That needs no second derivative, and as many more steps as bonds are stiffer than torsions.

`landscape.string` relaxes strings of the search for saddles. It moves their ends as rigid bodies and asks an energy
surface, which a score need not have; both share `molecule.curves` and `molecule.rigid_motions`.

Sources: E, Ren and Vanden-Eijnden, J. Chem. Phys. 126 (2007) 164103 (simplified string); Makri et al., J. Chem. Phys.
150 (2019) 094109 (preconditioning); arXiv:2602.22122 (strings on the scores of diffusion models).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Action
from tpsctl.action.geometric import geometric_terms
from tpsctl.molecule.curves import gaps, respaced, tangents
from tpsctl.molecule.rigid_motions import coordinates, rigid_motions, turned_evenly
from tpsctl.optimize.base import Convergence, Minimization, Monitor, Optimizer, Reading
from tpsctl.optimize.members import Members

_RELAXATION = 0.7
"""Fraction of Newton's step, or of the longest stable explicit step, that is taken."""

_FLOOR = 3e-5
"""Least curvature c of a step, as a fraction of the largest curvature of the image."""

_FIRST_MOVE, _MOST_MOVE = 0.1, 0.5
"""Farthest that an image moves in the first explicit step and in any step, as fractions of the gap between images."""

_FORGETTING = 0.9
"""Factor by which the largest curvature met is forgotten in each explicit step."""


@dataclass
class StringState:
    """Where the strings are, and what the next steps need of the past.

    Attributes:
        current: Paths of the next evaluation, nm.
        curvatures: |eigenvalues| of H at every interior image, 1/ps; of size 0 without the Jacobian.
        modes: Eigenvectors of H in their columns; of size 0 without the Jacobian.
        across: b' of the step before; of size 0 with the Jacobian.
        moved: The displacement that followed it, in z; of size 0 with the Jacobian.
        stiffest: Largest curvature met by each path, 1/ps, 0 before the first step.
    """

    current: Float[Tensor, "path image bead dim"]
    curvatures: Float[Tensor, "path interior mode"]
    modes: Float[Tensor, "path interior mode mode"]
    across: Float[Tensor, "path interior n"]
    moved: Float[Tensor, "path interior n"]
    stiffest: Float[Tensor, " path"]


class String(Optimizer):
    """Strings of images on the score (see the module); the action they report is the geometric one.

    A path has converged when no component of the score across it exceeds `gradient_tolerance_per_nm`, and its geometric
    action changes no more.

    Args:
        max_steps: Most steps any path takes.
        convergence: When a path counts as converged; None for the defaults.
        preconditioned: Whether steps use the score's Jacobian. Where the modes of one path would take more than
            `MOST_BYTES_PER_PATH`, explicit steps are taken in any case.
        renew_every: Steps between two Jacobians.
        max_displacement_nm: Farthest that a bead moves in a step, nm; None for half the gap between images.
    """

    method = "string"

    MOST_BYTES_PER_PATH = 1e9
    """Bytes of one path's modes up to which they are kept. The limit is for one path, so that results do not depend on
    the size of the batch."""

    def __init__(
        self,
        *,
        max_steps: int,
        convergence: Convergence | None = None,
        preconditioned: bool = True,
        renew_every: int = 4,
        max_displacement_nm: float | None = None,
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self.preconditioned, self.renew_every = preconditioned, renew_every
        self.max_displacement_nm = max_displacement_nm

    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        return _Run(self, action, paths, monitor)

    @classmethod
    def bytes_per_path(cls, paths: Float[Tensor, "path image bead dim"]) -> int:
        """Bytes that the modes of all images of one path take."""
        return paths.shape[1] * paths[0, 0].numel() ** 2 * paths.element_size()


class _Run(Minimization):
    """One optimization of strings."""

    def __init__(self, options: String, action: Action, paths: Tensor, monitor: Monitor) -> None:
        self.options, self.action, self.monitor = options, action, monitor
        self.scale = action.dynamics.diffusion_like(paths).rsqrt()
        self.flat_scale = self.scale.expand(paths.shape[2:]).flatten()
        self.is_molecule = paths.shape[2] > 1 and paths.shape[3] == 3
        self.uses_modes = options.preconditioned and options.bytes_per_path(paths) <= options.MOST_BYTES_PER_PATH
        interior = paths[:, 1:-1].flatten(2)
        with_modes, without = (interior, interior[:, :, :0]) if self.uses_modes else (interior[:, :, :0], interior)
        self.state = StringState(
            current=self._spread(paths),
            curvatures=torch.zeros_like(with_modes),
            modes=with_modes.new_zeros(*with_modes.shape, with_modes.shape[-1]),
            across=torch.zeros_like(without),
            moved=torch.zeros_like(without),
            stiffest=paths.new_zeros(len(paths)),
        )

    def step(self) -> bool:
        members, s = self.monitor.begin_step(), self.state
        if len(members) == 0:
            return False
        x = s.current[members.there]
        score = torch.cat(self.action.chunks.map(self.action.score, x.flatten(0, 1))).view_as(x)
        drift = (score / self.scale).flatten(2)
        tangent = self._tangents(x, drift)
        along = (drift[:, 1:-1] * tangent).sum(2)
        across = drift[:, 1:-1] - along.unsqueeze(2) * tangent
        terms = geometric_terms(x * self.scale, drift)
        if self.uses_modes and self.monitor.step % self.options.renew_every == 0:
            self._renew(members, x[:, 1:-1])
        move = self._move(members, across, along, tangent, gaps(x * self.scale))
        moved = x.clone()
        moved[:, 1:-1] += (move / self.flat_scale).view_as(x[:, 1:-1])
        s.current[members.there] = self._spread(moved)  # queued on a GPU before the host waits for numbers
        self.monitor.accept(members, x, Reading.of(terms, self.flat_scale * across))
        self.monitor.end_step()
        return True

    def _spread(self, x: Tensor) -> Tensor:
        """The same strings with images at equal distances, and the rotation of a molecule spread evenly."""
        if self.is_molecule:
            x = turned_evenly(x, self.scale.squeeze(-1).square())
        return respaced(x, self.scale)

    def _tangents(self, x: Tensor, drift: Tensor) -> Float[Tensor, "path interior n"]:
        """Unit tangents of interior images in z, without rigid motions of a molecule."""
        found = upwind_tangents(x * self.scale, drift)
        if not self.is_molecule:
            return found
        found = without_motions(found, self._rigid_motions(x[:, 1:-1]))
        return found / found.norm(dim=2, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)

    def _rigid_motions(self, x: Tensor) -> Float[Tensor, "path interior n 6"]:
        motions = rigid_motions(x.flatten(0, 1)) * self.flat_scale.unsqueeze(1)
        return motions.unflatten(0, x.shape[:2])

    def _renew(self, members: Members, x: Float[Tensor, "path interior bead dim"]) -> None:
        """Compute curvatures and modes of some paths anew."""
        jacobian = torch.cat(self.action.chunks.map(self.action.score.jacobian, x.flatten(0, 1)))
        hessian = -(jacobian + jacobian.mT) / (2 * self.flat_scale * self.flat_scale.unsqueeze(1))
        hessian = hessian.unflatten(0, x.shape[:2])
        if self.is_molecule:
            motions = self._rigid_motions(x)
            rows = without_motions(hessian, motions.unsqueeze(2))
            hessian = without_motions(rows.mT, motions.unsqueeze(2))
        usable = hessian.isfinite().flatten(2).all(2)[:, :, None, None]
        values, vectors = torch.linalg.eigh(torch.where(usable, hessian, torch.zeros_like(hessian)))
        self.state.curvatures[members.there], self.state.modes[members.there] = values.abs(), vectors

    def _move(self, members: Members, across: Tensor, along: Tensor, tangent: Tensor, gap: Tensor) -> Tensor:
        """The displacement of interior images in z, (path, interior, n), before they are spread evenly."""
        mean_gap = gap.mean(1).view(-1, 1, 1)
        if self.uses_modes:
            move = self._newton(members, across, along.abs().unsqueeze(2) / mean_gap)
            move = move - (move * tangent).sum(2, keepdim=True) * tangent
        else:
            move = self._explicit(members, across, mean_gap)
        move = move * (_MOST_MOVE * mean_gap / move.norm(dim=2, keepdim=True).clamp_min(1e-30)).clamp_max(1.0)
        if self.options.max_displacement_nm is not None:
            longest = (move / self.flat_scale).unflatten(2, self.state.current.shape[2:]).norm(dim=3).amax(2)
            limit = self.options.max_displacement_nm / longest.clamp_min(1e-30)
            move = move * limit.clamp_max(1.0).unsqueeze(2)
        if not self.uses_modes:
            self.state.across[members.there], self.state.moved[members.there] = across, move
        return move

    def _newton(self, members: Members, across: Tensor, least: Float[Tensor, "path interior 1"]) -> Tensor:
        """0.7 (|H| + c)^-1 b' with the modes at hand."""
        values, vectors = self.state.curvatures[members.there], self.state.modes[members.there]
        floor = torch.maximum(least, _FLOOR * values.amax(2, keepdim=True))
        amplitude = (vectors.mT @ across.unsqueeze(3)).squeeze(3) / (values + floor).clamp_min(1e-30)
        return _RELAXATION * (vectors @ amplitude.unsqueeze(3)).squeeze(3)

    def _explicit(self, members: Members, across: Tensor, mean_gap: Tensor) -> Tensor:
        """0.7 b' / k with the largest curvature k that the path has met."""
        s, index = self.state, members.there
        turned, moved = (across - s.across[index]).norm(dim=2), s.moved[index].norm(dim=2)
        met = torch.where(moved > 0, turned / moved.clamp_min(1e-30), torch.zeros_like(moved)).amax(1)
        first = across.norm(dim=2).amax(1) * _RELAXATION / (_FIRST_MOVE * mean_gap.flatten())
        known = s.stiffest[index]
        stiffest = torch.where(known > 0, torch.maximum(met, _FORGETTING * known), first)
        s.stiffest[index] = stiffest
        return _RELAXATION * across / stiffest.clamp_min(1e-30).view(-1, 1, 1)


def upwind_tangents(z: Float[Tensor, "path image bead dim"], drift: Float[Tensor, "path image n"]) -> Tensor:
    """Unit tangents of interior images, (path, interior, n), from the neighbor from which the drift comes.

    Between a tangent to either side, central where the drift changes sign: weights (1 +- a)/2 with a the drift along
    the path over the largest of it at the image and its two neighbors.
    """
    along = (drift * tangents(z)).sum(2)
    size = along.abs()
    largest = torch.maximum(size[:, 1:-1], torch.maximum(size[:, :-2], size[:, 2:]))
    ahead = (along[:, 1:-1] / largest.clamp_min(torch.finfo(z.dtype).tiny)).unsqueeze(2)
    step = (z[:, 1:] - z[:, :-1]).flatten(2)
    step = step / step.norm(dim=2, keepdim=True).clamp_min(1e-30)
    found = (1 + ahead) * step[:, :-1] + (1 - ahead) * step[:, 1:]
    return found / found.norm(dim=2, keepdim=True).clamp_min(1e-30)


def without_motions(v: Float[Tensor, "... n"], motions: Float[Tensor, "... n rank"]) -> Float[Tensor, "... n"]:
    """Vectors without their components along rigid motions."""
    return v - (motions @ coordinates(motions, v).unsqueeze(-1)).squeeze(-1)
