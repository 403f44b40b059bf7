"""Judgement of a trained prior on trajectories that it has not seen: is it fit for paths, and at which noise widths?

Noise widths double from the smallest one of the training to 0.1 nm, beyond which no path is made. At each of them the
score is compared with physical forces, where the data have them; with denoising targets of held-out frames, which every
data set has; with the denoising posterior over the training frames; and with itself at neighboring widths. Samples are
drawn down to the smallest width that is fit, and compared with data that have noise of the same width.

Biased frames are drawn with their weights, so that all but the comparison with forces is done on equilibrium frames.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.geometry import center, dihedral, signed_volume
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import named_torsions
from tpsctl.prior.network import NetworkPrior
from tpsctl.prior.samplers.widths import WidthSampler
from tpsctl.score.base import Score
from tpsctl.training.metrics import torque_r2
from tpsctl.training.quality.calibration import calibration_slope, fokker_planck_residual
from tpsctl.training.quality.distributions import divergences, internal_coordinates
from tpsctl.training.quality.posterior import denoising_posterior
from tpsctl.training.quality.regions import RegionMeasures, measure_regions
from tpsctl.training.quality.relaxation import relaxed, strain
from tpsctl.training.quality.verdict import SampleMeasures, Verdict, WidthMeasures, fit_range
from tpsctl.training.targets import TargetSource, internal_rotations
from tpsctl.units import thermal_energy
from tpsctl.workflows.train.frames import MoleculeFrames, equilibrium_frames
from tpsctl.workflows.train.task import Compared

FRAMES = 2000
"""Held-out frames that are looked at."""

LARGEST_WIDTH_NM = 0.1
"""Largest noise width that is judged."""

_TORQUE_WIDTHS = 5
"""Number of smallest widths in the table of torques."""

_DENOISING_MULTIPLES = (20, 40, 100, 400)
"""Noise widths of the table of torques without forces, in units of the smallest one."""

_RELAXED, _RESIDUALS, _POSTERIORS = 48, 48, 16
"""Held-out frames that are relaxed, that have Jacobians, and that are compared with the denoising posterior."""

_POSTERIOR_FRAMES, _STATISTICS_FRAMES = 4000, 4000
"""Training frames in the denoising posterior, and in means and spreads of bonds and angles."""

_SAMPLES, _SAMPLER_STEPS = 200, 40

_COVERED, _WITH_ENERGIES = 40_000, 20_000
"""Training frames whose torsions are covered by regions, and held-out frames whose energies are compared."""

_CHUNK = 500
_ALWAYS = 0.99
"""Fraction of data from which on they are said to have one handedness."""


def held_out_quality(prior: NetworkPrior, frames: MoleculeFrames, largest_width_nm: float) -> dict[str, Any]:
    """R^2 of torques by noise width (nm, as text) and bond, with what it was measured against.

    Where the data have forces, the reference is the physical torque over kT on clean frames, and the model is asked at
    small noise widths: R^2 = 1 is a perfect force field. Without forces the reference is the denoising target
    -(y - x_0) / sigma^2 of noised frames y; its own noise keeps R^2 below 1 even for a perfect model.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(frames.held_out), generator=generator)[:FRAMES]
    clean, forces = frames.held_out[chosen], frames.held_out_scores
    multiples = _DENOISING_MULTIPLES if forces is None else tuple(2**n for n in range(_TORQUE_WIDTHS))
    found = {}
    for multiple in multiples:
        width = multiple * prior.smallest_width_nm
        if width > largest_width_nm:
            continue
        if forces is None:
            x, reference = _denoising_targets(frames, clean, width, generator)
        else:
            x, reference = clean, forces[chosen]
        scores = torch.cat([prior.at(prior.time_of(width))(part) for part in x.split(_CHUNK)])
        found[f"{width:g}"] = torque_r2(frames.topology, x, scores, reference)
    return {
        "reference": "denoising targets" if forces is None else "physical forces",
        "frames": len(clean),
        "by_width_nm": {w: {bond: round(r2, 4) for bond, r2 in by_bond.items()} for w, by_bond in found.items()},
    }


