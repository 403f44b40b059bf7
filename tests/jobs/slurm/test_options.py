"""Options of sbatch as a Slurm user types them, and those that are refused because the run depends on them."""

import pytest

from tpsctl.errors import RecipeError
from tpsctl.jobs.slurm.options import gpus_of_task, read_options
from tpsctl.jobs.slurm.script import OWN


@pytest.mark.parametrize(
    "words",
    [
        ["--time=01:00:00", "--partition=main", "--exclusive"],
        ["--time", "01:00:00", "--partition", "main", "--exclusive"],
        ["-t", "01:00:00", "-p", "main", "--exclusive"],
        ["-t01:00:00", "--exclusive", "-pmain"],
        ["--time=5", "--exclusive", "--partition=main", "--time=01:00:00"],
    ],
)
def test_options_are_read_however_they_are_typed(words):
    assert read_options(words) == {"time": "01:00:00", "partition": "main", "exclusive": ""}


def test_the_order_in_the_script_does_not_depend_on_the_order_typed():
    words = ["--mail-type=END", "--qos=q", "--partition=p", "--comment=c", "--mem=1G", "--time=5"]
    assert list(read_options(words)) == ["time", "mem", "partition", "qos", "mail-type", "comment"]


def test_a_value_may_have_an_equals_sign_and_spaces():
    assert read_options(["--constraint=a&b", "--comment=x = y"])["comment"] == "x = y"


@pytest.mark.parametrize("name", OWN)
def test_options_that_the_scripts_set_are_refused(name):
    with pytest.raises(RecipeError, match=f"the script sets --{name} itself"):
        read_options([f"--{name}=x"])


@pytest.mark.parametrize("word", ["-a1-9", "-o", "-d", "-W"])
def test_their_short_names_are_refused_too(word):
    with pytest.raises(RecipeError, match="itself, because the run depends on it"):
        read_options([word])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["main"], "main: expected an option of sbatch"),
        (["--time=5", "main", "gpu"], "main: expected an option of sbatch"),
        (["--time=tomorrow"], "--time tomorrow: expected a time as Slurm reads it, e.g. 02:00:00"),
        (["--time"], "expected a time as Slurm reads it"),
        (["--cpus-per-task=0"], "--cpus-per-task 0: expected a whole number above 0"),
        (["-c", "two"], "--cpus-per-task two: expected a whole number above 0"),
        (["-Z"], "-Z: unknown short option. Give its long name"),
        (["--sbatch", "mail-type=END"], "--sbatch mail-type=END: give the option as sbatch has it: --mail-type=END"),
        (["--sbatch=--exclusive"], "give the option as sbatch has it: --exclusive"),
    ],
)
def test_what_is_no_option_is_refused_with_what_to_type(words, message):
    with pytest.raises(RecipeError) as refused:
        read_options(words)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("words", "gpus"),
    [
        ([], 0),
        (["--gres=craynetwork:1"], 0),
        (["--gres=gpu"], 1),
        (["--gres=gpu:2"], 2),
        (["--gres=gpu:a100:4(S:0-1)"], 4),
        (["--gres=craynetwork:3,gpu:a100"], 1),
        (["--gpus-per-task=a100:2"], 2),
        (["-G", "3"], 3),
        (["--gpus-per-node=1", "--gres=gpu:2"], 2),
    ],
)
def test_the_gpus_of_a_task_are_counted(words, gpus):
    assert gpus_of_task(read_options(words)) == gpus
