"""From measures to a verdict in words."""

import re
from dataclasses import replace

import pytest

from tpsctl.training.quality.calibration import Slope
from tpsctl.training.quality.verdict import SampleMeasures, Verdict, WidthMeasures

GOOD = WidthMeasures(
    width_nm=0.001,
    diffusion_time=0.1,
    torque_r2=0.9,
    slope=Slope(1.0, 0.01),
    torque_slope=Slope(1.0, 0.05),
    strain=0.1,
    fokker_planck_residual=0.2,
    posterior_r2=0.1,
    posterior_effective_frames=1.0,
)
SAMPLES = SampleMeasures(
    count=300,
    width_nm=0.001,
    divergence={"bonds": 0.03},
    floor={"bonds": 0.02},
    worst={"bonds": ("A-B", 0.05)},
    handedness={"CA": 1.0},
)


def at(width, **changes):
    return replace(GOOD, width_nm=width, diffusion_time=100 * width, **changes)


def verdict(*widths, **samples):
    return Verdict(widths, replace(SAMPLES, **samples))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"torque_r2": 0.3}, r"torques agree with the forces .* only to R\^2 0\.30"),
        ({"torque_r2": float("nan")}, "torques agree"),
        ({"slope": Slope(0.5, 0.01)}, "50 % of its scores are signal"),
        ({"torque_slope": Slope(-0.01, 0.02)}, "0 % of its torques are signal"),
        ({"torque_slope": Slope(1.8, 0.1)}, "its torques are too small, by a factor of 1.8"),
        ({"strain": 2.0}, "deviate by 2 variances of the data, expected at most 0.5"),
        ({"strain": float("nan")}, "coordinates that are no numbers"),
        ({"posterior_r2": 0.2, "posterior_effective_frames": 50.0}, r"denoising posterior .* R\^2 0\.20"),
    ],
)
def test_every_measure_can_find_a_fault(change, words):
    (fault,) = replace(GOOD, **change).faults()
    assert re.search(words, fault)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"torque_r2": None, "torque_slope": None},
        {"torque_slope": Slope(0.6, 0.1)},
        {"posterior_r2": -5.0, "posterior_effective_frames": 19.0},
    ],
)
def test_what_statistics_cannot_establish_is_no_fault(change):
    assert replace(GOOD, **change).faults() == []


def test_the_range_is_the_first_run_of_widths_that_are_as_good_as_the_best():
    widths = at(0.001, strain=1.0), at(0.002, torque_r2=0.94), at(0.004, torque_r2=0.95), at(0.008, torque_r2=0.9)
    found = verdict(*widths)
    assert found.is_fit
    assert [w.width_nm for w in found.range] == [0.002, 0.004]
    assert found.words == (
        "do not use below diffusion time 0.2 (noise of 0.002 nm): at 0.001 nm bonds and angles of relaxed structures "
        "deviate by 1 variances of the data, expected at most 0.5. It is fit for paths at diffusion times 0.2 to 0.4 "
        "(noise of 0.002 to 0.004 nm)."
    )


def test_without_forces_every_width_without_a_fault_counts():
    found = verdict(*(at(w, torque_r2=None) for w in (0.001, 0.002)), at(0.004, torque_r2=None, strain=1.0))
    assert [w.width_nm for w in found.range] == [0.001, 0.002]
    assert found.words == "fit for paths at diffusion times 0.1 to 0.2 (noise of 0.001 to 0.002 nm)."


def test_a_width_below_that_is_only_less_good_is_named_with_this_reason():
    assert "torques agree less well with forces" in verdict(at(0.001, torque_r2=0.6), at(0.002)).words


def test_a_model_without_a_fit_width_is_not_to_be_used():
    found = verdict(at(0.001, strain=9.0, torque_r2=0.1), at(0.002, strain=3.0))
    assert (found.is_fit, found.range) == (False, None)
    assert found.words.startswith("do not use: no noise width is fit for paths; the least bad one is 0.002 nm, where ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"handedness": {"CA": 0.6}}, "only 60 % of samples have the handedness of the data at CA"),
        (
            {"divergence": {"bonds": 0.3}},
            r"bonds of samples are 0.30 nats from the data (two halves of the data: 0.020)",
        ),
    ],
)
def test_a_model_with_bad_samples_is_not_to_be_used(change, words):
    found = verdict(GOOD, **change)
    assert not found.is_fit
    assert found.words == f"do not use: {words}."


def test_a_large_floor_excuses_a_large_divergence():
    assert verdict(GOOD, divergence={"bonds": 0.3}, floor={"bonds": 0.1}).is_fit


def test_a_card_holds_json_values_and_what_is_not_finite_as_null():
    stored = verdict(at(0.001, strain=float("nan"))).as_json()
    assert stored["by_width"][0]["strain"] is None
    assert stored["by_width"][0]["faults"]
    assert stored["by_width"][0]["slope"] == {"value": 1.0, "error": 0.01}
    assert stored["fit_for_paths"] is False
