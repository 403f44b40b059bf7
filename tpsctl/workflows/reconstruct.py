"""What `tpsctl reconstruct` does: all-atom structures of C-alpha paths, judged, with energies, in RUN/all_atom.

    beads of a path -> back-end, image by image -> hydrogens -> gate -> side chains carried along the path
                    -> minimization with the beads held -> gate and energies

Inverted centers, cis bonds and clashes are counted in what the back-end made, before any minimization, and in what is
written. The minimization holds centers and peptide bonds at their usual geometry, so it may mend a fault of the
back-end; the verdict is about what is written.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.environment import versions
from tpsctl.errors import OutputError, ValidationError
from tpsctl.files import require_free, whole_folder
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.reconstruction import Reconstructor, reconstructor
from tpsctl.molecule.reconstruction.all_atoms import AllAtomMolecule, build_molecule
from tpsctl.molecule.reconstruction.base import HeavyAtoms
from tpsctl.molecule.reconstruction.continuation import choose_seed, continue_along
from tpsctl.molecule.reconstruction.flicker import Flicker, flicker
from tpsctl.molecule.reconstruction.relax import BeadRestrainedMinimizer
from tpsctl.molecule.reconstruction.sequence import standard_residues, unbroken_chains
from tpsctl.output import tables
from tpsctl.output.manifest import file_sha256, read_manifest, write_manifest
from tpsctl.output.trajectory import write_path, write_topology
from tpsctl.progress import Progress
from tpsctl.validation.amino_acids import ProteinCheck, ProteinFaults
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate
from tpsctl.workflows.stored_run import StoredRun

FOLDER = "all_atom"
"""The folder of a run directory that holds the result."""

_REMEDY = "Replace it with --overwrite."

FORCE_FIELD = ("amber14-all.xml", "implicit/gbn2.xml")
"""The force field unless another one is named: amber14 in the implicit solvent GBn2."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """What a user chooses.

    Attributes:
        backend: Name of the back-end.
        paths: Numbers of the paths.
        every: Only every n-th image, and the last one.
        force_field: XML files of an all-atom force field.
        seed: Seed of a back-end that draws random numbers, and of hydrogens.
        smooth: Whether side chains are carried along the path; otherwise every image is minimized on its own.
        overwrite: Whether an earlier result may be replaced.
    """

    backend: str = "cgback"
    paths: tuple[int, ...] = (0,)
    every: int = 1
    force_field: tuple[str, ...] = FORCE_FIELD
    seed: int = 2026
    smooth: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class _Done:
    """One reconstructed path: which images, their structures (nm), and what was found about them."""

    path: int
    images: list[int]
    beads: Tensor
    reconstructed: Tensor
    before: Tensor
    after: Tensor
    seed_image: int
    seconds: dict[str, float]


def reconstruct_run(run: Path, settings: ReconstructionSettings, progress: Progress) -> dict[str, Any]:
    """Reconstruct paths of a run directory, write RUN/all_atom, and return its manifest.

    Raises:
        RecipeError: The folder holds no finished run of a molecule, or has no such path.
        ValidationError: The beads are not unbroken chains of C-alpha atoms, or the back-end or OpenMM fails.
        MissingDependencyError: The back-end is not installed.
        OutputError: There is a result already, or it cannot be written.
    """
    stored, target = StoredRun.read(run), _target(run, settings)
    maker = reconstructor(settings.backend, seed=settings.seed)
    beads = stored.topology
    if kind_of_beads(beads) is not BeadKind.ALPHA_CARBONS:
        raise ValidationError(
            f"{stored.topology_file}: got {kind_of_beads(beads)}, expected C-alpha atoms only. Only C-alpha beads can "
            "be reconstructed; paths of all atoms need no reconstruction."
        )
    loaded = {number: _every(stored.path(number), settings.every) for number in settings.paths}
    names, chains = standard_residues(beads), unbroken_chains(beads)
    heavy, made_s = {}, {}
    for number, (x, _) in loaded.items():
        started = time.monotonic()
        heavy[number] = _reconstruct(maker, names, chains, x, f"{maker.name}, path {number}", progress)
        made_s[number] = time.monotonic() - started
    first = settings.paths[0]
    compact = choose_seed(loaded[first][0], torch.ones(len(loaded[first][0]), dtype=torch.bool))
    molecule = build_molecule(beads, names, heavy[first][compact], seed=settings.seed)
    model = EnergyModel(molecule.topology, settings.force_field, molecule.template, threads=1)
    check = ProteinCheck(molecule.topology)
    minimizer = BeadRestrainedMinimizer(model.made.system, molecule, platform=model.platform)
    done = [
        _finish(number, images, x, molecule.place(heavy[number]), (molecule, minimizer, check), settings, progress)
        for number, (x, images) in loaded.items()
    ]
    done = [_with_seconds(one, made_s[one.path]) for one in done]
    results = [_judge(one, molecule, model, check) for one in done]
    inputs = [*(stored.path_file(number) for number in settings.paths), stored.topology_file]
    manifest = {
        "name": f"{FOLDER} of {run.resolve().name}",
        "outcome": "complete" if all(entry["gate"] == "valid" for entry, _ in results) else "not_valid",
        "settings": asdict(settings),
        "backend": {"name": maker.name, "package": maker.package, "version": maker.version},
        "inputs": {file.name: {"file": file, "sha256": file_sha256(file)} for file in inputs},
        "residues": len(names),
        "atoms": molecule.topology.n_atoms,
        "energies": asdict(model.protocol),
        "paths": [entry for entry, _ in results],
        "versions": versions(),
        "directory": str(target),
    }
    columns: dict[str, Any] = {}
    for _, rows in results:
        columns = {name: _joined(columns.get(name), values) for name, values in rows.items()}
    _write(target, molecule, done, columns, manifest)
    return manifest


def _target(run: Path, settings: ReconstructionSettings) -> Path:
    """The folder of the result, if it may be written."""
    target = run / FOLDER
    require_free(target, overwrite=settings.overwrite, remedy=_REMEDY)
    if target.exists() and read_manifest(target) is None:
        raise OutputError(f"{target}: holds something that is no result of this command. Move it away.")
    return target


def _every(path: Float[Tensor, "image bead 3"], step: int) -> tuple[Float[Tensor, "chosen bead 3"], list[int]]:
    """Every n-th image of a path and the last one, and their numbers."""
    last = len(path) - 1
    images = sorted({*range(0, last, step), last})
    return path[images], images


def _reconstruct(
    maker: Reconstructor, names: Sequence[str], chains: Sequence[range], x: Tensor, title: str, progress: Progress
) -> list[HeavyAtoms]:
    """Heavy atoms of every image, chain by chain."""
    made = []
    with progress.task(title, len(x)) as update:
        for k, image in enumerate(x.numpy(), start=1):
            parts = [maker.reconstruct(names[c.start : c.stop], image[c.start : c.stop]) for c in chains]
            made.append([residue for part in parts for residue in part])
            update(k, "")
    return made


def _finish(
    number: int,
    images: list[int],
    beads: Tensor,
    x: Tensor,
    tools: tuple[AllAtomMolecule, BeadRestrainedMinimizer, ProteinCheck],
    settings: ReconstructionSettings,
    progress: Progress,
) -> _Done:
    """Carry side chains along a path, if they are to be, and minimize every image."""
    molecule, minimizer, check = tools
    found = check.check(x)
    seed = choose_seed(beads, ~found.inverted.any(1) & ~found.cis.any(1))
    started = time.monotonic()
    with progress.task(f"minimizing, path {number}", len(x)) as update:
        count = iter(range(1, len(x) + 1))
        if settings.smooth:
            before, after = continue_along(molecule, minimizer, x, beads, seed, lambda: update(next(count), ""))
        else:
            before, after = x, x.clone()
            for k in range(len(x)):
                after[k] = minimizer.minimize(x[k], beads[k])
                update(next(count), "")
    return _Done(number, images, beads, x, before, after, seed, {"minimization": time.monotonic() - started})


def _with_seconds(done: _Done, reconstruction_s: float) -> _Done:
    done.seconds["reconstruction"] = reconstruction_s
    return done


def _judge(
    done: _Done, molecule: AllAtomMolecule, model: EnergyModel, check: ProteinCheck
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest's entry of a path, and its rows of images.csv."""
    topology = molecule.topology
    made, final = check.check(done.reconstructed), check.check(done.after)
    gate = GeometryGate(topology, done.after[done.seed_image][None]).check(done.after[None])
    raw, minimized = model.energies(done.before), model.energies(done.after)
    flickers = {"reconstructed": flicker(topology, done.reconstructed), "written": flicker(topology, done.after)}
    apart = (done.after[:, list(molecule.alpha_carbons)] - done.beads).square().sum(-1).mean(-1).sqrt()
    valid = final.image_passes & gate.image_passes[0]
    faults = [*final.words, *filter(None, gate.faults)]
    entry = {
        "path": done.path,
        "images": len(done.images),
        "seed_image": done.images[done.seed_image],
        "gate": "; ".join(faults) or "valid",
        "valid_images": int(valid.sum()),
        "reconstructed": _counts(made),
        "written": _counts(final),
        "flicker": {name: _flicker_entry(found) for name, found in flickers.items()},
        "ca_rmsd_nm": float(apart.max()),
        "energy_kj_per_mol": {
            kind: {"lowest": float(e.min()), "highest": float(e.max())}
            for kind, e in (("raw", raw), ("minimized", minimized))
        },
        "seconds": done.seconds,
    }
    rows = {
        "path": [str(done.path)] * len(done.images),
        "image": [str(k) for k in done.images],
        "valid": valid,
        "ca_rmsd_nm": apart,
        "clashes": final.clashes,
        "cis_bonds": final.cis.sum(1),
        "inverted_centers": final.inverted.sum(1),
        "clashes_reconstructed": made.clashes,
        "cis_bonds_reconstructed": made.cis.sum(1),
        "inverted_centers_reconstructed": made.inverted.sum(1),
        "energy_raw_kj_per_mol": raw,
        "energy_minimized_kj_per_mol": minimized,
        **{f"flicker_{name}_nm": _padded(found.step_nm) for name, found in flickers.items()},
        **{name: values.flatten() for name, values in gate.columns.items() if name != "valid"},
    }
    return entry, rows


