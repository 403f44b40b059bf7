"""The tables that end a training run: rows for `tpsctl.cli` to print."""

from typing import Any

from tpsctl.workflows.train.verdict_tables import TrainingTable, tables_in_card, verdict_tables


def tables_of(card: dict[str, Any]) -> list[TrainingTable]:
    """The tables for a card, as `train_recipe` returns it, of any kind of recipe."""
    if "times_ps" in card:
        return [_of_snapshots(card), *verdict_tables(card.get("verdict"))]
    if "molecules" in card:
        parts = [{**card, **entry, "name": f"{card['name']}, {entry['name']}"} for entry in card["molecules"]]
        return [_of_molecules(card), *(_of_molecule(part) for part in parts), *tables_in_card(card)]
    if "metrics" not in card:
        return [_of_potential(card)]
    return [_of_molecule(card), *verdict_tables(card.get("verdict"))]


def _of_molecule(card: dict[str, Any]) -> TrainingTable:
    """R^2 of held-out torques: a row per bond, a column per noise width."""
    quality = card["metrics"]["held_out_torque_r2"]
    by_width = quality["by_width_nm"]
    bonds = list(next(iter(by_width.values())))
    note = f"against {quality['reference']} of {quality['frames']} frames of held-out trajectories"
    if quality["reference"] == "denoising targets":
        note += "; the noise of these targets keeps R^2 below 1 even for a perfect model"
    forces = "forces were used" if card["data"]["forces_used"] else "from positions alone"
    return TrainingTable(
        f"{card['name']}: R^2 of held-out torques, by noise width",
        ["bond", *(f"{width} nm" for width in by_width)],
        [[bond, *(f"{by_width[width][bond]:.3f}" for width in by_width)] for bond in bonds],
        [
            note,
            f"{card['kind']}, {card['data']['training_frames']} frames, {forces}{_of_times(card['metrics'])}",
            f"checkpoint: {card['file']}",
        ],
    )


def _of_times(metrics: dict[str, Any]) -> str:
    effective = metrics.get("effective_fraction_of_times")
    return "" if effective is None else f", effective fraction of a batch's times {effective:.3f}"


def _of_molecules(card: dict[str, Any]) -> TrainingTable:
    """One row per molecule of a shared model: frames, the held-out loss, the verdict."""
    rows = [
        [
            entry["name"],
            str(len(entry["atoms"])),
            str(entry["data"]["training_frames"]),
            "-" if entry["metrics"]["held_out_loss"] is None else f"{entry['metrics']['held_out_loss']:.4f}",
            entry["verdict"]["words"],
        ]
        for entry in card["molecules"]
    ]
    columns = ["molecule", "beads", "frames", "held-out loss", "verdict"]
    return TrainingTable(f"{card['name']}: molecules", columns, rows, [f"bead types: {', '.join(card['bead_types'])}"])


def _of_potential(card: dict[str, Any]) -> TrainingTable:
    """Kind, temperature and the loss at both ends of the run."""
    about = card["provenance"]
    rows = [
        ["kind", card["kind"]],
        ["temperature", f"{card['temperature_k']:g} K"],
        ["loss, first tenth of the steps", f"{about['loss']['first_tenth']:.4f}"],
        ["loss, last tenth of the steps", f"{about['loss']['last_tenth']:.4f}"],
    ]
    effective = about["loss"].get("effective_fraction_of_times")
    if effective is not None:
        rows.append(["effective fraction of a batch's times", f"{effective:.3f}"])
    return TrainingTable(about["name"], ["what", "value"], rows, [f"checkpoint: {card['file']}"])


def _of_snapshots(card: dict[str, Any]) -> TrainingTable:
    """Times, noise and the loss at both ends of the run, and what the field must not be taken for."""
    about, times, length = card["provenance"], card["times_ps"], card.get("growth_length_nm")
    rows = [
        ["kind", f"{card['kind']}, between snapshots"],
        ["snapshots", f"{len(times)}, from {times[0]:g} to {times[-1]:g} ps"],
        ["diffusion coefficient", f"{card['diffusion_nm2_per_ps']:g} nm^2/ps"],
        ["length of growth", "none: all weights are 1" if length is None else f"{length:g} nm"],
        ["loss, first tenth of the steps", f"{about['loss']['first_tenth']:.4f}"],
        ["loss, last tenth of the steps", f"{about['loss']['last_tenth']:.4f}"],
        ["effective fraction of a batch's times", f"{about['loss']['effective_fraction_of_times']:.3f}"],
    ]
    return TrainingTable(
        about["name"], ["what", "value"], rows, [f"mind: {card['caveat']}", f"checkpoint: {card['file']}"]
    )
