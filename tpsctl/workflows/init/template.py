"""The text of a new recipe. All of it is here; nothing else knows what the recipe says."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA_FILE = "schema.json"
"""Name of the file beside the recipe that editors check it with."""

TEMPERATURE_K = 300
"""Temperature of a prior that is a force field, K."""

ROUTE = """\
path: {paths: 16}  # attempts in each round of the search
optimize: {method: route}  # finds the lowest passes, and proves each of them to be a saddle
"""
"""Settings for molecules whose routes are searched for."""

LEVENBERG_MARQUARDT = """\
path: {paths: 4, guess: {kind: torsion}}  # the molecule turns about its bonds
optimize: {method: levenberg_marquardt}  # minimizes the action of each path
"""
"""Settings for the others."""

_TEXT = """\
# yaml-language-server: $schema={schema}
# Paths between {start} and {end} ({atoms} atoms), written by tpsctl init.
# No number has to be changed. `tpsctl schema` prints every key; file names are relative to this file.
version: 1
name: {name}
seed: 1  # another seed draws other first paths
endpoints:
  start: {{structure: {start_file}}}
  end: {{structure: {end_file}}}
prior: {prior}  # where the forces come from
{settings}{validation}output: {{directory: {directory}, trajectories: [dcd, pdb]}}
"""

_PLAIN = re.compile(r"[A-Za-z0-9_./-]*[A-Za-z][A-Za-z0-9_./-]*")
"""Text that YAML reads as text without quotes, unless it is one of `_WORDS` or a number."""

_NUMBER = re.compile(r"[-+.0-9_]+([eE][-+]?[0-9]+)?")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class NewRecipe:
    """What a new recipe says. File names are relative to the recipe.

    Attributes:
        name: Name of the run.
        start: File of structure A.
        end: File of structure B.
        atoms: Number of atoms, for the comment.
        checkpoint: File of the trained prior; None if the force field is the prior.
        force_field: Value of the key `force_field`: a list of names or a mapping; None for no energies.
        route: Whether routes are searched for.
        directory: The run directory.
    """

    name: str
    start: str
    end: str
    atoms: int
    checkpoint: str | None
    force_field: list[str] | dict[str, str] | None
    route: bool
    directory: str

    @property
    def text(self) -> str:
        """The recipe file, with a modeline for editors."""
        as_is = ", minimize: false" if self.route and self.checkpoint is None else ""
        energy = "" if self.force_field is None else f"energy: {{force_field: {flow(self.force_field)}{as_is}}}"
        return _TEXT.format(
            schema=SCHEMA_FILE,
            start=_in_comment(self.start),
            end=_in_comment(self.end),
            atoms=self.atoms,
            name=flow(self.name),
            start_file=flow(self.start),
            end_file=flow(self.end),
            prior=self._prior(),
            settings=ROUTE if self.route else LEVENBERG_MARQUARDT,
            validation=f"validation: {{{energy}}}  # judges every path\n" if energy else "",
            directory=flow(self.directory),
        )

    def _prior(self) -> str:
        if self.checkpoint is None:
            return f"{{kind: openmm, force_field: {flow(self.force_field)}, temperature_k: {TEMPERATURE_K}}}"
        return f"{{kind: checkpoint, checkpoint: {flow(self.checkpoint)}}}"


def flow(value: Any) -> str:
    """A text, or a list or mapping of texts, as YAML on one line; texts are quoted where YAML would misread them."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not _NUMBER.fullmatch(value)
    return value if plain else json.dumps(value, ensure_ascii=False)


def _in_comment(file: str) -> str:
    """A file name without line breaks or other characters that end a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in file)
