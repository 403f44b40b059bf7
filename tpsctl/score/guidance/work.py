"""Averages over guided samples: the excess work with its error, its course, and averages of the unguided ensemble."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.score.guidance.process import GuidedSamples
from tpsctl.score.transport import effective_size


@dataclass(frozen=True)
class ExcessWork:
    """The excess work of a guided ensemble.

    Attributes:
        nats: W, the mean of the expected work of the steps.
        error: Its standard error.
        from_ratios: The same from the log q/p of the samples, whose noise is larger.
        from_ratios_error: Its standard error.
        by_step: Mean work of each step, nats.
        effective_size: Effective number of samples of the unguided ensemble, over their number.
    """

    nats: float
    error: float
    from_ratios: float
    from_ratios_error: float
    by_step: Float[Tensor, " step"]
    effective_size: float


def excess_work(samples: GuidedSamples) -> ExcessWork:
    """The excess work of these samples, at least two."""
    mean, error = mean_and_error(samples.work.sum(0))
    from_ratios, ratio_error = mean_and_error(samples.log_ratio)
    return ExcessWork(mean, error, from_ratios, ratio_error, samples.work.mean(1), effective_size(-samples.log_ratio))


def mean_and_error(values: Float[Tensor, " sample"]) -> tuple[float, float]:
    """Mean of independent values and its standard error."""
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def unguided_averages(
    values: Float[Tensor, "sample quantity"], log_ratio: Float[Tensor, " sample"]
) -> tuple[Float[Tensor, " quantity"], Float[Tensor, " quantity"]]:
    """Averages over the unguided ensemble from guided samples, by weights exp(-log q/p), and their standard errors.

    The errors are those of a ratio of means to first order, and too small where the effective number of samples is.
    """
    w = torch.softmax(-log_ratio.double(), 0).unsqueeze(1)
    mean = (w * values).sum(0)
    return mean, (w * (values - mean)).square().sum(0).sqrt()
