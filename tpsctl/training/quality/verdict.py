"""The verdict on a prior: whether it is fit for paths, at which noise widths, and the reasons in words.

A width is fit where none of the measures finds a fault. The widths that paths may use are the unbroken run of fit ones
from the smallest on; where torques were compared with forces, a width counts as fit only if they agree as well there as
at any fit width. A model is unfit if no width is fit, or if its samples have the wrong handedness or are far from the
data. An error that statistics cannot establish is no fault: a slope is faulty if its interval of two standard errors
lies outside of the allowed range.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tpsctl.training.quality.calibration import Slope
from tpsctl.training.quality.regions import RegionMeasures

LEAST_R2, AS_GOOD = 0.5, 0.02
"""Least R^2 of torques or scores against a reference, and by how much torques may be below the best ones."""

SLOPES = (0.75, 4 / 3)
"""Range of calibration slopes: outside of it scores are wrong by more than a third of their size."""

MOST_STRAIN = 0.5
"""Largest strain of relaxed structures; 1 is that of thermal frames."""

LEAST_EFFECTIVE_FRAMES = 20.0
"""Effective number of frames from which on the denoising posterior is a reference."""

LEAST_HANDEDNESS = 0.9
"""Least fraction of samples that have the handedness of the data at a center."""

MOST_DIVERGENCE, FLOORS = 0.2, 5.0
"""Largest mean divergence of samples from data, nats, or this multiple of the floor where that is larger."""


@dataclass(frozen=True)
class WidthMeasures:
    """What was measured at one noise width.

    Attributes:
        width_nm: The noise width, nm.
        diffusion_time: The diffusion time of this width.
        torque_r2: Mean R^2 of torques against physical forces; None without forces or rotatable bonds.
        slope: Calibration slope of all components of the score.
        torque_slope: Calibration slope of the torques; None without rotatable bonds.
        strain: Mean square deviation of bonds and angles of relaxed structures, in variances of the data.
        fokker_planck_residual: Relative residual; None where log p is unknown or the width is the smallest one.
        posterior_r2: R^2 of the score against the denoising posterior over the data.
        posterior_effective_frames: Median effective number of frames in these averages.
    """

    width_nm: float
    diffusion_time: float
    torque_r2: float | None
    slope: Slope
    torque_slope: Slope | None
    strain: float
    fokker_planck_residual: float | None
    posterior_r2: float
    posterior_effective_frames: float

    def faults(self) -> list[str]:
        """What is wrong with the model at this width, one phrase each; none if it is fit for paths."""
        found = []
        if self.torque_r2 is not None and not self.torque_r2 >= LEAST_R2:
            found.append(f"torques agree with the forces of held-out frames only to R^2 {self.torque_r2:.2f}")
        for what, slope in (("torques", self.torque_slope), ("scores", self.slope)):
            if slope is not None and slope.value + 2 * slope.error < SLOPES[0]:
                found.append(f"{100 * max(slope.value, 0):.0f} % of its {what} are signal on held-out frames")
            elif slope is not None and not slope.value - 2 * slope.error <= SLOPES[1]:
                found.append(f"its {what} are too small, by a factor of {slope.value:.1f} on held-out frames")
        if math.isnan(self.strain):
            found.append("relaxed structures have coordinates that are no numbers")
        elif not self.strain <= MOST_STRAIN:
            found.append(
                f"bonds and angles of relaxed structures deviate by {self.strain:.2g} variances of the data, "
                f"expected at most {MOST_STRAIN:g}"
            )
        if self.posterior_effective_frames >= LEAST_EFFECTIVE_FRAMES and not self.posterior_r2 >= LEAST_R2:
            found.append(f"scores agree with the denoising posterior over the data only to R^2 {self.posterior_r2:.2f}")
        return found


@dataclass(frozen=True)
class SampleMeasures:
    """What was measured on samples, which have the noise of one width, and data with the same noise.

    Attributes:
        count: Number of samples, and of structures in each half of the data.
        width_nm: The noise width of samples and data, nm; 0 for none.
        divergence: Mean JS divergence from the data, nats, by sort of coordinate.
        floor: The same of two independent halves of the data.
        worst: Coordinate with the largest divergence and its divergence, nats, by sort.
        handedness: Fraction of samples with the data's handedness, by center.
    """

    count: int
    width_nm: float
    divergence: dict[str, float]
    floor: dict[str, float]
    worst: dict[str, tuple[str, float]]
    handedness: dict[str, float]

    def faults(self) -> list[str]:
        """What is wrong with the samples, one phrase each."""
        found = [
            f"only {100 * fraction:.0f} % of samples have the handedness of the data at {center}"
            for center, fraction in self.handedness.items()
            if not fraction >= LEAST_HANDEDNESS
        ]
        for sort, value in self.divergence.items():
            if not value <= max(MOST_DIVERGENCE, FLOORS * self.floor[sort]):
                found.append(
                    f"{sort} of samples are {value:.2f} nats from the data (two halves of the data: "
                    f"{self.floor[sort]:.3f})"
                )
        return found


@dataclass(frozen=True)
class Verdict:
    """Whether a prior is fit for paths.

    Attributes:
        widths: What was measured at each noise width, ascending.
        samples: What was measured on samples.
        regions: Where the data were, and how far energies are off there; None if their torsions cannot be covered.
    """

    widths: tuple[WidthMeasures, ...]
    samples: SampleMeasures
    regions: RegionMeasures | None = None

    @property
    def range(self) -> tuple[WidthMeasures, WidthMeasures] | None:
        """The smallest and the largest width that are fit for paths; None if there is none."""
        return fit_range(self.widths)

    @property
    def is_fit(self) -> bool:
        """Whether the prior is fit for paths at some width."""
        return self.range is not None and not self.samples.faults()

    @property
    def words(self) -> str:
        """The verdict in one sentence."""
        found = self.range
        if found is None:
            return f"do not use: no noise width is fit for paths; {_least_bad(self.widths)}."
        if self.samples.faults():
            return f"do not use: {'; '.join(self.samples.faults())}."
        first, last = found
        below = [each for each in self.widths if each.width_nm < first.width_nm]
        fit = f"fit for paths at diffusion time {first.diffusion_time:.3g} (noise of {first.width_nm:.2g} nm)"
        if last != first:
            fit = f"fit for paths at diffusion times {first.diffusion_time:.3g} to {last.diffusion_time:.3g} "
            fit += f"(noise of {first.width_nm:.2g} to {last.width_nm:.2g} nm)"
        known = "" if self.regions is None else self.regions.words
        if not below:
            return f"{fit}.{known}"
        reasons = below[-1].faults() or ["torques agree less well with forces than at larger widths"]
        return (
            f"do not use below diffusion time {first.diffusion_time:.3g} (noise of {first.width_nm:.2g} nm): "
            f"at {below[-1].width_nm:.2g} nm {reasons[0]}. It is {fit}.{known}"
        )

    def as_json(self) -> dict[str, Any]:
        """The verdict in JSON values, for a model card."""
        return {
            "fit_for_paths": self.is_fit,
            "words": self.words,
            "by_width": [_rounded(asdict(each)) | {"faults": each.faults()} for each in self.widths],
            "samples": _rounded(asdict(self.samples)) | {"faults": self.samples.faults()},
        } | ({} if self.regions is None else {"regions": self.regions.as_json()})


def fit_range(widths: Sequence[WidthMeasures]) -> tuple[WidthMeasures, WidthMeasures] | None:
    """The ends of the unbroken run of fit widths that begins with the smallest fit one; None if none is fit."""
    sound = [each for each in widths if not each.faults()]
    best = max((each.torque_r2 for each in sound if each.torque_r2 is not None), default=None)
    if best is not None:
        sound = [each for each in sound if each.torque_r2 is not None and each.torque_r2 >= best - AS_GOOD]
    if not sound:
        return None
    first = last = list(widths).index(sound[0])
    while last + 1 < len(widths) and widths[last + 1] in sound:
        last += 1
    return widths[first], widths[last]


def _least_bad(widths: Sequence[WidthMeasures]) -> str:
    if not widths:
        return "none was measured"
    best = min(widths, key=lambda each: len(each.faults()))
    return f"the least bad one is {best.width_nm:.2g} nm, where {' and '.join(best.faults())}"


def _rounded(value: Any) -> Any:
    """JSON values with numbers of five digits; what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if abs(value) < float("inf") else None
    return value
