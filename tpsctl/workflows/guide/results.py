"""Writes everything a guided run leaves: ensembles, tables, figures, and the manifest."""

import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.environment import versions
from tpsctl.molecule.geometry import superpose
from tpsctl.output.figures.guidance import guidance_course, samples_in_plane, targets_and_averages
from tpsctl.output.tables import Column, write_table
from tpsctl.output.trajectory import write_ensemble, write_topology
from tpsctl.workflows.guide.campaigns.base import GUIDED, Campaign, CampaignReport
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.tools import GuideTools


def write_result(
    folder: Path, tools: GuideTools, campaign: Campaign, drawn: Mapping[str, Drawn], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write all files of a run but its manifest into a new folder; the manifest without the run's identity."""
    report = campaign.report(drawn, facts["numbers"])
    _write_ensembles(folder, tools, drawn)
    _write_tables(folder, tools, campaign, drawn, report, facts)
    if tools.recipe.output.figures:
        _draw(folder / "figures", tools, campaign, drawn[GUIDED], report, facts)
    work = drawn[GUIDED].work
    return {
        "name": tools.recipe.name,
        "outcome": campaign.outcome(drawn),
        "samples": len(drawn[GUIDED].x),
        "excess_work_nats": work.nats,
        "excess_work_error_nats": work.error,
        "excess_work_from_log_ratios_nats": work.from_ratios,
        "excess_work_from_log_ratios_error_nats": work.from_ratios_error,
        "effective_size_unguided": work.effective_size,
        "numbers": dict(zip(campaign.names, facts["numbers"], strict=True)),
        "tuned": bool(facts["tuning"]),
        "diffusion_time": {"value": tools.time, "reason": tools.time_reason},
        **report.facts,
        "started": facts["started"],
        "seconds": facts["seconds"],
        "versions": versions(),
        "machine": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "device": str(tools.device),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
        },
    }


def _write_ensembles(folder: Path, tools: GuideTools, drawn: Mapping[str, Drawn]) -> None:
    """The samples of every kind, superposed on the first guided one."""
    first = drawn[GUIDED].x[:1]
    write_topology(folder, tools.topology, first[0], name=tools.recipe.name)
    for name, samples in drawn.items():
        x = superpose(samples.x, first.expand_as(samples.x)) if tools.is_molecule else samples.x
        stem = folder / "samples" / _file_name(name)
        write_ensemble(stem, x, tools.topology, title=f"{name} samples", formats=tools.recipe.output.ensembles)


def _write_tables(
    folder: Path,
    tools: GuideTools,
    campaign: Campaign,
    drawn: Mapping[str, Drawn],
    report: CampaignReport,
    facts: dict[str, Any],
) -> None:
    guided, columns = drawn[GUIDED], report.columns
    weights = torch.softmax(-guided.log_ratio, 0) * len(guided.x)
    rows: dict[str, Column] = {
        "sample": [str(k) for k in range(len(guided.x))],
        "log_ratio_nats": guided.log_ratio,
        "work_nats": guided.samples.work.sum(0),
        "weight_unguided": weights,
    }
    write_table(folder / "samples.csv", rows | columns)
    write_table(folder / "work.csv", _work_columns(tools, campaign, guided, facts["numbers"]))
    for name, table in report.tables.items():
        write_table(folder / name, table)
    if facts["tuning"]:
        write_table(folder / "tuning.csv", _tuning_columns(campaign, facts["tuning"]))


def _work_columns(tools: GuideTools, campaign: Campaign, guided: Drawn, numbers: list[float]) -> dict[str, Column]:
    """The course of the work, one row per step, from noise to data."""
    widths, by_step = tools.widths, guided.work.by_step
    times, schedules = campaign.course(widths[:-1], numbers)
    scale = tools.model.unit_nm
    return {
        "step": [str(k) for k in range(len(by_step))],
        "time": _column(times),
        "from_width_nm": _column([width * scale for width in widths[:-1]]),
        "to_width_nm": _column([width * scale for width in widths[1:]]),
        "work_nats": by_step,
        "work_so_far_nats": by_step.cumsum(0),
        **{name: _column(values) for name, values in schedules.items()},
    }


def _tuning_columns(campaign: Campaign, tried: list[dict[str, Any]]) -> dict[str, Column]:
    numbers = {name: _column([row["numbers"][k] for row in tried]) for k, name in enumerate(campaign.names)}
    parts = {name: _column([row[name] for row in tried]) for name in ("value", "misfit", "work_nats")}
    return {"evaluation": [str(k) for k in range(len(tried))], **numbers, **parts}


def _draw(
    folder: Path, tools: GuideTools, campaign: Campaign, guided: Drawn, report: CampaignReport, facts: dict[str, Any]
) -> None:
    title = tools.recipe.name
    times, schedules = campaign.course(tools.widths[:-1], facts["numbers"])
    guidance_course(folder / "work", times, guided.work.by_step, schedules, title=title)
    if report.comparison:
        targets_and_averages(folder / "targets", report.comparison, title=title)
    if report.plane is not None:
        samples_in_plane(folder / "samples", report.plane, title=title)


def _file_name(name: str) -> str:
    return name.replace(" ", "_").replace("/", "_")


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
