"""Processes that work for this one: they end with it, and leave signals to it."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from medprotect.errors import MedprotectError
from medprotect.protect.confinement import keep_freed_memory

Shared = TypeVar("Shared")
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_AHEAD = 4
"""Tasks that wait for each process: enough that none is idle while answers are taken in order."""

_work: Callable[[Any], Any]


def serve_parent() -> None:
    """Leave SIGINT and SIGTERM to the parent process, and end at once when it is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they may come to the whole group
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def spread(
    work: Callable[[Shared, Asked], Answer], shared: Shared, asked: Iterable[Asked], jobs: int
) -> Iterator[Answer]:
    """Work off tasks in several processes, and yield their answers in order.

    Parameters
    ----------
    work : callable
        A function of a module.
    shared : object
        Its first argument, given to each process once.
    asked : iterable
        Its second arguments; drawn as answers are taken.
    jobs : int
        How many processes.

    Raises
    ------
    MedprotectError
        A process ended, by a crash or for want of memory.
    """
    context = multiprocessing.get_context("forkserver")
    waiting: deque[Future[Answer]] = deque()
    with ProcessPoolExecutor(jobs, context, _begin, (work, shared)) as pool:
        try:
            for each in asked:
                waiting.append(pool.submit(_answer, each))
                if len(waiting) > _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise MedprotectError(
                "a process that read files crashed or ran out of memory; try again with --jobs 1"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(work: Callable[[Any, Any], Any], shared: object) -> None:
    global _work
    serve_parent()
    keep_freed_memory()
    _work = lambda asked: work(shared, asked)  # noqa: E731


def _answer(asked: Any) -> Any:
    return _work(asked)
