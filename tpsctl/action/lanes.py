"""Chunks of images side by side on a CPU, each in a thread of its own.

A thread inside every operation waits for the others at its end, thousands of times per step; threads with chunks of
their own do not, and each keeps to the cache of its core. Python runs in one thread at a time, which the
operations of a network are long enough for, but not with threads without number: from `_MOST` on, threads are shared
out among the lanes and help inside operations.
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
    """How many chunks are worked on at once."""
    if device.type != "cpu" or not score.parallel:
        return 1
    return min(_MOST, torch.get_num_threads())


def in_lanes(work: Callable[[_Piece], _Part], pieces: Sequence[_Piece], lanes: int) -> list[_Part]:
    """work(piece) of every piece, in order."""
    if lanes == 1 or len(pieces) == 1:
        return [work(piece) for piece in pieces]
    grad = torch.is_grad_enabled()  # each thread has a mode of its own

    def in_lane(piece: _Piece) -> _Part:
        with torch.set_grad_enabled(grad):
            return work(piece)

    return list(_pool(os.getpid(), lanes, torch.get_num_threads() // lanes).map(in_lane, pieces))


@functools.cache
def _pool(process: int, lanes: int, threads: int) -> ThreadPoolExecutor:
    """Threads with so many of torch's threads each; a forked process has none of its parent's."""
    before, all_there = torch.get_num_threads(), threading.Barrier(lanes)
    pool = ThreadPoolExecutor(lanes, f"tpsctl-lane-{process}", _set_threads, (threads,))
    list(pool.map(lambda _: all_there.wait(), range(lanes)))  # begins every thread
    torch.set_num_threads(before)  # what was set last holds for threads to come
    return pool


def _set_threads(threads: int) -> None:
    torch.get_num_threads()  # first: a thread's first look takes what was set last anywhere
    torch.set_num_threads(threads)
