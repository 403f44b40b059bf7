"""What every benchmark shares: where and when it ran, how results are stored, ways that take turns.

benchmarks/results/NAME.json     all numbers, with date and machine
benchmarks/results/NAME.md       the tables that a person reads, with the same heading
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tpsctl.environment import versions
from tpsctl.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Table:
    """Rows of numbers or words under a title; `head` names the columns with their units."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def markdown(self) -> str:
        """The table as text; numbers to three significant digits."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        body = "\n".join("| " + " | ".join(_shown(cell) for cell in line) + " |" for line in lines)
        return f"**{self.title}**\n\n{body}\n"


def machine() -> dict[str, Any]:
    """Where and when: date (UTC), processor, cores, load before the run, GPU if there is one, versions."""
    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }
    return facts | ({"gpu": gpu} if (gpu := _gpu()) else {})


def write_report(name: str, facts: Mapping[str, Any], results: Mapping[str, Any], tables: Sequence[Table]) -> None:
    """Store a benchmark as JSON and as a page, and print the page.

    Args:
        name: File name in benchmarks/results without suffix.
        facts: `machine()`, taken before the run, and what was fixed (threads, sizes, seeds).
        results: The numbers.
        tables: What a person should see of them.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / f"{name}.json", json.dumps({"machine": dict(facts), **results}, indent=1) + "\n")
    page = "\n".join([heading(facts), *(table.markdown() for table in tables)])
    write_text(RESULTS / f"{name}.md", page)
    print(page)


def heading(facts: Mapping[str, Any]) -> str:
    """One line that says where and when numbers were measured."""
    found = facts["versions"]
    hardware = [facts.get("gpu"), facts["processor"], f"{facts['cores']} cores", f"load {facts['load']} before"]
    threads = [f"{facts['threads']} threads"] if "threads" in facts else []
    software = f"torch {found['torch']}, OpenMM {found['openmm']}, tpsctl {found['tpsctl']}"
    return f"Measured {facts['date']} on {', '.join([*filter(None, hardware), *threads])}; {software}.\n"


def in_turns(ways: Mapping[str, Callable[[], Any]], *, rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each way, which take turns so that other work on the machine hits them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-warm_up, rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def memory_mb(what: str) -> float:
    """What Linux says of this process: "VmRSS", the memory it holds, or "VmHWM", the most it has held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1e3


def _shown(cell: Any) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:.0f}"
    return str(cell)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
