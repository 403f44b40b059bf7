"""Finds the published layout of a file, and reads the file.

A new layout needs one more module with `LAYOUT`, `matches(source)` and `read(source)`, and an entry in `_LAYOUTS`. Any
other bare state dict is read by `plain`, which needs a description beside it.
"""

from pathlib import Path

from tpsctl.checkpoints.layouts import mueller_brown, two_for_one
from tpsctl.checkpoints.model import Model
from tpsctl.checkpoints.source import Source, open_source
from tpsctl.errors import PriorError

_LAYOUTS = (two_for_one, mueller_brown)


def read_published(path: Path) -> Model:
    """Read the model in a published checkpoint, given as a file or as a folder with one.

    Raises:
        PriorError: The checkpoint is missing, unsafe or damaged, or it has no known layout.
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
