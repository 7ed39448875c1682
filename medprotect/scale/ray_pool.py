"""Workers on the nodes of a Ray cluster: files go to whichever is idle; what dies is replaced.

An attempt at a file writes under a name of its own, and only the run gives it the name that the
journal knows: who was taken for dead and still writes, does no harm.
"""

import json
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medprotect import limits
from medprotect.confounder.key import Key
from medprotect.errors import ImageTooLargeError, MedprotectError, PeerError, StateMismatchError
from medprotect.protect.atomic import (
    make_folders,
    mapped_errors,
    publish,
    remove_partials,
    write_file,
)
from medprotect.protect.pool import error_of
from medprotect.protect.resume import STAGING
from medprotect.protect.tasks import WORKER_ENDED, Result, Setup, Task, parse_result
from medprotect.scale.node import NodeWorker, sight_of
from medprotect.scale.session import ray_session

_WAIT_SECONDS = 0.25
_PAUSE_SECONDS = 5.0
"""How often workers are asked for where some are missing."""

_GRACE_SECONDS = 60.0
"""How much longer than a worker may take a node may be silent about it."""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Makes the workers of a run on a cluster; see `medprotect.protect.engine.protect_export`.

    Attributes
    ----------
    state : Path
        The run's state folder.
    key_file : Path
        The owner's key, where every node finds it.
    address : str
        Of the cluster's head; "" to start Ray on this machine.
    everywhere : int
        A run that could use so many workers gets one for each processor that there is; 0 where
        it gets those that it asks for.
    """

    state: Path
    key_file: Path
    address: str = ""
    everywhere: int = 0

    def __call__(self, jobs: int, setup: Setup) -> "RayPool":
        """Return workers, as `medprotect.protect.pool.Pool` does."""
        is_for_all = 0 < self.everywhere <= jobs
        return RayPool(limits.CLUSTER_WORKERS if is_for_all else jobs, setup, self)


@dataclass(slots=True)
class _Held:
    """A task that a worker has, and the form in which it was told."""

    actor: Any
    task: Task
    told: Task
    spent: float = 0.0


class RayPool:
    """Workers on a cluster, kept warm for a run.

    Parameters
    ----------
    jobs : int
        How many at most; there are never more than the cluster has processors.
    setup : Setup
        What all files have in common; the key in it goes nowhere.
    cluster : RayCluster
        Where.

    Attributes
    ----------
    backend, stopping
        As of `medprotect.protect.pool.Pool`.

    Raises
    ------
    PeerError
        The cluster is away, or has no room.
    StateMismatchError
        Nodes compute differently.
    MedprotectError
        A node is not fit, and says why.
    """

    def __init__(self, jobs: int, setup: Setup, cluster: RayCluster) -> None:
        self._jobs = jobs
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, _Held] = {}
        self._again: deque[Task] = deque()
        self._losses: Counter[str] = Counter()
        self._litter: set[Path] = set()
        self._next_start = self._without = 0.0
        self.backend: dict[str, str] = {}
        self.stopping = False
        self._staging = cluster.state / STAGING
        self._closing = ExitStack()
        try:
            self._ray = self._closing.enter_context(ray_session(cluster.address, jobs))
            self._words = self._closing.enter_context(_instructions(setup, cluster))
            self._last = time.monotonic()
            while not self.backend:
                self._start_missing()
                for _ in self._collect():
                    pass  # nobody has a task yet
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._litter.update(path for held in self._busy.values() for path in _paths(held.told))
        for actor in [
            *self._starting.values(),
            *self._idle,
            *(h.actor for h in self._busy.values()),
        ]:
            self._kill(actor)
        self._starting, self._idle, self._busy = {}, [], {}
        for path in self._litter:
            with suppress(OSError):  # the next run removes what is there then
                path.unlink()
        with suppress(MedprotectError):  # what workers had begun to write when they were killed
            remove_partials(self._staging)
        self._closing.close()

    def _kill(self, actor: Any) -> None:
        with suppress(Exception):  # it, or the whole cluster, may be gone
            self._ray.kill(actor)

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Result]]:
        """Work off tasks, which are drawn as workers fall idle, and yield results as they come."""
        more = True
        while more or self._again or self._busy:
            if self.stopping:
                more = False
                self._again.clear()
            while self._idle and (more or self._again):
                task = self._again.popleft() if self._again else next(tasks, None)
                if task is None:
                    more = False
                    break
                self._give(task)
            if self._again or self._busy or more:
                self._start_missing()
                yield from self._collect()

    def _start_missing(self) -> None:
        now = time.monotonic()
        if now < self._next_start:
            return
        self._next_start = now + _PAUSE_SECONDS
        there = len(self._starting) + len(self._idle) + len(self._busy)
        room = int(self._ray.cluster_resources().get("CPU", 0))
        make = self._ray.remote(
            num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )(NodeWorker)
        for _ in range(min(self._jobs, room) - there):
            actor = make.remote()
            self._starting[actor.begin.remote(self._words)] = actor

    def _give(self, task: Task) -> None:
        actor, ending = self._idle.pop(), f".{secrets.token_hex(4)}"
        told = replace(
            task,
            staged=_absolute(task.staged, ending),
            staged_voxels=_absolute(task.staged_voxels, ending),
            made=_absolute(task.made),
        )
        self._busy[actor.do.remote(json.dumps(asdict(told)))] = _Held(actor, task, told)

    def _collect(self) -> Iterator[tuple[Task, Result]]:
        """Wait a moment for what nodes answer, and yield what became of tasks."""
        awaited = [*self._busy, *self._starting]
        ready: list[Any] = []
        if awaited:
            ready, _ = self._ray.wait(awaited, timeout=_WAIT_SECONDS)
        else:
            time.sleep(_WAIT_SECONDS)
        for answer in ready:
            if answer in self._starting:
                self._take_in(answer)
            else:
                yield from self._finish(answer)
        now = time.monotonic()
        # A run that was itself stopped for a while (Ctrl-Z, a sleeping machine) counts no more.
        seconds, self._last = min(now - self._last, 4 * _WAIT_SECONDS), now
        yield from self._end_overdue(seconds)
        self._check_that_some_are_there(seconds)

    def _take_in(self, answer: Any) -> None:
        """Count a worker among the idle once it has begun."""
        actor = self._starting.pop(answer)
        try:
            fields = json.loads(self._ray.get(answer))
        except self._ray.exceptions.RayError:
            self._kill(actor)
            return
        if "backend" not in fields:
            raise error_of(fields["slug"], fields["detail"])
        backend: dict[str, str] = fields["backend"]
        known = self.backend or backend
        differing = sorted(name for name in known | backend if known.get(name) != backend.get(name))
        if differing:
            raise StateMismatchError(
                f"nodes of the cluster differ ({', '.join(differing)}), and the same bytes are "
                "not promised; take nodes of one kind with the same libraries, then run again"
            )
        self.backend = backend
        self._idle.append(actor)

    def _finish(self, answer: Any) -> Iterator[tuple[Task, Result]]:
        held = self._busy.pop(answer)
        try:
            fields = json.loads(self._ray.get(answer))
        except self._ray.exceptions.RayError:
            yield from self._lose(held)
            return
        self._idle.append(held.actor)
        result = parse_result(fields)
        for written, staged in zip(_paths(held.told), _paths(held.task), strict=True):
            if result.slug:
                self._litter.add(written)
            else:
                publish(written, staged, replace=True)
        yield held.task, result

    def _lose(self, held: _Held) -> Iterator[tuple[Task, Result]]:
        """Plan a task again that a worker went away with; not for ever."""
        self._kill(held.actor)
        self._litter.update(_paths(held.told))
        self._next_start = 0.0
        for actor in self._idle:  # others of that node may have gone with it: let them answer
            self._starting[actor.answer.remote()] = actor
        self._idle = []
        self._losses[held.task.staged] += 1
        if self.stopping:
            return
        if self._losses[held.task.staged] >= limits.LOST_WORKERS:
            yield held.task, Result(ImageTooLargeError.slug, WORKER_ENDED)
        else:
            self._again.append(held.task)

    def _end_overdue(self, seconds: float) -> Iterator[tuple[Task, Result]]:
        """Give up on nodes that do not even say that their worker took too long."""
        for answer, held in list(self._busy.items()):
            held.spent += seconds
            if held.spent > held.task.seconds + _GRACE_SECONDS:
                del self._busy[answer]
                yield from self._lose(held)

    def _check_that_some_are_there(self, seconds: float) -> None:
        self._without = 0.0 if self._idle or self._busy else self._without + seconds
        if self._without > limits.CLUSTER_SECONDS:
            raise PeerError(
                f"no node of the cluster could work for {limits.CLUSTER_SECONDS:.0f} seconds; "
                "nothing is lost; see that nodes are there, have processors free and medprotect "
                "installed, then run again"
            )


def _paths(task: Task) -> list[Path]:
    return [Path(path) for path in (task.staged, task.staged_voxels) if path]


def _absolute(path: str, ending: str = "") -> str:
    """Return a path for a node, which has another current folder; "" stays."""
    return str(Path(path + ending).absolute()) if path else ""


@contextmanager
def _instructions(setup: Setup, cluster: RayCluster) -> Iterator[str]:
    """Give what each node is told once; it holds true while the block lasts."""
    folders = {name: str(Path(path).absolute()) for name, path in setup.pipelines.items()}
    told = replace(setup, secret="", export=str(Path(setup.export).absolute()), pipelines=folders)
    words = secrets.token_hex(16)
    # Of a name that no node has looked for yet; what a killed run leaves of it the next removes.
    token = cluster.state.absolute() / STAGING / f"token-{words[:8]}"
    make_folders(token.parent, mode=0o700)
    write_file(token, words.encode(), mode=0o600)
    try:
        with mapped_errors():
            fingerprint = Key(bytes.fromhex(setup.secret)).fingerprint
            key_file, seconds = cluster.key_file.absolute(), limits.SHARE_SECONDS
            sight = sight_of(told, token, words, key_file, fingerprint, seconds)
        yield json.dumps({"setup": asdict(told), "sight": asdict(sight)})
    finally:
        token.unlink(missing_ok=True)
