"""The processes that run the parts of a simulation, and their end.

The processes are spawned, because forking would copy torch's threads. Ctrl-C reaches all processes of a terminal, but
only the main process acts on it: the others are started with SIGINT blocked, and the main process ends them. A part
that is under way is lost with its process, and the files of finished parts stay.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import torch

from tpsctl.errors import DataError


class _ThisProcess(Executor):
    """Runs every task where it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@contextmanager
def worker_processes(count: int) -> Iterator[Executor]:
    """An executor of `count` new processes, or of this process for one.

    After an error it starts no further task and waits for those under way. After Ctrl-C or a signal that ends the
    program it ends the processes at once.

    Raises:
        DataError: A process was ended from outside, e.g. because memory ran out.
    """
    if count == 1:
        yield _ThisProcess()
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker) as pool:
        try:
            _launch(pool)
            yield pool
        except (KeyboardInterrupt, SystemExit):
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        except BrokenProcessPool:
            raise DataError(
                "a process of the simulation was ended from outside, perhaps because memory ran out. Finished parts "
                "are kept: start again, with fewer --workers if memory is short."
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _launch(pool: ProcessPoolExecutor) -> None:
    """Start all processes with SIGINT blocked; a Ctrl-C meanwhile takes effect in this process at the end."""
    resource_tracker.ensure_running()  # it would unblock SIGINT if it were started together with the processes
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pool.submit(int)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """End this worker when its parent ends; otherwise it would wait for work forever after the parent was killed."""
    parent.join()
    os._exit(1)
