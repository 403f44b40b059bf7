"""Tensors of a `torch.save` file; the file is checked first and then loaded with `weights_only=True`.

The file is a zip archive: a pickle that describes tensors, and one stored (uncompressed) record per storage.
Before torch reads it, this module checks that the archive is as `torch.save` writes it (no compression, so
that nothing can unpack to more than the file's own size; no path outside of the archive; correct checksums)
and that the pickle names nothing but tensor constructors. After loading, it checks that every tensor fits its
storage and is finite.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints.pickles import read_inert, refuse
from tpsctl.errors import PriorError

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
TENSOR_NAMES = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        *(f"torch.{name}Storage" for name in _STORAGES),
    }
)
"""All names that a pickle of tensors, numbers and texts needs to import."""

_MAX_PICKLE_BYTES = 16 << 20
_MAX_ENTRIES = 100_000


@dataclass(frozen=True)
class Scan:
    """Names that the pickle of an archive would import.

    Attributes:
        names: All of these names.
        dangerous: Names among them that are no tensor constructors.
    """

    names: tuple[str, ...]
    dangerous: tuple[str, ...]


def scan(path: Path) -> Scan:
    """List the names in the pickle of a `torch.save` file without loading it.

    Raises:
        PriorError: The file cannot be read, or it is not a sound archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _check_entries(path, archive)
            _check_sums(path, archive)
            names = read_inert(archive.read(entry)).names
    except OSError as error:
        raise PriorError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise PriorError(
            f"{path}: not a sound torch.save archive ({error}). Fetch the file again; a native checkpoint needs the "
            "extension .safetensors, and files from before PyTorch 1.6 must be loaded and saved again by their owner."
        ) from None
    return Scan(names, tuple(name for name in names if name not in TENSOR_NAMES))


def _check_entries(path: Path, archive: zipfile.ZipFile) -> str:
    """Check that sizes, compression and paths are as torch.save writes them, and return the name of the pickle."""
    entries = archive.infolist()
    size = path.stat().st_size
    if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > size:
        raise ValueError(f"its entries claim more than the file's {size} bytes")
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or entry.filename.startswith(("/", "\\")) or ":" in entry.filename:
            raise ValueError(f"entry {entry.filename!r} points outside of the archive")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"entry {entry.filename!r} is compressed, which torch.save never does")
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"it holds {len(pickles)} data.pkl, expected 1")
    if pickles[0].file_size > _MAX_PICKLE_BYTES:
        raise ValueError(f"data.pkl has {pickles[0].file_size} bytes, expected at most {_MAX_PICKLE_BYTES}")
    return pickles[0].filename


def _check_sums(path: Path, archive: zipfile.ZipFile) -> None:
    damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"entry {damaged!r} has a wrong checksum")


def load(path: Path) -> dict[str, Any]:
    """Load the dictionary in a `torch.save` file, with its tensors on the CPU.

    Raises:
        PriorError: The archive is unsound, its pickle names anything but tensors, or it holds no dictionary.
    """
    refuse(path, list(scan(path).dangerous), ["tensors and plain values"])
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise any exception in torch; the user gets one sentence
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PriorError(f"{path}: torch cannot load it ({reason}). Fetch the file again.") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise PriorError(f"{path}: holds a {type(content).__name__}, expected a dictionary with text keys.")
    return content


def tensors(path: Path, content: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a state dict whose names start with `prefix`, under their names without it.

    Raises:
        PriorError: A value is no dense tensor, is larger than its storage, or is not finite.
    """
    if not isinstance(content, dict):
        raise PriorError(f"{path}: the weights are a {type(content).__name__}, expected a state dict.")
    found = {str(k)[len(prefix) :]: v for k, v in content.items() if str(k).startswith(prefix)}
    for name, value in found.items():
        if not isinstance(value, Tensor) or value.layout is not torch.strided:
            raise PriorError(f"{path}: {name} is a {type(value).__name__}, expected a dense tensor.")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise PriorError(f"{path}: {name} claims {tuple(value.shape)} elements, more than the file stores.")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise PriorError(f"{path}: {name} has values that are not finite. The file is damaged.")
    return found
