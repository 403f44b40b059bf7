"""The self-test on checkpoints that are known to be good."""

import pytest

from tpsctl.workflows.checkpoints import inspect


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_the_embedded_checkpoints_are_sound(root, kind):
    report = inspect(root / "recipes" / "alanine_dipeptide" / f"{kind}.safetensors")
    assert report["safe"]
    assert report["sound"], report
    assert not report.get("notes")
