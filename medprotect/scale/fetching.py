"""Workers that find files of a store's export fetched: a few ahead of them, and gone when done."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from medprotect import limits
from medprotect.errors import InputError
from medprotect.protect.atomic import check_space, mapped_errors
from medprotect.protect.pool import HireWorkers, Workers
from medprotect.protect.resume import staged_path
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.scale.stored_export import StoredExport
from medprotect.scan.walk import Found

_WAIT_SECONDS = 0.25
_FETCHED = ".fetched"
"""Ending of the name of a fetched file, in the folder of those on their way to OUT.

What a killed run leaves there, the next clears away."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """Makes the workers of a run whose export lies in a store.

    Attributes
    ----------
    hire : callable
        Makes those who do the work.
    export : StoredExport
        The export.
    state : Path
        The run's state folder.
    """

    hire: HireWorkers
    export: StoredExport
    state: Path

    def __call__(self, jobs: int, setup: Setup) -> "FetchingPool":
        """Return workers, as `medprotect.protect.pool.Pool` does."""
        return FetchingPool(self.hire(jobs, setup), self.export, self.state, jobs)


class FetchingPool:
    """Workers, and what fetches for them.

    Parameters
    ----------
    workers : context manager of Workers
        Those who do the work.
    export : StoredExport
        The export.
    state : Path
        The run's state folder.
    jobs : int
        How many files are fetched ahead of the workers, and at once.

    Attributes
    ----------
    backend, stopping
        As of `medprotect.protect.pool.Pool`.
    """

    def __init__(
        self,
        workers: AbstractContextManager[Workers],
        export: StoredExport,
        state: Path,
        jobs: int,
    ) -> None:
        self._hired, self._export, self._state = workers, export, state
        self._ahead = jobs + 1
        self._given: dict[str, Task] = {}
        self._coming: dict[Future[Task], Task] = {}
        self._failed: deque[tuple[Task, Result]] = deque()
        self._threads = ThreadPoolExecutor(self._ahead, "fetch")

    def __enter__(self) -> Self:
        self._workers = self._hired.__enter__()
        self.backend = self._workers.backend
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hired.__exit__(kind, error, trace)
        self._threads.shutdown(cancel_futures=True)
        for task in [*self._given.values(), *self._coming.values()]:
            self._remove(task)

    @property
    def stopping(self) -> bool:
        """Set to end after the files that are being worked on."""
        return self._workers.stopping

    @stopping.setter
    def stopping(self, value: bool) -> None:
        """Tell those who do the work."""
        self._workers.stopping = value

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Result]]:
        """Work off tasks, and yield results as they come."""
        for told, result in self._workers.results(self._fetched(tasks)):
            task = self._given.pop(told.found.path)
            self._remove(task)
            yield task, result
            yield from self._failures()
        yield from self._failures()

    def _failures(self) -> Iterator[tuple[Task, Result]]:
        while self._failed:
            yield self._failed.popleft()

    def _fetched(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Yield tasks once their files are there, whichever comes first."""
        more = True
        while not self.stopping:
            while more and self._has_room():
                task = next(tasks, None)
                if task is None:
                    more = False
                else:
                    self._coming[self._threads.submit(self._fetch, task)] = task
            if not self._coming:
                return
            done, _ = wait(self._coming, _WAIT_SECONDS, FIRST_COMPLETED)
            for future in done:
                yield from self._take(future)
                break  # what comes next may have room by then

    def _has_room(self) -> bool:
        """Whether one more may be fetched; one always may where a worker would wait for it."""
        if not self._coming:
            return True
        here = [*self._given.values(), *self._coming.values()]
        size = sum(found.size for task in here for found in _files(task))
        return len(self._coming) < self._ahead and size < limits.FETCHED_BYTES

    def _take(self, future: Future[Task]) -> Iterator[Task]:
        task = self._coming.pop(future)
        try:
            told = future.result()
        except BaseException as error:
            self._remove(task)
            if not isinstance(error, InputError):
                raise
            self._failed.append((task, Result(error.slug, str(error))))
        else:
            self._given[told.found.path] = task
            yield told

    def _fetch(self, task: Task) -> Task:
        """Fetch the files of a task, and return the task with them in their place."""
        voxels = self._fetch_one(task.voxels) if task.voxels else None
        return replace(task, found=self._fetch_one(task.found), voxels=voxels)

    def _fetch_one(self, found: Found) -> Found:
        path = self._path(found)
        check_space(path.parent, found.size)
        self._export.store.fetch(self._export.stored(found), path)
        with mapped_errors():
            status = path.stat()
        return Found(path.name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)

    def _path(self, found: Found) -> Path:
        # Named by a hash: what an object is called never becomes a path of this machine.
        staged = staged_path(self._state, found.path)
        return staged.with_name(staged.name + _FETCHED)

    def _remove(self, task: Task) -> None:
        for found in _files(task):
            with suppress(OSError):  # the next run clears it away
                self._path(found).unlink()


def _files(task: Task) -> list[Found]:
    return [found for found in (task.found, task.voxels) if found is not None]