def judge_for_paths(prior: NetworkPrior, frames: MoleculeFrames, largest_width_nm: float) -> tuple[Verdict, Compared]:
    """The verdict on a prior, and the samples that were compared with data; the same for the same prior and frames.

    Args:
        prior: The trained prior, on the CPU.
        frames: The frames it was trained on, and those held out.
        largest_width_nm: Largest noise width of the training, nm.
    """
    judge = _Judge(prior, frames)
    widths = [prior.smallest_width_nm]
    while 2 * widths[-1] <= min(LARGEST_WIDTH_NM, largest_width_nm):
        widths.append(2 * widths[-1])
    measured = tuple(judge.at_width(width) for width in widths)
    found = fit_range(measured)
    smallest = widths[0] if found is None else found[0].width_nm
    samples, compared = judge.samples(smallest)
    return Verdict(measured, samples, judge.regions(smallest)), compared


def losses_at_both_ends(losses: Sequence[float]) -> dict[str, float]:
    """Mean loss of the first and of the last tenth of all steps."""
    tenth = max(1, len(losses) // 10)
    return {"first_tenth": sum(losses[:tenth]) / tenth, "last_tenth": sum(losses[-tenth:]) / tenth}


class _Judge:
    """The measures of a prior, all on the same frames."""

    def __init__(self, prior: NetworkPrior, frames: MoleculeFrames) -> None:
        self._prior, self._frames, self._topology = prior, frames, frames.topology
        self._generator = torch.Generator().manual_seed(0)
        training, weights = frames.training.positions, frames.log_weights
        half = len(training) // 2
        first, second = (None, None) if weights is None else (weights[:half], weights[half:])
        self._halves = ((training[:half], first), (training[half:], second))
        self._data = self._draw(training, weights, _STATISTICS_FRAMES)
        self._held_out = self._draw(frames.held_out, frames.held_out_log_weights, FRAMES)
        some = torch.randperm(len(frames.held_out), generator=self._generator)[:FRAMES]
        self._clean = frames.held_out[some]
        self._forces = None if frames.held_out_scores is None else frames.held_out_scores[some]
        self._rotations = internal_rotations(self._topology) if self._topology.rotatable_bonds else None

    def at_width(self, width: float) -> WidthMeasures:
        score, held_out = self._score(width), self._held_out
        noised = self._noised(held_out[: max(_RESIDUALS, _POSTERIORS)], width)
        slopes = [
            calibration_slope(score, held_out, width, self._generator, rotations=rotations)
            for rotations in (None, *(() if self._rotations is None else (self._rotations,)))
        ]
        r2, effective = self._against_posterior(score, noised[:_POSTERIORS], width)
        return WidthMeasures(
            width_nm=width,
            diffusion_time=self._time(width),
            torque_r2=self._against_forces(score),
            slope=slopes[0],
            torque_slope=slopes[1] if len(slopes) > 1 else None,
            strain=strain(self._topology, relaxed(score, held_out[:_RELAXED]), self._data),
            fokker_planck_residual=self._residual(noised[:_RESIDUALS], width),
            posterior_r2=r2,
            posterior_effective_frames=effective,
        )

    def samples(self, width: float) -> tuple[SampleMeasures, Compared]:
        """Compare samples with data; both have noise of this width, if the sampler can stop there."""
        sampler = self._prior.sampler
        if isinstance(sampler, WidthSampler):
            drawn = sampler.sample_noised(_SAMPLES, width, self._generator, steps=_SAMPLER_STEPS)
        else:
            drawn, width = self._prior.sample(_SAMPLES, self._generator, steps=_SAMPLER_STEPS), 0.0
        halves = [self._noised(self._draw(x, weights, _SAMPLES), width) for x, weights in self._halves]
        found, first, second = (internal_coordinates(self._topology, x) for x in (drawn, *halves))
        by_sort, floors = divergences(found, second), divergences(first, second)
        measures = SampleMeasures(
            count=_SAMPLES,
            width_nm=width,
            divergence={sort: _mean(values) for sort, values in by_sort.items()},
            floor={sort: _mean(values) for sort, values in floors.items()},
            worst={sort: max(values.items(), key=lambda item: item[1]) for sort, values in by_sort.items()},
            handedness=handedness(self._topology, drawn, torch.cat(halves)),
        )
        return measures, Compared(self._topology, drawn, halves[1], width)

    def regions(self, width: float) -> RegionMeasures | None:
        """Where the training frames were, and how far energies of held-out frames are off there at this width."""
        torsions = [torsion for torsion in named_torsions(self._topology) if not torsion.rotor]
        if not torsions:
            return None
        frames = self._frames
        rows = torch.tensor([torsion.atoms for torsion in torsions])
        training, held_out = (
            torch.randperm(len(x), generator=self._generator)[:most]
            for x, most in ((frames.training.positions, _COVERED), (frames.held_out, _WITH_ENERGIES))
        )
        return measure_regions(
            tuple(torsion.name for torsion in torsions),
            dihedral(frames.training.positions[training], rows),
            dihedral(frames.held_out[held_out], rows),
            self._residual_energies(held_out, width),
        )

    def _residual_energies(self, chosen: Tensor, width: float) -> Tensor | None:
        """U_prior - U of held-out frames, kJ/mol, up to a constant; None where either is unknown."""
        frames, time = self._frames, self._time(width)
        if frames.held_out_energies is None:
            return None
        logs = []
        with torch.no_grad():
            for x in frames.held_out[chosen].split(_CHUNK):
                density = self._prior.log_density(x, time)
                if density is None:
                    return None
                logs.append(density)
        return (
            -thermal_energy(frames.temperature_k) * torch.cat(logs).double() - frames.held_out_energies[chosen].double()
        )

    def _time(self, width: float) -> float:
        """The diffusion time of a width; a little above it for the smallest one, so that rounding stays inside."""
        return min(1.0, self._prior.time_of(width) * (1 + 1e-9))

    def _score(self, width: float) -> Score:
        return self._prior.at(self._time(width))

    def _against_forces(self, score: Score) -> float | None:
        if self._forces is None or self._rotations is None:
            return None
        found = torch.cat([score(part) for part in self._clean.split(_CHUNK)])
        torques = torque_r2(self._topology, self._clean, found, self._forces)
        return _mean(torques) if torques else None

    def _against_posterior(self, score: Score, noised: Tensor, width: float) -> tuple[float, float]:
        weights = self._frames.log_weights
        step = max(1, len(self._frames.training.positions) // _POSTERIOR_FRAMES)
        data = self._frames.training.positions[::step]
        found = denoising_posterior(noised, data, width, None if weights is None else weights[::step])
        difference = score(noised).double() - found.score
        r2 = 1 - float(difference.square().sum() / found.score.square().sum())
        return r2, float(found.effective_frames.median())

    def _residual(self, noised: Tensor, width: float) -> float | None:
        """The Fokker-Planck residual in double precision; None if log p or a smaller width is unknown."""
        prior, dtype = self._prior, self._prior.field.like.dtype
        if not prior.conservative or prior.log_density(noised[:1], self._time(width)) is None:
            return None
        try:
            prior.at(prior.time_of(0.9 * width))
        except PriorError:
            return None

        def log_density(x: Tensor, at: float) -> Tensor:
            found = prior.log_density(x, prior.time_of(at))
            assert found is not None
            return found

        prior.to(device="cpu", dtype=torch.float64)
        try:
            return fokker_planck_residual(log_density, self._score(width), noised.double(), width)
        finally:
            prior.to(device="cpu", dtype=dtype)

    def _draw(self, x: Tensor, log_weights: Tensor | None, count: int) -> Tensor:
        return equilibrium_frames(x, log_weights, count, self._generator)

    def _noised(self, x: Tensor, width: float) -> Tensor:
        return center(x + width * torch.randn(x.shape, generator=self._generator, dtype=x.dtype))


def handedness(
    topology: Topology, samples: Float[Tensor, "sample bead 3"], data: Float[Tensor, "frame bead 3"]
) -> dict[str, float]:
    """Fraction of samples with the data's handedness, for every center with four neighbors at which the data have one.

    At a center with four different branches this is chirality, at a methyl the order of its hydrogens.
    """
    centers = [i for i, around in enumerate(topology.neighbors) if len(around) == 4]
    if not centers:
        return {}
    rows = torch.tensor([[i, *topology.neighbors[i][:3]] for i in centers])
    usual = signed_volume(data, rows).sign().double().mean(0)
    right = (signed_volume(samples, rows).sign() == usual.sign()).double().mean(0)
    return {
        topology.atoms[i].label: float(fraction)
        for i, fraction, clear in zip(centers, right, usual.abs() >= 2 * _ALWAYS - 1, strict=True)
        if clear
    }


def _mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


def _denoising_targets(
    frames: MoleculeFrames, clean: Tensor, width: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    log_sigmas = torch.tensor([width, 2 * width], dtype=clean.dtype).log()
    source = TargetSource(frames.topology, clean, None, None, log_sigmas)
    batch = source.draw(torch.full((len(clean),), width, dtype=clean.dtype), generator)
    return batch.y, batch.target
