"""Force-field XML files: where they are, which files they include, and whether OpenMM can read them.

OpenMM answers a mistake in such a file with a traceback. This module therefore reads every file first and keeps the
line number of every element, so that a message names the file and the line, and what was found and expected there.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from xml.parsers import expat

from tpsctl.errors import ValidationError

_REQUIRED = {
    ("AtomTypes", "Type"): ("name", "class", "mass"),
    ("Residues", "Residue"): ("name",),
    ("Residue", "Atom"): ("name", "type"),
    ("Residue", "VirtualSite"): ("type",),
    ("Residue", "AllowPatch"): ("name",),
    ("Patches", "Patch"): ("name",),
    ("ForceField", "Include"): ("file",),
}
"""Attributes that OpenMM requires of an element, by the names of its parent and of itself."""

_SERIALIZED = {"System", "State", "Integrator"}

_INCLUDE = re.compile(r"""<Include\s+file\s*=\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class Element:
    """An XML element with the line on which it begins."""

    line: int
    parent: str
    name: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class ForceFieldFile:
    """A force-field XML file as it was read.

    Attributes:
        path: The file.
        shipped: Whether it came with OpenMM or a package that extends it.
        text: Its text.
        elements: All its elements in order; empty for a shipped file, because it needs no check.
    """

    path: Path
    shipped: bool
    text: str
    elements: tuple[Element, ...] = ()

    def of(self, parent: str, name: str) -> list[Element]:
        """The elements of this name below this parent."""
        return [element for element in self.elements if (element.parent, element.name) == (parent, name)]


def find_files(names: Sequence[str | Path]) -> list[Path]:
    """The existing files of these names and the files that they include, in the order in which OpenMM reads them."""
    return [file.path for file in _found(names) if isinstance(file, ForceFieldFile)]


def read_files(names: Sequence[str | Path]) -> list[ForceFieldFile]:
    """Read the files of these names and the files that they include, and check those that OpenMM does not ship.

    Args:
        names: A `str` is the name of a file that OpenMM ships, or an absolute path; a `Path` is a path.

    Raises:
        ValidationError: A file is missing, or OpenMM could not read it.
    """
    files = []
    for file in _found(names):
        if not isinstance(file, ForceFieldFile):
            raise ValidationError(_missing(file))
        files.append(file if file.shipped else _checked(replace(file, elements=_elements(file.path))))
    _check_types(files)
    return files


def _found(names: Sequence[str | Path]) -> Iterator[ForceFieldFile | str | Path]:
    """Files in OpenMM's order, unchecked; a name without a file is given as it is."""
    todo: list[tuple[str | Path, Path | None]] = [(name, find_file(name)) for name in names]
    seen: set[Path] = set()
    while todo:
        name, path = todo.pop(0)
        if path is None:
            yield name
        elif path not in seen:
            seen.add(path)
            text = path.read_text(encoding="utf-8", errors="replace")
            yield ForceFieldFile(path, any(path.is_relative_to(folder) for folder in shipped_folders()), text)
            for included in _INCLUDE.findall(text):
                beside = path.parent / included
                todo.append((included, beside if beside.is_file() else find_file(included)))


def find_file(name: str | Path) -> Path | None:
    """Find the file that OpenMM would read; None if there is none.

    A path means the file at that path. Any other name is searched among the files that OpenMM and its extensions ship.
    """
    if isinstance(name, Path) or Path(name).is_absolute():
        return Path(name) if Path(name).is_file() else None
    return next((folder / name for folder in shipped_folders() if (folder / name).is_file()), None)


def shown(name: str | Path) -> str:
    """The name of a file in summaries: with its folder for a file that OpenMM ships, without it for a user's file."""
    return name if isinstance(name, str) and not Path(name).is_absolute() else Path(name).name


def locate(error: Exception, files: Sequence[ForceFieldFile]) -> str:
    """Find the place of an attribute that OpenMM could not read, as "FILE:LINE: what is wrong".

    OpenMM's error names the missing attribute (KeyError) or the text that is no number (ValueError), but no place. The
    place is the first element that lacks this attribute while others of its kind have it, or the first element that
    has this text. Returns "" if there is no such element.
    """
    text = str(error.args[0]) if error.args else ""
    if isinstance(error, KeyError):
        for file in files:
            having = {(e.parent, e.name) for e in file.elements if text in e.attributes}
            for element in file.elements:
                if (element.parent, element.name) in having and text not in element.attributes:
                    return f'{file.path}:{element.line}: <{element.name}> lacks the attribute "{text}"'
    if "could not convert string to float" in text:
        value = text.partition(": ")[2].strip("'\"")
        for file in files:
            for element in file.elements:
                for key, found in element.attributes.items():
                    if found == value and key not in ("name", "type", "class"):
                        return f'{file.path}:{element.line}: <{element.name}> has {key}="{value}", expected a number'
    return ""


