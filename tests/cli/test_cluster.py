"""`submit` and `status`: which words are tpsctl's options and which are sbatch's."""

import json
from types import SimpleNamespace

import pytest

from tpsctl.errors import ExitCode
from tpsctl.jobs.slurm.script import OWN
from tpsctl.workflows.sample import submit

SBATCH = """
    account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container
    contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency
    distribution
    error exclude exclusive export export-file extra-node-info get-user-env gid gpu-bind gpu-freq gpus gpus-per-node
    gpus-per-socket gpus-per-task gres gres-flags hint hold ignore-pbs input job-name kill-on-invalid-dep licenses
    mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice no-kill no-requeue
    nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode output
    overcommit oversubscribe parsable partition power prefer priority profile propagate qos quiet reboot reservation
    signal sockets-per-node spread-job switches test-only thread-spec threads-per-core time time-min tmp tres-bind
    tres-per-task uid use-min-nodes verbose wait wait-all-nodes wckey wrap
""".split()
"""Long options of sbatch 22.05 (its manual page)."""


@pytest.fixture
def submitted(fake_run, monkeypatch):
    """Replaces the submission; holds the settings it got."""
    calls = SimpleNamespace(settings=None)

    def scripts_of(file, recipe, settings, progress):
        calls.settings = settings
        return {"array.sbatch": "#!/bin/bash"}

    def submit_recipe(file, recipe, settings, progress):
        calls.file, calls.settings = file, settings
        return {"array_job": "11"}

    monkeypatch.setattr(submit, "scripts_of", scripts_of)
    monkeypatch.setattr(submit, "submit_recipe", submit_recipe)
    return calls


@pytest.mark.parametrize(
    "words",
    [
        ("--shards", 4, "--", "--time=01:00:00", "--gres=gpu:1", "--exclusive"),
        ("--time", "01:00:00", "--shards", 4, "--gres", "gpu:1", "--exclusive"),
        ("--time=01:00:00", "--gres=gpu:1", "--exclusive", "--shards", 4),
        ("-t", "01:00:00", "--gres=gpu:1", "--shards=4", "--exclusive"),
    ],
)
def test_what_tpsctl_does_not_know_goes_to_sbatch(invoke, submitted, words):
    result = invoke("submit", "r.yaml", *words)
    assert result.exit_code == ExitCode.COMPLETE, result.output
    assert submitted.settings.shards == 4
    assert submitted.settings.options == {"time": "01:00:00", "gres": "gpu:1", "exclusive": ""}


def test_own_options_may_stand_before_the_recipe(invoke, submitted):
    assert invoke("submit", "--shards", 4, "r.yaml", "--time=5").exit_code == ExitCode.COMPLETE
    assert (submitted.settings.shards, submitted.settings.options) == (4, {"time": "5"})


def test_options_of_sbatch_may_stand_before_a_recipe_named_as_one(invoke, submitted, fake_run):
    result = invoke("submit", "--shards", 4, "--time", "5", "--exclusive", "r.yaml", "--mem", "1G")
    assert result.exit_code == ExitCode.COMPLETE, result.output
    assert submitted.settings.options == {"time": "5", "exclusive": "", "mem": "1G"}
    assert str(submitted.file) == "r.yaml"


def test_own_options_reach_the_scripts(invoke, submitted):
    words = ("--max-parallel", 2, "--requeues", 3, "--setup", "module load x", "--command", "t", "--set", "a=1")
    assert invoke("submit", "r.yaml", *words, "--json").exit_code == ExitCode.COMPLETE
    settings = submitted.settings
    assert (settings.max_parallel, settings.requeues, settings.setup) == (2, 3, ("module load x",))
    assert (settings.command, settings.assignments, settings.options) == ("t", ("a=1",), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--time", "5", "r"), "give the recipe before the options of sbatch, as in: tpsctl submit RECIPE --time 5 r"),
        (("r.yaml", "--shrads", "4"), "--shrads: unknown option. Did you mean --shards?"),
        (("r.yaml", "--dryrun"), "--dryrun: unknown option. Did you mean --dry-run?"),
        (("r.yaml", "--sbatch", "mail-type=END"), "give the option as sbatch has it: --mail-type=END"),
        (("r.yaml", "--", "--time=5", "--dry-run"), "--dry-run: this is an option of tpsctl. Give it before the --"),
        (("r.yaml", "--array=1-9"), "sets --array itself"),
        (("r.yaml", "other.yaml"), "other.yaml: expected an option of sbatch"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_type(invoke, submitted, words, message):
    result = invoke("submit", *words)
    assert result.exit_code == ExitCode.USAGE
    assert message in result.stderr
    assert submitted.settings is None


def test_no_option_of_sbatch_is_taken_for_a_misspelt_one(invoke, submitted):
    words = {name: f"--{name}=2" for name in SBATCH if name not in OWN}
    assert invoke("submit", "r.yaml", *words.values()).exit_code == ExitCode.COMPLETE
    assert submitted.settings.options == dict.fromkeys(words, "2")


def test_a_dry_run_prints_scripts_and_nothing_else(invoke, submitted):
    result = invoke("submit", "r.yaml", "--dry-run")
    assert result.stdout == "# array.sbatch\n#!/bin/bash\n"


def test_json_of_submit_is_alone_on_stdout(invoke, submitted):
    assert json.loads(invoke("submit", "r.yaml", "--json").stdout) == {"array_job": "11"}


def test_status_without_a_run_is_wrong_usage(invoke, tmp_path):
    result = invoke("status", tmp_path)
    assert result.exit_code == ExitCode.USAGE
    assert "no run of tpsctl here" in result.stderr
