"""A real Slurm in a temporary directory: munge, a controller and one node that pretends to 8 CPUs and 4 GPUs.

Where Slurm is missing, the tests that need it are skipped and say how to get it; with TPSCTL_TEST_INSTALL=1 in the
environment it is installed (root on Debian). Nothing else is written outside the temporary directory, and no system
service is used.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"
START_S = 120.0


def require_slurm() -> None:
    """Skip with the way to get Slurm where its programs are missing; install it first if that is wanted."""
    if os.environ.get("TPSCTL_TEST_INSTALL") == "1" and _missing():
        _install()
    if missing := _missing():
        pytest.skip(
            f"no Slurm here ({', '.join(missing)} missing). Get it with: apt-get install {' '.join(PACKAGES)}; "
            "or as root on Debian let the tests do so: TPSCTL_TEST_INSTALL=1"
        )


def _missing() -> list[str]:
    return [name for name in (*DAEMONS, "sbatch") if not shutil.which(name, path=SEARCH)]


def _install() -> None:
    """Install Debian's packages; what comes of it is seen by what is still missing."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    get = f"apt-get install -y -qq --no-install-recommends {' '.join(PACKAGES)}"
    subprocess.run(f"{get} || (apt-get update -qq && {get})", shell=True, env=environment, check=False)


def wait_until(condition, seconds: float, what: str):
    """The first true value of `condition()`; fails after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Slurm:
    """One running cluster; `run` calls a command in its environment."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, root / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.config), "PATH": SEARCH, "OMP_NUM_THREADS": "1"}
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        for name in ("run", "state", "spool", "log", "munge"):
            (self.root / name).mkdir()
        self._write_files()
        munge, run, log = self.root / "munge", self.root / "run", self.root / "log"
        self._launch(
            ["munged", "--foreground", "--force", "--num-threads=2", f"--key-file={munge / 'key'}"]
            + [f"--socket={run / 'munge.sock'}", f"--pid-file={run / 'munged.pid'}"]
            + [f"--log-file={log / 'munged.log'}", f"--seed-file={munge / 'seed'}"]
        )
        wait_until((run / "munge.sock").exists, START_S, "munge's socket")
        self._launch(["slurmctld", "-D", "-c", "-f", str(self.config)])
        self._launch(["slurmd", "-D", "-c", "-f", str(self.config)])
        wait_until(lambda: self.query("sinfo", "-h", "-o", "%T") == "idle", START_S, f"an idle node; see {log}")

    def _write_files(self) -> None:
        host = socket.gethostname().partition(".")[0]
        controller_port, node_port = free_ports(2)
        template = string.Template(Path(__file__).with_name("slurm.conf.in").read_text())
        self.config.write_text(
            template.substitute(
                host=host,
                root=self.root,
                user=getpass.getuser(),
                controller_port=controller_port,
                node_port=node_port,
            )
        )
        (self.root / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/tty[0-3]\n")
        (self.root / "munge").chmod(0o700)
        key = self.root / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)

    def _launch(self, command: list[str]) -> None:
        out = (self.root / "log" / f"{command[0]}.out").open("w")
        self._daemons.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))

    def stop(self) -> None:
        """Empty the queue first: a node's step daemons outlive it otherwise."""
        self.clear()
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=120)

    def clear(self) -> None:
        """Cancel what is left of a test."""
        self.run("scancel", "--me", "--state=PENDING")
        self.run("scancel", "--me", "--full", "--signal=KILL")
        self.run("scancel", "--me")
        wait_until(lambda: not self.query("squeue", "-h"), 300, "an empty queue")

    def run(self, *command: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        words = [str(word) for word in command]
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, cwd=cwd)

    def query(self, *command: object) -> str:
        return self.run(*command).stdout.strip()

    def tpsctl(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        return self.run(sys.executable, "-m", "tpsctl", *arguments, cwd=cwd)

    def states(self, job: str) -> dict[str, str]:
        """State of each task of a job by array index ("" of a plain job), while Slurm remembers it."""
        lines = self.query("squeue", "-h", "-r", "--states=all", f"--jobs={job}", "-o", "%K %T").splitlines()
        return dict(line.replace("N/A", "").rsplit(" ", 1) for line in lines)

    def show(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says of one job or task."""
        words = self.query("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for(self, job: str, *states: str, seconds: float = 900) -> dict[str, str]:
        """Wait until all tasks of a job are in one of these states; an unknown job counts as none."""

        def reached():
            found = self.states(job)
            return found if found and set(found.values()) <= set(states) else None

        return wait_until(reached, seconds, f"job {job} {' or '.join(states)}; now {self.states(job)}")


@pytest.fixture(scope="session")
def _cluster():
    require_slurm()
    root = Path(tempfile.mkdtemp(prefix="tpsctl-slurm-"))  # a short path, as sockets want it, which all may enter
    root.chmod(0o755)
    cluster = Slurm(root)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def slurm(_cluster):
    """The cluster with an empty queue."""
    yield _cluster
    _cluster.clear()
