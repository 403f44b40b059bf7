"""Running real commands that are killed: each is a process of its own, started by `server.py`."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_TIMES = ("seconds", "started", "machines", "directory", "recipe")
"""What may differ in a manifest: times, hosts and places."""


class Running:
    """A command under way."""

    def __init__(self, ask, pid, log):
        self._ask, self.pid, self.log, self.code = ask, pid, log, None

    def poll(self):
        """The exit code, negative for a signal, as of `subprocess`; None while it runs."""
        if self.code is None:
            self.code = self._ask({"poll": self.pid})["code"]
        return self.code

    def wait(self, longest_s=1200.0):
        end = time.monotonic() + longest_s
        while self.poll() is None:
            assert time.monotonic() < end, self.text
            time.sleep(0.005)
        return self.code

    def wait_for(self, text, longest_s=600.0):
        """Until it has said something."""
        end = time.monotonic() + longest_s
        while text not in self.text:
            assert self.poll() is None, self.text
            assert time.monotonic() < end, self.text
            time.sleep(0.002)

    def kill_after(self, seconds, number=signal.SIGKILL):
        """Send a signal then; the exit code."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.poll() is None:
            time.sleep(0.001)
        if self.poll() is None:
            os.kill(self.pid, number)
        return self.wait()

    @property
    def text(self):
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture(scope="session")
def server():
    """Answers to requests, by a process that has all imported."""
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    ) as process:

        def ask(request):
            process.stdin.write(json.dumps(request) + "\n")
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture(scope="session")
def start(server, tmp_path_factory):
    """`start("sample", ..., fault="slow_dcd")` begins a command."""
    logs, running = tmp_path_factory.mktemp("logs"), []

    def begin(*words, fault="", environment=None):
        log = logs / f"{len(running)}.log"
        request = {"start": [str(word) for word in words], "log": str(log), "fault": fault}
        pid = server(request | {"environment": environment or {}})["pid"]
        running.append(Running(server, pid, log))
        return running[-1]

    yield begin
    for each in running:
        if each.poll() is None:
            os.kill(each.pid, signal.SIGKILL)
            each.wait()


class Content(dict):
    """What a run directory holds: by file, its text or bytes, and what may not differ of tables and manifests."""


def pytest_assertrepr_compare(op, left, right):
    """Name the files that differ and show the first line that does, not everything."""
    if not (op == "==" and isinstance(left, Content) and isinstance(right, Content)):
        return None
    said = ["two run directories are the same"]
    for name in sorted(set(left) | set(right)):
        if name not in left or name not in right:
            said.append(f"{name}: only in the {'right' if name in right else 'left'} one")
        elif left[name] != right[name]:
            lines = zip(_lines(left[name]), _lines(right[name]), strict=False)
            said += [f"{name} (of {len(left[name])} and {len(right[name])}):", *_first_that_differs(lines)]
    return said


def _lines(value):
    """A table's rows, a manifest's entries, a text's lines or the bytes by 64."""
    if isinstance(value, bytes):
        return [value[k : k + 64] for k in range(0, len(value), 64)]
    return sorted(value.items()) if isinstance(value, dict) else value


def _first_that_differs(pairs):
    for number, (left, right) in enumerate(pairs):
        if left != right:
            return [f"  {number}: {left!r}", f"  {number}: {right!r}"]
    return ["  one is longer"]


@pytest.fixture(scope="session")
def content():
    """What a run directory holds, but for times, hosts and places; nothing else may be in it."""

    def content_of(folder):
        found = Content()
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            data, name = file.read_bytes(), str(file.relative_to(folder))
            is_text = file.suffix in (".csv", ".json", ".yaml", ".pdb", ".md")
            found[name] = data.decode().splitlines() if is_text else data
        rows = list(csv.DictReader(found["paths.csv"]))
        found["paths.csv"] = [_without(row) for row in rows]
        if "report.html" in found:
            found["report.html"] = "a page that shows these files and times"
        found["manifest.json"] = _without(json.loads("\n".join(found["manifest.json"])))
        return found

    return content_of


def _without(values):
    return {name: value for name, value in values.items() if name not in _TIMES}


WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 5, images: 24, batch_paths: 2, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.05, diffusion_nm2_per_ps: 0.001}
optimize:
  - {method: adam, max_steps: 15, learning_rate_nm: 1e-3, images: 12}
  - {method: lbfgs, max_steps: 15, action_tolerance: 1e-9}
  - {method: levenberg_marquardt, max_steps: 40, action_tolerance: 1e-8, gradient_tolerance_per_nm: 1e-2}
output: {directory: out, trajectories: [dcd, pdb], figures: false}
"""

ALANINE = Path(__file__).parents[2] / "recipes" / "alanine_dipeptide"
PEPTIDE = f"""\
version: 1
name: peptide
seed: 5
endpoints: {{start: {{structure: {ALANINE}/c7eq.pdb}}, end: {{structure: {ALANINE}/c7ax.pdb}}}}
prior: {{kind: checkpoint, checkpoint: {ALANINE}/diffusion.safetensors, diffusion_time: 0.01}}
path: {{paths: 3, images: 10, batch_paths: 2, guess: {{kind: torsion}}}}
action: {{functional: truncated, dt_ps: 8e-4, friction_per_ps: 1.0, temperature_k: 300}}
optimize:
  - {{method: lbfgs, max_steps: 3, images: 8}}
  - {{method: levenberg_marquardt, max_steps: 4}}
validation: {{energy: {{force_field: [amber99sbildn.xml], minimize: false}}}}
output: {{directory: out, figures: false}}
"""


@pytest.fixture(scope="session")
def whole(start, content, tmp_path_factory):
    """What an unbroken run of `recipe` gives."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "well.yaml").write_text(WELL)
    done = start("sample", folder / "well.yaml", "--threads", 1)
    assert done.wait() == 0, done.text
    return content(folder / "out")


@pytest.fixture
def recipe(tmp_path):
    """A recipe file of five paths in three batches; a run takes a second or so."""
    file = tmp_path / "well.yaml"
    file.write_text(WELL)
    return file


@pytest.fixture
def peptide(tmp_path):
    """A recipe file with a network, OpenMM energies and three paths in two batches."""
    file = tmp_path / "peptide.yaml"
    file.write_text(PEPTIDE)
    return file
