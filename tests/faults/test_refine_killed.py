"""`tpsctl refine` and `tpsctl guide` killed with SIGKILL on the way, and `refine` shared by two processes."""

import time

import pytest

PATHS = """\
version: 1
name: points
seed: 4
endpoints: {start: {position_nm: [-1.5, 0.2]}, end: {position_nm: [1.5, -0.1]}}
prior: {kind: gaussian, mean_nm: [0.0, 0.0], std_nm: 1.0}
path: {paths: 2, images: 20, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.1, diffusion_nm2_per_ps: 1.0}
optimize: {method: levenberg_marquardt, max_steps: 50}
validation:
  states: {A: [{kind: point, within_nm: 0.6}], B: [{kind: point, within_nm: 0.6}]}
output: {directory: unused, figures: false, report: false}
"""
REFINE = """\
version: 1
name: rounds
sample: paths.yaml
rounds: 2
shots: {paths: 1, around: 6, least: 20, most: 40, dt_ps: 0.05}
guide:
  strength: {height: 0.8, midpoint: 0.6}
  bandwidth: {floor: 0.5}
  shots: {least: 10, most: 20}
  sampling: {samples: 20, steps: 12, batch_samples: 10}
output: {directory: unused}
"""
GUIDE = """\
version: 1
name: committor
seed: 3
prior: {kind: gaussian, mean_nm: [0.0], std_nm: 1.0}
guide:
  kind: path
  guides: {points_nm: [[0.3], [-0.3]]}
  success:
    kind: committor
    ends: {points_nm: [[-1.5], [1.5]]}
    states: {A: [{kind: point, within_nm: 0.5}], B: [{kind: point, within_nm: 0.5}]}
    dynamics: {kind: prior, dt_ps: 0.05}
  strength: {height: 1, midpoint: 0.5}
  sensitivity: false
sampling: {samples: 30, steps: 12, batch_samples: 10}
output: {directory: unused, figures: false}
"""


SURFACE = """\
version: 1
name: surface
sample: %s/recipes/mueller_brown/paths.yaml
rounds: 1
shots: {paths: 1, around: 1, least: 8, most: 8}
guide:
  strength: {height: 1, midpoint: 0.5}
  bandwidth: {floor: 0.3}
  low: 0.2
  high: 0.8
  shots: {least: 4, most: 4, tuning: 4}
  sampling: {samples: 20, steps: 20, batch_samples: 10}
output: {directory: unused}
"""


@pytest.fixture
def recipes(tmp_path, root):
    texts = {"paths": PATHS, "refine": REFINE, "guide": GUIDE, "surface": SURFACE % root}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def results(folder):
    """All tables, trajectories and structures but the tables with times."""
    kinds = {".csv", ".dcd", ".pdb"}
    found = {file.relative_to(folder): file for file in folder.rglob("*") if file.suffix in kinds}
    return {name: file.read_bytes() for name, file in found.items() if name.name not in ("paths.csv", "steps.csv")}


WHERE = {
    "guide": ("state/rounds/round_0000_block_01.*", "state/rounds/round_0001_block_00.*"),
    "refine": (
        "round_1/shots/path_0000/state/plan.json",
        "round_1/guided/state/rounds/round_0000_block_00.*",
        "round_2/sample/manifest.json",
    ),
    "surface": (
        "round_1/sample/manifest.json",
        "round_1/shots/path_0000/manifest.json",
        "round_1/guided/state/rounds/round_0001_block_00.*",
    ),
}
"""Files of a recipe at whose appearance the command is killed."""


def killed_at(running, folder, pattern):
    """Kill a process as soon as it has written a file; whether that was before its end."""
    while running.poll() is None and not list(folder.glob(pattern)):
        time.sleep(0.001)
    return running.kill_after(0) < 0


@pytest.mark.parametrize(("command", "name"), [("guide", "guide"), ("refine", "refine"), ("refine", "surface")])
def test_killed_on_the_way_it_gives_the_files_of_an_unbroken_run(start, recipes, command, name):
    """The surface has a trained prior, the others an exact Gaussian."""
    words = (command, recipes / f"{name}.yaml", "--threads", 1, "--device", "cpu", "--out")
    assert start(*words, recipes / "whole").wait() in (0, 3)
    again = recipes / "again"
    kills = [killed_at(start(*words, again), again, pattern) for pattern in WHERE[name]]
    assert any(kills)
    assert start(*words, again).wait() in (0, 3)
    assert results(again) == results(recipes / "whole")
    assert len(results(again)) >= 3


def test_two_processes_share_every_stage(start, recipes):
    words = ("refine", recipes / "refine.yaml", "--threads", 1, "--device", "cpu", "--out")
    assert start(*words, recipes / "whole").wait() in (0, 3)
    parts = [start(*words, recipes / "parts", "--shard", f"{k}/2") for k in (1, 2)]
    assert all(part.wait() in (0, 3) for part in parts), [part.text for part in parts]
    assert results(recipes / "parts") == results(recipes / "whole")
    # a shard that is started again when all is done finds nothing to do
    assert start(*words, recipes / "parts", "--shard", "2/2").wait() in (0, 3)
