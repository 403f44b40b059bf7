"""Chunks of images side by side on a CPU, each in a thread of its own.

Threads that share the work inside one operation wait for each other at its end, thousands of times per step. Threads
with chunks of their own (lanes) do not wait, and each keeps to the cache of its core. Only one thread at a time runs
Python code, so more than `_MOST` lanes would get in each other's way; further threads are shared out among the lanes
and help inside their operations.
"""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from tpsctl.score.base import Score

_MOST = 4
_Piece = TypeVar("_Piece")
_Part = TypeVar("_Part")


def lanes_for(score: Score, device: torch.device) -> int:
    """The number of chunks that are worked on at once: 1 on a GPU and for scores that threads cannot share."""
    if device.type != "cpu" or not score.parallel:
        return 1
    return min(_MOST, torch.get_num_threads())


def in_lanes(work: Callable[[_Piece], _Part], pieces: Sequence[_Piece], lanes: int) -> list[_Part]:
    """The results of work(piece) for all pieces, in order; at most `lanes` pieces are worked on at once."""
    if lanes == 1 or len(pieces) == 1:
        return [work(piece) for piece in pieces]
    grad = torch.is_grad_enabled()  # torch keeps this mode for each thread

    def in_lane(piece: _Piece) -> _Part:
        with torch.set_grad_enabled(grad):
            return work(piece)

    return list(_pool(os.getpid(), lanes, torch.get_num_threads() // lanes).map(in_lane, pieces))


@functools.cache
def _pool(process: int, lanes: int, threads: int) -> ThreadPoolExecutor:
    """A pool of `lanes` threads whose operations use `threads` threads of torch each.

    The process number is part of the cache's key, because a forked process has none of its parent's threads.
    """
    before, all_there = torch.get_num_threads(), threading.Barrier(lanes)
    pool = ThreadPoolExecutor(lanes, f"tpsctl-lane-{process}", _set_threads, (threads,))
    list(pool.map(lambda _: all_there.wait(), range(lanes)))  # starts every thread
    torch.set_num_threads(before)  # new threads take the number that was set last
    return pool


def _set_threads(threads: int) -> None:
    torch.get_num_threads()  # the first query in a thread resets its number, so it must come first
    torch.set_num_threads(threads)
