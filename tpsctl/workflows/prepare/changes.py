"""What `tpsctl prepare` changed, residue by residue."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Place:
    """A residue of a file.

    Attributes:
        chain: Its chain.
        name: Its name.
        number: Its number.
        code: Its insertion code; "" if it has none.
    """

    chain: str
    name: str
    number: int
    code: str = ""

    def __str__(self) -> str:
        return f"{self.chain}:{self.name}{self.number}{self.code}".removeprefix(":")


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        place: The residue; None for the whole file.
        text: What was done, in words.
    """

    place: Place | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {"residue": None if self.place is None else str(self.place), "change": self.text}


Atoms = dict[Place, list[tuple[str, bool]]]
"""For each residue its atoms by name, and whether each is a hydrogen."""


def additions(before: Atoms, after: Atoms) -> list[Change]:
    """The residues and atoms that were added, in the order of the result; hydrogens are counted."""
    found = []
    for place, atoms in after.items():
        if place not in before:
            found.append(Change(place, f"added this residue ({len(atoms)} atoms)"))
            continue
        known = {name for name, _ in before[place]}
        new = [(name, hydrogen) for name, hydrogen in atoms if name not in known]
        heavy = [name for name, hydrogen in new if not hydrogen]
        hydrogens = [name for name, hydrogen in new if hydrogen]
        texts = [f"the missing {', '.join(heavy)}"] * bool(heavy)
        texts += [f"{len(hydrogens)} hydrogens ({', '.join(hydrogens)})"] * bool(hydrogens)
        if texts:
            found.append(Change(place, f"added {' and '.join(texts)}"))
    return found
