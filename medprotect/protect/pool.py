"""Worker processes: files go to whichever is idle; one that crashes is replaced."""

import importlib
import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Protocol, Self

from medprotect import errors
from medprotect.errors import CorruptImageError, ImageTooLargeError, MedprotectError
from medprotect.protect.confinement import fits_worker
from medprotect.protect.forking import prepare_workers
from medprotect.protect.tasks import (
    TOO_LITTLE_OR_DAMAGED,
    WORKER_ENDED,
    Result,
    Setup,
    Task,
    parse_result,
)

_WAIT_SECONDS = 0.25

_CRASHES = frozenset(
    -number
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
)
"""Exit codes of a process that did itself in, by what a decoder made of a file."""


class Workers(Protocol):
    """Those who work off the tasks of a run, wherever they are; `Pool` says what each part is."""

    backend: dict[str, str]
    stopping: bool

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Result]]:
        """Work off tasks, and yield results as they come."""


HireWorkers = Callable[[int, Setup], AbstractContextManager[Workers]]
"""Of how many at most, and what all files have in common, makes workers."""


class Pool:
    """Workers, started once for a run.

    Parameters
    ----------
    jobs : int
        How many processes.
    setup : Setup
        What all files have in common.
    work : str
        The module that does it.

    Attributes
    ----------
    backend : dict of str to str
        What the workers compute with.
    stopping : bool
        Set to end after the files that are being worked on.

    Raises
    ------
    MedprotectError
        A worker cannot begin, as with a damaged pipeline.
    """

    def __init__(self, jobs: int, setup: Setup, work: str = "medprotect.protect.worker") -> None:
        self._context = multiprocessing.get_context("forkserver")
        prepare_workers(work)
        self._work = work
        self._setup = setup
        self._workers: dict[Connection, ForkServerProcess] = {}
        self._busy: dict[Connection, Task] = {}
        self._spent: dict[Connection, float] = {}
        self.backend: dict[str, str] = {}
        self.stopping = False
        try:
            for _ in range(jobs):
                self._start()
        except BaseException:
            self._end(at_once=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(at_once=kind is not None)

    def _end(self, *, at_once: bool) -> None:
        for connection, process in self._workers.items():
            if at_once:  # what they work on is begun again by the next run
                process.kill()
            connection.close()
        for process in self._workers.values():
            process.join(1)
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = process
        try:
            _send(ours, asdict(self._setup))
            answer = _receive(ours)
        except (EOFError, OSError):
            raise MedprotectError("a worker process ended before it started; run again") from None
        if "backend" not in answer:
            raise error_of(answer["slug"], answer["detail"])
        self.backend = answer["backend"]

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Result]]:
        """Work off tasks, which are drawn as workers fall idle, and yield results as they come.

        A worker has its next task before the run takes its last result: the run then waits for
        the disk, and nobody need wait for the run.
        """
        last = time.monotonic()
        self._hand_out(tasks)
        while self._busy:
            ready = wait(list(self._busy), _WAIT_SECONDS)
            for connection in [each for each in self._busy if each in ready]:
                finished = self._finish(connection)
                self._hand_out(tasks)
                yield finished
            now = time.monotonic()
            yield from self._end_overdue(now - last)
            self._hand_out(tasks)
            last = now

    def _hand_out(self, tasks: Iterator[Task]) -> None:
        for connection in [each for each in self._workers if each not in self._busy]:
            task = None if self.stopping else next(tasks, None)
            if task is None:
                return
            _send(connection, asdict(task))
            self._busy[connection] = task
            self._spent[connection] = 0

    def _end_overdue(self, seconds: float) -> Iterator[tuple[Task, Result]]:
        """End the workers that have taken too long for their file, and yield what became of it."""
        # A run that was itself stopped for a while (Ctrl-Z, a sleeping machine) counts no more.
        seconds = min(seconds, 4 * _WAIT_SECONDS)
        for connection, task in list(self._busy.items()):
            self._spent[connection] += seconds
            if self._spent[connection] > task.seconds:
                self._workers[connection].kill()
                del self._busy[connection]
                self._replace(connection, task)
                detail = f"its worker took longer than {task.seconds:.0f} seconds and was ended"
                yield task, Result(ImageTooLargeError.slug, detail)

    def _finish(self, connection: Connection) -> tuple[Task, Result]:
        task = self._busy.pop(connection)
        try:
            fields = _receive(connection)
        except (EOFError, OSError):
            return task, self._replace(connection, task)
        return task, parse_result(fields)

    def _replace(self, connection: Connection, task: Task) -> Result:
        """Start another worker for one that ended in the midst of a file."""
        process = self._workers.pop(connection)
        connection.close()
        process.join()
        self._start()
        if process.exitcode in _CRASHES:
            if not fits_worker(task.decoding_bytes, self._setup.memory_bytes):
                return Result(ImageTooLargeError.slug, TOO_LITTLE_OR_DAMAGED)
            return Result(CorruptImageError.slug, "its decoder crashed on it")
        return Result(ImageTooLargeError.slug, WORKER_ENDED)


def _serve(connection: Connection, work: str) -> None:
    importlib.import_module(work).serve(connection)


def _send(connection: Connection, fields: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(fields).encode())


def _receive(connection: Connection) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(connection.recv_bytes())
    return fields


def error_of(slug: str, detail: str) -> MedprotectError:
    """Return the error that a worker told of."""
    kinds = {
        kind.slug: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, MedprotectError)
    }
    return kinds.get(slug, MedprotectError)(detail)
