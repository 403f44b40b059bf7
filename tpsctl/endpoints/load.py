"""Load one end of a path, or a whole trajectory, as the beads the user selected."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.reading import RawStructure, read_frames, read_structure_file
from tpsctl.endpoints.structure import Structure, require_sound
from tpsctl.errors import EndpointError
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.topology import Atom, Topology


def load_structure(
    path: str | Path, *, frame: int | None = None, topology: str | Path | None = None, select: str = "all"
) -> Structure:
    """One structure from a structure file, or one frame of a trajectory.

    Args:
        path: PDB, mmCIF, GRO, ... or, with `topology`, a trajectory (DCD, XTC, ...).
        frame: Which frame, from 0 (negative: from the end); may be left out if there is one only.
        topology: Structure file that names the atoms of a trajectory.
        select: MDTraj selection of the beads, e.g. "name CA".

    Raises:
        EndpointError: Whatever is wrong with the file or the selection, one message each.
    """
    raw, frames = _read(Path(path), None if topology is None else Path(topology))
    index = _frame_index(path, frame, len(frames))
    source = str(path) if len(frames) == 1 else f"{path} frame {index}"
    beads, molecule, notes = _selected(raw, select, source)
    return require_sound(Structure(molecule, torch.from_numpy(frames[index][beads]), source, notes))


def load_path(path: str | Path, *, topology: str | Path | None = None, select: str = "all") -> list[Structure]:
    """All frames of a trajectory or multi-model file, in order, each as a `Structure`.

    Raises:
        EndpointError: As `load_structure`; also if there are fewer than two frames.
    """
    raw, frames = _read(Path(path), None if topology is None else Path(topology))
    if len(frames) < 2:
        raise EndpointError(f"{path}: has {len(frames)} frame, expected at least 2 for a path. Give a trajectory.")
    beads, molecule, notes = _selected(raw, select, str(path))
    first = Structure(molecule, torch.from_numpy(frames[0][beads]), str(path), notes)
    images = (replace(first, x=torch.from_numpy(f[beads]), source=f"{path} frame {i}") for i, f in enumerate(frames))
    return [require_sound(image) for image in images]


def load_ensemble(
    paths: Sequence[str | Path], *, topology: str | Path, select: str = "all"
) -> tuple[Topology, list[Float[Tensor, "frame bead 3"]]]:
    """All frames of several trajectories of one molecule, for statistics: positions in nm, float64.

    Raises:
        EndpointError: As `load_structure`, for the worst frame of each trajectory; also if one has no frames.
    """
    raw = read_structure_file(Path(topology))
    beads, molecule, _ = _selected(raw, select, str(topology))
    trajectories = []
    for path in paths:
        x = torch.from_numpy(read_frames(Path(path), raw, Path(topology))[:, beads])
        if not len(x):
            raise EndpointError(f"{path}: holds no frames. Give a trajectory with at least one.")
        worst = _most_suspicious_frame(x, molecule)
        require_sound(Structure(molecule, x[worst], f"{path} frame {worst}"))
        trajectories.append(x)
    return molecule, trajectories


def _most_suspicious_frame(x: Float[Tensor, "frame bead 3"], molecule: Topology) -> int:
    """The frame with a position that is not finite, or else the one with the longest bond."""
    finite = torch.isfinite(x).all(-1).all(-1)
    if not finite.all() or not molecule.bonds:
        return int(finite.long().argmin())
    i, j = torch.tensor(molecule.bonds).unbind(1)
    return int((x[:, i] - x[:, j]).norm(dim=-1).amax(1).argmax())


def _read(path: Path, topology: Path | None) -> tuple[RawStructure, np.ndarray]:
    if topology is None:
        raw = read_structure_file(path)
        return raw, raw.frames
    raw = read_structure_file(topology)
    return raw, read_frames(path, raw, topology)


def _frame_index(path: str | Path, frame: int | None, count: int) -> int:
    if count == 0:
        raise EndpointError(f"{path}: holds no positions. Give a structure, or a trajectory with this topology.")
    if frame is None:
        if count > 1:
            raise EndpointError(
                f"{path}: has {count} models or frames, expected one. Choose one with frame: 0 to {count - 1}."
            )
        return 0
    if not -count <= frame < count:
        raise EndpointError(f"{path}: frame {frame} is out of range; there are {count} frames (0 to {count - 1}).")
    return frame % count


def _selected(raw: RawStructure, select: str, source: str) -> tuple[list[int], Topology, tuple[str, ...]]:
    """Indices of the chosen beads, their topology, and notes."""
    try:
        beads = [int(i) for i in raw.topology.select(select)]
    except Exception as error:  # MDTraj's selection parser raises anything
        raise EndpointError(
            f'endpoints.select: cannot read "{select}" ({error}). Use MDTraj\'s language, e.g. "name CA" or "protein".'
        ) from error
    if not beads:
        names = sorted({atom.name for atom in raw.topology.atoms})
        raise EndpointError(
            f'endpoints.select: "{select}" selects none of the {raw.topology.n_atoms} atoms of {source} '
            f"(atom names there: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}). Select at least one."
        )
    everything = Topology(tuple(_atom(a, source) for a in raw.topology.atoms), raw.bonds)
    molecule = everything.select(beads)
    if not molecule.bonds and kind_of_beads(molecule) is BeadKind.ALPHA_CARBONS:
        molecule = replace(molecule, bonds=_alpha_carbon_bonds([raw.topology.atom(i) for i in beads]))
    return beads, molecule, _unbonded_notes(molecule, source)


def _atom(atom: mdtraj.core.topology.Atom, source: str) -> Atom:
    residue = atom.residue
    chain = (getattr(residue.chain, "chain_id", None) or "").strip()
    element = atom.element
    if residue.n_atoms == 1 and len(atom.name) == 2:  # GRO and bare PDB: ion CL is no carbon
        element = _ION_ELEMENTS.get(atom.name.upper(), element)
    if element is None or element.mass <= 0:
        raise EndpointError(
            f"{source}: atom {residue.name}{residue.resSeq}:{atom.name} has no element, hence no mass. "
            "Fill the element column, or leave such sites out with endpoints.select."
        )
    return Atom(atom.name, element.symbol, residue.name, int(residue.resSeq), chain, float(element.mass))


_ION_ELEMENTS = {name: mdtraj.element.get_by_symbol(name.title()) for name in ("CL", "NA", "MG", "ZN", "LI", "BR")}


def _alpha_carbon_bonds(atoms: list) -> tuple[tuple[int, int], ...]:
    """Consecutive C-alpha beads along each chain; a gap in the residue numbers is a chain break."""
    return tuple(
        (i, i + 1)
        for i, (a, b) in enumerate(zip(atoms, atoms[1:], strict=False))
        if a.residue.chain is b.residue.chain and b.residue.resSeq - a.residue.resSeq == 1
    )


def _unbonded_notes(molecule: Topology, source: str) -> tuple[str, ...]:
    """One note per residue of several atoms in which an atom has no bond at all."""
    members: dict[tuple[str, int, str], list[int]] = {}
    for i, atom in enumerate(molecule.atoms):
        members.setdefault((atom.chain_id, atom.residue_id, atom.residue_name), []).append(i)
    notes = []
    for (chain, number, name), found in members.items():
        loose = [i for i in found if not molecule.neighbors[i]]
        if loose and len(found) > 1:
            notes.append(
                f"{source}: no bonds are known for {len(loose)} of {len(found)} atoms of residue "
                f"{f'{chain}:' if chain else ''}{name}{number}; they are matched by name only and their bonds are not "
                "checked. Add CONECT records."
            )
    return tuple(notes)
