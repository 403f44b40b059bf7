"""The published layouts, and which of them a file has.

A further layout is one more module with `LAYOUT`, `matches(source)` and `read(source)`, listed in `_LAYOUTS`. A bare
state dict of any other origin is read by `plain`, with a description beside it.
"""

from pathlib import Path

from tpsctl.checkpoints.layouts import mueller_brown, two_for_one
from tpsctl.checkpoints.model import Model
from tpsctl.checkpoints.source import Source, open_source
from tpsctl.errors import PriorError

_LAYOUTS = (two_for_one, mueller_brown)


def read_published(path: Path) -> Model:
    """The model in a published checkpoint, or a folder with one.

    Raises:
        PriorError: Missing, unsafe, damaged, or of no known layout.
    """
    source = open_source(path)
    for layout in _LAYOUTS:
        if layout.matches(source):
            return layout.read(source)
    raise _unknown(source)


def _unknown(source: Source) -> PriorError:
    keys = list(source.content)
    shown = ", ".join(ascii(key)[1:-1][:40] for key in keys[:6]) + (", ..." if len(keys) > 6 else "")
    known = "; ".join(layout.LAYOUT for layout in _LAYOUTS)
    return PriorError(
        f"{source.path}: unknown layout. Found {len(keys)} entries: {shown or 'none'}. Supported: {known}; native "
        ".safetensors; and plain state dicts described by a YAML file (docs/checkpoints.md)."
    )
