"""The benchmark of Jacobians runs at a small size, and both of its ways give the same bits."""

from benchmarks.jacobian import HEAD, measure, row


def test_a_small_size():
    found = measure(10, 3, 1)
    assert found["difference"] == 0
    assert set(found["seconds"]) == {"columns", "once"}
    assert len(row(10, found)) == len(HEAD)
