"""What `check` says of scores at the ends."""

import math

import pytest

from tpsctl.workflows.sample.plausible import score_verdict


@pytest.mark.parametrize(
    ("a", "b", "severity", "remark"),
    [
        (14.1, 22.4, "ok", "largest component 14.1 at A, 22.4 at B (1/nm)"),
        (2.0e4, 10.0, "ok", "largest component 2e+04 at A"),
        (0.0, 0.0, "warn", "this prior has no forces"),
        (2.1e34, 10.0, "FAIL", "no molecule has such a force. Look for clashes"),
        (10.0, math.inf, "FAIL", "no molecule has such a force"),
    ],
)
def test_a_score_that_is_zero_or_absurd_is_not_ok(a, b, severity, remark):
    found, text = score_verdict(a, b)
    assert found == severity
    assert remark in text
