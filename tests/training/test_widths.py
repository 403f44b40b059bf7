"""The law of noise widths: within the ladder, nothing neglected, a fraction uniform in time."""

import pytest
import torch

from tpsctl.score.schedule import Flow, LinearVariancePreserving, VarianceExploding
from tpsctl.training.times import TIME_LAWS
from tpsctl.training.widths import ScheduledWidths, WidthLaw


@pytest.mark.parametrize(
    "law", [WidthLaw(0.001, 1.0, VarianceExploding(0.001, 1.0)), WidthLaw(0.001, 1.0, Flow(0.3), uniform_time=0.5)]
)
def test_widths_stay_within_the_ladder_and_cover_it(law, generator):
    widths = law.draw(2000, generator)
    assert float(widths.min()) >= 0.001 * (1 - 1e-6)
    assert float(widths.max()) <= 1.0 + 1e-6
    counts = torch.histc(widths.log(), 6)
    assert float(counts.min()) > 40, "no sixth of the logarithmic range is neglected"


def test_the_shares_of_the_bands_are_those_stated(generator):
    widths = WidthLaw(0.001, 1.0, VarianceExploding(0.001, 1.0)).draw(10_000, generator)
    shares = [float((widths < edge).double().mean()) for edge in (0.02, 0.5)]
    assert shares == pytest.approx([0.15, 0.95], abs=1e-3)  # stratified: within one draw of 10 000


def test_uniform_time_draws_a_fraction_of_the_widths_uniformly_in_time(generator):
    schedule = Flow(0.3)
    torch.set_default_dtype(torch.float32)
    widths = WidthLaw(0.001, 1.0, schedule, uniform_time=1.0).draw(4000, generator)
    t = schedule.time_of(widths.double())
    upper = float(schedule.time_of(torch.tensor(1.0)))  # beyond, widths are cut to the largest
    inside = t[t < upper - 1e-3]
    assert float((inside < upper / 2).double().mean()) == pytest.approx(0.5, abs=0.02)  # stratified draws


@pytest.mark.parametrize("times", TIME_LAWS)
def test_widths_of_a_schedule_follow_the_law_of_its_times(times, generator):
    """Stratified draws: half of the times lie below the median of the law, within one draw of 4000."""
    schedule = LinearVariancePreserving(0.3)
    law = ScheduledWidths(TIME_LAWS[times](schedule, 0.001, 1.0))
    widths = law.draw(4000, generator).double()
    assert (law.smallest_nm, law.largest_nm) == pytest.approx((0.001, 1.0), rel=1e-9)
    assert float(widths.min()) >= 0.001 * (1 - 1e-6)
    assert float(widths.max()) <= 1.0 + 1e-6
    ends = schedule.time_of(torch.tensor([0.001, 1.0]))
    median = 0.001**0.5 if times == "importance" else float(schedule.relative_sigma(ends.mean()))
    assert float((widths < median).double().mean()) == pytest.approx(0.5, abs=1e-3)
