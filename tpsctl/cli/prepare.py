"""The command that repairs structures: `prepare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tpsctl.cli.answer import say_json, working
from tpsctl.cli.given_files import refuse_special, require_place_for_file
from tpsctl.cli.options import JsonOption, given_path
from tpsctl.errors import EndpointError


def prepare(
    source: Annotated[
        Path, typer.Argument(parser=given_path, metavar="IN", help="Structure file (PDB, mmCIF).", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Argument(
            parser=given_path,
            metavar="OUT",
            help="File to write (.pdb or .cif); it must not exist yet.",
            show_default=False,
        ),
    ],
    ph: Annotated[float, typer.Option("--ph", min=0, max=14, help="pH that decides the hydrogens.")] = 7.0,
    caps: Annotated[bool, typer.Option("--caps", help="Cap every chain of amino acids with ACE and NME.")] = False,
    remove_water: Annotated[bool, typer.Option("--remove-water", help="Remove water.")] = False,
    remove_ions: Annotated[bool, typer.Option("--remove-ions", help="Remove single ions.")] = False,
    fill_gaps: Annotated[
        bool, typer.Option("--fill-gaps", help="Build residues missing inside a chain (from SEQRES), crudely.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Repair a structure: alternate locations, missing atoms, hydrogens, caps. All changes are listed."""
    refuse_special(source, "a structure file", EndpointError)
    if not source.is_file():
        raise EndpointError(f"{source}: no such file. Expected a structure file in PDB or mmCIF format.")
    require_place_for_file(target)
    with working():
        from tpsctl.workflows.prepare.run import PrepareOptions, prepare_structure

        options = PrepareOptions(ph, caps, remove_water, remove_ions, fill_gaps)
        facts = prepare_structure(source, target, options)
    if json_:
        say_json(facts)
    else:
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    from tpsctl.console import print_table

    rows = [[change["residue"] or "file", change["change"]] for change in facts["changes"]]
    notes = [
        f"{name} is protonated as {variant}" for name, variant in facts["protonation"].items() if variant not in name
    ]
    notes += [f"disulfide bond: {one} - {other}" for one, other in facts["disulfides"]]
    notes += [f"note: {note}" for note in facts["notes"]]
    notes += [
        f"force field: {facts['force_field']}",
        f"{facts['atoms']} atoms, {facts['residues']} residues, pH {facts['ph']:g}",
    ]
    print_table(f"wrote {facts['file']}", ["residue", "change"], rows, notes=notes)
