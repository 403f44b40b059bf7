"""Work in rounds: the same result for any number of processes, after kills, and with damaged files."""

import threading
from pathlib import Path

import pytest
import torch

from tpsctl.errors import Interrupted
from tpsctl.jobs.keeper import KeepingSettings, ShardKeeper, keeping
from tpsctl.jobs.plan import Plan
from tpsctl.jobs.rounds import Rounds, do_rounds
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress


class Sums(Rounds):
    """Four rounds of three blocks; what a block computes depends on what the rounds before it have found."""

    most = 4

    def __init__(self, before_block=lambda round_number, block: None):
        self.known, self.done, self._before_block = [0.0], [], before_block

    def plan(self):
        return 3 if len(self.known) <= self.most else 0

    def run(self, block):
        self._before_block(len(self.known) - 1, block)
        self.done.append((len(self.known) - 1, block))
        return {"x": torch.tensor([self.known[-1] * 10 + block + 1])}, {"block": block}

    def merge(self, results):
        self.known.append(sum(float(tensors["x"]) for tensors, _ in results))
        return f"{len(self.known) - 1} rounds"


ALONE = [0.0, 6.0, 186.0, 5586.0, 167586.0]
"""known_k+1 = 30 known_k + 6."""


@pytest.fixture
def plan(tmp_path):
    found = Plan(tmp_path / "run", {"digest": "abc", "recipe": {}, "inputs": {}}, 16, 4, False, ("r.yaml",), True)
    found.write()
    return found


def work(plan, rounds, shard=Shard()):
    keeper = ShardKeeper(plan, shard, KeepingSettings(), Progress())
    with keeping(keeper):
        do_rounds(rounds, keeper, Progress())
    return rounds


def block_files(plan) -> list[Path]:
    return sorted((plan.folder / "rounds").glob("*.safetensors"))


def test_one_process_does_all_blocks_in_order(plan):
    rounds = work(plan, Sums())
    assert rounds.known == ALONE
    assert rounds.done == [(r, b) for r in range(4) for b in range(3)]
    assert len(block_files(plan)) == 12


def test_two_processes_share_the_blocks_and_learn_the_same(plan):
    both = threading.Barrier(2, timeout=60)
    first_blocks = lambda round_number, block: both.wait() if round_number == 0 and block in (0, 1) else None  # noqa: E731
    rounds = [Sums(first_blocks), Sums(first_blocks)]
    threads = [
        threading.Thread(target=work, args=(plan, each, Shard(number, 2))) for number, each in enumerate(rounds, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert [each.known for each in rounds] == [ALONE, ALONE]
    assert sorted(rounds[0].done + rounds[1].done) == [(r, b) for r in range(4) for b in range(3)], "each block once"
    assert (0, 0) in rounds[0].done, "each began with another block"
    assert (0, 1) in rounds[1].done


def test_a_kill_loses_only_the_block_under_way(plan):
    def killed(round_number, block):
        if (round_number, block) == (2, 1):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="Go on with"):
        work(plan, Sums(killed))
    again = work(plan, Sums())
    assert again.known == ALONE
    assert again.done[0] == (2, 1)
    assert len(again.done) == 5


def test_a_damaged_block_is_done_again(plan):
    work(plan, Sums())
    block_files(plan)[4].write_bytes(b"nothing")
    again = work(plan, Sums())
    assert again.known == ALONE
    assert again.done == [(1, 1)]


def test_blocks_of_another_run_are_not_used(plan):
    work(plan, Sums())
    other = Plan(plan.directory, plan.identity | {"digest": "other"}, 16, 4, False, ("r.yaml",), True)
    assert len(work(other, Sums()).done) == 12


def test_a_time_limit_stops_between_two_blocks(plan):
    keeper = ShardKeeper(plan, Shard(), KeepingSettings(max_hours=1e-9), Progress())
    with pytest.raises(Interrupted) as stopped, keeping(keeper):
        do_rounds(Sums(), keeper, Progress())
    assert stopped.value.exit_code == 75
    assert work(plan, Sums()).known == ALONE
