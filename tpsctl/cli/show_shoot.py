"""Shows what shots say of a path: a table and a verdict for people, or a JSON object for scripts."""

from typing import Any

from tpsctl.console import print_table


def as_json(manifest: dict[str, Any]) -> dict[str, Any]:
    """The answer of `tpsctl shoot --json`; for a shard, all its facts."""
    if "shard" in manifest:
        return manifest
    names = ("outcome", "verdict", "directory", "recipe")
    answer = {name: manifest[name] for name in names if name in manifest}
    if "kind" not in manifest:  # nothing was shot
        return answer
    if manifest["kind"] == "ensemble":
        return answer | {"ensemble": manifest["ensemble"]}
    return answer | {"starts": [{key: _known(value) for key, value in entry.items()} for entry in manifest["starts"]]}


def show(manifest: dict[str, Any]) -> None:
    """Print the committors, the result of one shard, or why nothing was shot."""
    if "shard" in manifest:
        facts = [[name, str(value)] for name, value in manifest.items()]
        print_table("shard", ["what", "value"], facts)
        return
    if "kind" not in manifest:
        print_table("committor by shooting", ["outcome"], [[manifest["outcome"]]], notes=[manifest["verdict"]])
        return
    if manifest["kind"] == "ensemble":
        _show_ensemble(manifest)
        return
    columns = ["start", "role", "shots", "to A", "to B", "neither", "p_B", "95 % interval", "mean ps", "verdict"]
    rows = [_row(entry) for entry in manifest["starts"]]
    print_table(
        f"{manifest['name']}, path {manifest['recipe']['path']}: committor by shooting",
        columns,
        rows,
        notes=_notes(manifest),
    )


def _show_ensemble(manifest: dict[str, Any]) -> None:
    found = manifest["ensemble"]
    rows = [[name, _number(one["mean"]), _number(one["largest"])] for name, one in found["distances"].items()]
    length, outcomes = found["length_ps"], found["outcomes"]
    tops = [
        f"{name} {one['path']:.1f} (ensemble {one['mean']:.1f} +- {one['deviation']:.1f})"
        for name, one in found["top"].items()
    ]
    notes = [
        f"trials: {found['trials']}, of which " + ", ".join(f"{count} {name}" for name, count in outcomes.items()),
        f"lengths: {length['mean']:.2f} +- {length['deviation']:.2f} ps, up to {length['longest']:.2f}",
        f"at the top of the path: {', '.join(tops)}",
        *_notes(manifest),
    ]
    title = f"{manifest['name']}, path {manifest['recipe']['path']}: {found['accepted']} transition paths"
    print_table(title, ["distance from the axis in spreads", "mean", "largest"], rows, notes=notes)


def _notes(manifest: dict[str, Any]) -> list[str]:
    return [
        f"dynamics: {manifest['dynamics']}",
        f"states: {_states(manifest['recipe'])}",
        f"verdict: {manifest['verdict']}",
        f"files: {manifest['directory']}",
    ]


def _row(entry: dict[str, Any]) -> list[str]:
    lost = f"{entry['to_neither']}" + (f" ({entry['failed']} failed)" if entry["failed"] else "")
    return [
        entry["start"],
        entry["role"],
        str(entry["shots"]),
        str(entry["to_a"]),
        str(entry["to_b"]),
        lost,
        _number(entry["p_b"]),
        f"{_number(entry['p_b_low'])} to {_number(entry['p_b_high'])}",
        _number(entry["mean_length_ps"]),
        entry["verdict"],
    ]


def _known(value: Any) -> Any:
    """A value for JSON, which has no NaN."""
    return None if value != value else value


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}"


def _states(asked: dict[str, Any]) -> str:
    """Both states in words."""
    sides = {letter: " and ".join(_condition(one, asked) for one in asked["states"][letter]) for letter in "AB"}
    return f"A: {sides['A']}; B: {sides['B']}"


def _condition(one: dict[str, Any], asked: dict[str, Any]) -> str:
    match one["kind"]:
        case "dihedral":
            name = one["dihedral"] if isinstance(one["dihedral"], str) else "-".join(one["dihedral"])
            return f"{name} from {one['from_deg']:g} to {one['to_deg']:g} degrees"
        case "distance":
            return f"{' to '.join(one['atoms'])} {one['from_nm']:g} to {one['to_nm']:g} nm"
        case "rmsd":
            return f"RMSD below {one['below_nm']:.3g} nm"
        case "torsions":
            return f"{', '.join(asked['turning_torsions'])} within {one['within_deg']:.3g} degrees (root mean square)"
        case _:
            return f"within {one['within_nm']:.3g} nm of the end"
