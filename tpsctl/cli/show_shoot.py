"""Shows what shots say of a path: a table and a verdict for people, or a JSON object for scripts."""

from typing import Any

from tpsctl.console import print_table


def as_json(manifest: dict[str, Any]) -> dict[str, Any]:
    """The answer of `tpsctl shoot --json`; for a shard, all its facts."""
    if "shard" in manifest:
        return manifest
    names = ("outcome", "verdict", "directory", "recipe", "starts")
    answer = {name: manifest[name] for name in names}
    return answer | {"starts": [{key: _known(value) for key, value in entry.items()} for entry in answer["starts"]]}


def show(manifest: dict[str, Any]) -> None:
    """Print the committors, or the result of one shard."""
    if "shard" in manifest:
        facts = [[name, str(value)] for name, value in manifest.items()]
        print_table("shard", ["what", "value"], facts)
        return
    columns = ["start", "role", "shots", "to A", "to B", "neither", "p_B", "95 % interval", "mean ps", "verdict"]
    rows = [_row(entry) for entry in manifest["starts"]]
    notes = [
        f"dynamics: {manifest['dynamics']}",
        f"states: {_states(manifest['recipe'])}",
        f"verdict: {manifest['verdict']}",
        f"files: {manifest['directory']}",
    ]
    print_table(
        f"{manifest['name']}, path {manifest['recipe']['path']}: committor by shooting", columns, rows, notes=notes
    )


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