@cache
def shipped_folders() -> tuple[Path, ...]:
    """Folders of the force fields that OpenMM and packages that extend it (openmmforcefields) ship."""
    from openmm.app import forcefield

    return tuple(Path(folder) for folder in forcefield._getDataDirectories())  # OpenMM offers no public view of them


def _missing(name: str | Path) -> str:
    if isinstance(name, Path) or Path(name).is_absolute():
        return f"{name}: no such force-field file. Put it there, or name one that OpenMM ships."
    names = [p.relative_to(folder).as_posix() for folder in shipped_folders() for p in folder.rglob("*.xml")]
    hint = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    suggestion = f' Did you mean "{hint[0]}"?' if hint else ""
    return (
        f'force field "{name}": no such file beside the recipe, and OpenMM ships none of that name.{suggestion} '
        "Give the path of a file, or the name of one that OpenMM ships."
    )


def _elements(path: Path) -> tuple[Element, ...]:
    """All elements of an XML file.

    Raises:
        ValidationError: The file is not valid XML; the message names file and line.
    """
    elements: list[Element] = []
    stack: list[str] = []
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        elements.append(Element(parser.CurrentLineNumber, stack[-1] if stack else "", name, attributes))
        stack.append(name)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: stack.pop()
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        problem = expat.ErrorString(error.code)
        if not elements:
            raise ValidationError(f"{path}:{error.lineno}: this is no XML ({problem}). {_EXPECTED}") from None
        raise ValidationError(f"{path}:{error.lineno}: not valid XML: {problem}. Mend it here or above.") from None
    return tuple(elements)


def _checked(file: ForceFieldFile) -> ForceFieldFile:
    """Check that OpenMM can read the file, and return it.

    Raises:
        ValidationError: OpenMM cannot read it; the message names file and line.
    """
    root = file.elements[0]
    if root.name != "ForceField":
        hint = ""
        if root.name in _SERIALIZED:
            hint = ' For a serialized System write "force_field: {kind: system, file: FILE}".'
        raise ValidationError(f"{file.path}:{root.line}: got <{root.name}>. {_EXPECTED}{hint}")
    for element in file.elements:
        for key in _REQUIRED.get((element.parent, element.name), ()):
            if key not in element.attributes:
                named = element.attributes.get("name")
                which = f' "{named}"' if named else ""
                raise ValidationError(
                    f'{file.path}:{element.line}: <{element.name}>{which} lacks the attribute "{key}".'
                )
        if element.parent == "AtomTypes" and element.name == "Type":
            _check_type(file, element)
        if element.parent == "Residue" and element.name in ("Bond", "ExternalBond"):
            _check_bond(file, element)
    return file


def _check_type(file: ForceFieldFile, element: Element) -> None:
    from openmm import app

    name, symbol, mass = (element.attributes.get(key) for key in ("name", "element", "mass"))
    try:
        if symbol is not None:
            app.Element.getBySymbol(symbol)
    except KeyError:
        raise ValidationError(
            f'{file.path}:{element.line}: atom type "{name}" has the unknown element "{symbol}". Give the symbol of an '
            "element, or leave the attribute out for a bead that is no atom."
        ) from None
    if not _is_number(mass):
        raise ValidationError(
            f'{file.path}:{element.line}: atom type "{name}" has mass="{mass}", expected a number (amu).'
        )


def _check_bond(file: ForceFieldFile, element: Element) -> None:
    keys = ("atomName1", "atomName2") if element.name == "Bond" else ("atomName",)
    numbers = ("from", "to") if element.name == "Bond" else ("from",)
    if not (all(k in element.attributes for k in keys) or all(k in element.attributes for k in numbers)):
        raise ValidationError(f"{file.path}:{element.line}: <{element.name}> lacks {' and '.join(keys)}.")


def _check_types(files: Sequence[ForceFieldFile]) -> None:
    """Check that every atom of a residue has a type that one of the files defines."""
    known = {element.attributes.get("name") for file in files for element in file.of("AtomTypes", "Type")}
    for file in (file for file in files if not file.shipped):
        for element in file.of("Residue", "Atom"):
            if (wanted := element.attributes["type"]) not in known:
                name = element.attributes["name"]
                raise ValidationError(
                    f'{file.path}:{element.line}: atom "{name}" has the type "{wanted}", which no file defines. '
                    "Define it in AtomTypes, or add the file that does."
                )


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


_EXPECTED = "Expected a force field of OpenMM (<ForceField> ... </ForceField>)."
