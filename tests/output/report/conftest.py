"""Reports made up from arrays, and a real browser that opens them from a file."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tpsctl.molecule.topology import Atom, Topology
from tpsctl.output.report import (
    ActionCourse,
    Evidence,
    IntervalChart,
    IntervalRow,
    PathCurve,
    PlaneMap,
    RamachandranPanel,
    ReportTable,
    ReportVerdict,
    RunReport,
    Shading,
    pack_frames,
)

PACKAGE = "chromium"


def chain(n_atoms, *, name="CA", element="C"):
    atoms = tuple(Atom(name, element, "ALA", i + 1, "A", 12.0) for i in range(n_atoms))
    return Topology(atoms, tuple((i, i + 1) for i in range(n_atoms - 1)))


def moving_chain(n_paths, n_images, n_atoms, *, step=0.05):
    """Positions (path, image, atom, 3), angstrom, of a zigzag chain whose atoms walk at random."""
    random = np.random.default_rng(7)
    start = np.stack([1.3 * np.arange(n_atoms), 0.7 * (np.arange(n_atoms) % 2), np.zeros(n_atoms)], -1)
    return start + random.normal(0, step, (n_paths, n_images, n_atoms, 3)).cumsum(1)


def make_evidence():
    """A section with a chart of two lines; the first is about image 7 of path 2."""
    rows = [
        IntervalRow("image 7, the top of the path", 0.5, 0.4, 0.6, "0.50 (0.40 to 0.60), 100 shots", image=7),
        IntervalRow("top of the straight line, control", np.nan, np.nan, np.nan, "unknown, 20 shots", "control"),
    ]
    chart = IntervalChart("Chance to reach B before A", rows, 0.0, 1.0, (0.3, 0.7), "Shaded: 0.3 to 0.7.", path=2)
    table = ReportTable("All shots", ("start", "shots"), [("image 7", "100")], closed=True)
    return Evidence("Committor: a test", "Half of the shots arrive in B.", True, ["A sentence."], [chart], [table])


def make_report(n_paths=3, n_images=11, n_atoms=6, *, name="run", plane=False, frames=True, beads=False, groups=None):
    """A report with everything that a report may have; path 1 is not valid."""
    part = np.linspace(0, 1, n_images)
    tops = 30.0 + 10.0 * np.arange(n_paths)
    curves = [
        PathCurve(
            name=f"path {k}",
            group=(groups or [0] * n_paths)[k],
            group_name=f"channel {(groups or [0] * n_paths)[k]}",
            valid=k != 1,
            distance=part * (1 + 0.1 * k),
            energies={"raw": tops[k] * np.sin(np.pi * part), "minimized": 0.9 * tops[k] * np.sin(np.pi * part)},
        )
        for k in range(n_paths)
    ]
    angle = np.stack([np.linspace(-80, 60 + k, n_images) for k in range(n_paths)])
    steps = np.arange(0, 40, 2)
    down = np.exp(-steps / 10)[:, None] * (1 + np.arange(n_paths)) + 5
    packed = pack_frames(chain(n_atoms), moving_chain(n_paths, n_images, n_atoms), beads=beads) if frames else None
    grid = np.linspace(-1, 1, 8)
    shading = Shading("potential energy", grid, grid, np.add.outer(grid**2, grid**2))
    return RunReport(
        name=name,
        verdict=ReportVerdict("not_valid", "1 of 3 paths fails.", ["a reason"], ["a doubt"], ["a remedy"]),
        facts=[("paths", "2 of 3 valid")],
        curves=curves,
        distance_label="distance along the path (nm)",
        ceiling=float(tops.max()),
        panels=[] if plane else [RamachandranPanel("ALA2", angle, -angle)],
        panels_note="",
        action=ActionCourse(steps, [(0, "1. adam"), (20, "2. lbfgs")], down, {"kinetic": down[:, 0]}),
        planes=[PlaneMap("Paths on the potential", "x (nm)", "y (nm)", angle / 100, -angle / 100, shading)]
        if plane
        else [],
        frames=packed,
        frames_note="" if frames else "A model system has no structure to show.",
        tables=[ReportTable("Paths", ("path", "gate"), [(str(k), "valid") for k in range(n_paths)], path_column=0)],
        evidence=[make_evidence()],
        words=[("action", "how improbable a path is")],
    )


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of the system; it is installed if TPSCTL_TEST_INSTALL=1, else tests without it are skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason='no playwright here (pip install -e ".[test]")')
    if not shutil.which(PACKAGE) and os.environ.get("TPSCTL_TEST_INSTALL") == "1":
        get = f"apt-get install -y -qq --no-install-recommends {PACKAGE}"
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(f"{get} || (apt-get update -qq && {get})", shell=True, env=environment, check=False)
    program = shutil.which(PACKAGE)
    if program is None:
        pytest.skip(f"no Chromium here. Get it with: apt-get install {PACKAGE}; or TPSCTL_TEST_INSTALL=1 as root")
    # no GPU is needed: WebGL is drawn by the processor
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


class OpenedPage:
    """A page in the browser, and everything that it requested or complained of."""

    def __init__(self, browser, file: Path, **options):
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.wait_for("Boolean(window.tpsctlViewer || document.querySelector('#viewer-card.empty'))")

    def wait_for(self, condition, seconds=60.0):
        """Wait until an expression is true; Playwright's own way of waiting needs `eval`, which the page forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"not within {seconds:g} s: {condition}"
            self.page.wait_for_timeout(50)

    def frame(self):
        """Number of the structure that the viewer shows, and its first atom's position as the viewer has it."""
        return self.page.evaluate(
            "async () => { const viewer = window.tpsctlViewer; await viewer.show(viewer.path, Number(image.value));"
            " const { x, y, z } = viewer.model.selectedAtoms({})[0]; return [viewer.path, viewer.frame, [x, y, z]]; }"
        )

    def selected(self):
        return self.page.text_content("#selected")


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of a report from a file, with the network off."""
    from tpsctl.output.report import report_html

    pages = []

    def of(report, *, width=1280, scheme="light"):
        file = tmp_path / f"report{len(pages)}.html"
        file.write_text(report_html(report), encoding="utf-8")
        viewport = {"width": width, "height": 900}
        pages.append(OpenedPage(browser, file, viewport=viewport, color_scheme=scheme))
        return pages[-1]

    yield of
    for page in pages:
        page.context.close()
