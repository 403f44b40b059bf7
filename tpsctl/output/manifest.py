"""The manifest, one JSON file per run directory, which records the recipe, inputs, versions and results of a run."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tpsctl.errors import OutputError
from tpsctl.files import write_text

NAME = "manifest.json"
_SHOWN_DIFFERENCES = 5
_OUTSIDE_DIGEST = ("output.directory", "output.checkpoint", "output.report", "validation.committor")


def file_sha256(path: Path) -> str:
    """SHA-256 of the content of a file, or of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, values: dict[str, Any]) -> None:
    """Write `manifest.json`, complete or not at all; a number that is not finite becomes null, as JSON demands."""
    write_json(folder / NAME, values)


def write_json(file: Path, values: dict[str, Any]) -> None:
    """Write a JSON file, complete or not at all; a number that is not finite becomes null, as JSON demands."""
    write_text(file, json.dumps(plain(values), indent=2, allow_nan=False) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run directory; None if there is none.

    Raises:
        OutputError: The file cannot be read or is not JSON.
    """
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder / NAME}: cannot be read: {error}. Move the folder away.") from None


def differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """For every dotted key at which two nested JSON values differ, one line with the key and both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from differences(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    elif before != now:
        yield f"{key}: {json.dumps(before)} there, {json.dumps(now)} now"


def shown_differences(before: dict[str, Any], now: dict[str, Any], parts: Iterable[str]) -> list[str]:
    """Indented lines for a message: the first keys that differ in these parts of two manifests.

    Output places and the wishes for a report and for a committor are left out, and so are places of input files whose
    content is the same, because no digest of a recipe depends on them.
    """
    places = (*(f"recipe.{key}: " for key in _OUTSIDE_DIGEST), *_moved(before, now))
    lines = [line for part in parts for line in differences(before.get(part), now.get(part), part)]
    changed = [line for line in lines if not line.startswith(places)]
    more = [f"  and {len(changed) - _SHOWN_DIFFERENCES} more"] * (len(changed) > _SHOWN_DIFFERENCES)
    return [f"  {line}" for line in changed[:_SHOWN_DIFFERENCES]] + more


def _moved(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """The beginnings of lines that are about places of input files with unchanged content."""
    inputs = before.get("inputs") or {}
    for key, entry in (now.get("inputs") or {}).items():
        if inputs.get(key, {}).get("sha256") == entry["sha256"]:
            yield f"recipe.{key}: "
            yield f"inputs.{key}.file: "


def plain(value: Any) -> Any:
    """Nested values as JSON can hold them: lists for tuples, null for numbers that are not finite, text for paths."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