def _counts(faults: ProteinFaults) -> dict[str, int]:
    return {
        "inverted_centers": int(faults.inverted.sum()),
        "cis_bonds": int(faults.cis.sum()),
        "clashes": int(faults.clashes.sum()),
    }


def _flicker_entry(found: Flicker) -> dict[str, float | int]:
    return {"mean_nm": found.mean_nm, "jumps": int(found.jumps.sum()), "torsions": found.torsions}


def _padded(values: Tensor) -> Tensor:
    """Values of gaps as a column of images; the last image has none."""
    return torch.nn.functional.pad(values, (0, 1), value=torch.nan)


def _joined(before: Any, values: Any) -> Any:
    if before is None:
        return values
    return torch.cat((before, values)) if isinstance(values, Tensor) else [*before, *values]


def _write(
    target: Path, molecule: AllAtomMolecule, done: Sequence[_Done], columns: dict[str, Any], manifest: dict[str, Any]
) -> None:
    """Write the folder so that it is complete or not there."""
    with whole_folder(target, overwrite=manifest["settings"]["overwrite"], remedy=_REMEDY) as made:
        write_topology(made, molecule.topology, done[0].after[0], name=manifest["name"])
        for one in done:
            write_path(made, one.path, one.after, molecule.topology, dt_ps=None, formats=("dcd", "pdb"))
        tables.write_table(made / "images.csv", columns)
        write_manifest(made, manifest)
