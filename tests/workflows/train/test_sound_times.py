"""The range of diffusion times that a model card recommends."""

import torch

from tpsctl.workflows.train.judge import sound_times


class Clock:
    """A prior of which only the clock is asked: t = 100 times the width."""

    def time_of(self, width_nm):
        return 100 * width_nm


def quality(reference="physical forces", **by_width):
    table = {name[1:].replace("_", "."): {"A-B": value, "B-C": value} for name, value in by_width.items()}
    return {"reference": reference, "by_width_nm": table}


def test_the_range_has_the_widths_that_are_as_good_as_the_best():
    found = sound_times(Clock(), quality(w0_001=0.7, w0_002=0.94, w0_004=0.95, w0_008=0.6))
    torch.testing.assert_close(found, [0.2, 0.4])


def test_a_poor_model_and_one_without_forces_get_none():
    assert sound_times(Clock(), quality(w0_001=0.3)) is None
    assert sound_times(Clock(), quality("denoising targets", w0_001=0.99)) is None
    assert sound_times(Clock(), quality()) is None
