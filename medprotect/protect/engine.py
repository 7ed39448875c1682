"""A run: every file of the export to its end, in an order that a kill at any moment survives.

A file is written and checked in the state folder; its journal line says *staged*; it gets its name
in OUT; its line says *protected*. A series gets its names once all its files are staged; a file
that refers to images of the export, once it names them by their new UIDs (see
`medprotect.protect.remapping`). Who goes on after a kill trusts the journal alone, and removes
from OUT what the journal does not know.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from medprotect.confounder.key import Key
from medprotect.errors import OutputError
from medprotect.plan.plan import Action, Row
from medprotect.protect.atomic import mapped_errors
from medprotect.protect.confinement import (
    decoding_bytes,
    file_seconds,
    is_streamed,
    worker_bytes,
)
from medprotect.protect.journal import Entry, Journal, Outcome
from medprotect.protect.lock import hold_lock
from medprotect.protect.pool import HireWorkers, Pool, Workers, error_of
from medprotect.protect.receipt import write_receipt
from medprotect.protect.remapping import collect_uids, images_of, is_stale, refers, wanted
from medprotect.protect.resume import (
    REMAPPED,
    claim,
    claim_backend,
    reconcile,
    restart,
    staged_file,
    staged_path,
)
from medprotect.protect.settings import Settings
from medprotect.protect.signals import told
from medprotect.protect.summary import TO_COME, Progress, Summary
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.scan.walk import check_trees


def protect_export(
    settings: Settings,
    key: Key,
    progress: Progress | None = None,
    *,
    begin_anew: bool = False,
    hire: HireWorkers = Pool,
) -> Summary:
    """Carry out a run, or go on with one.

    Parameters
    ----------
    settings : Settings
        What to do.
    key : Key
        The owner's.
    progress : Progress, optional
        Whom to tell.
    begin_anew : bool
        Forget an earlier run, and remove what it wrote.
    hire : callable
        Makes the workers: of this machine, if nothing else is said.

    Raises
    ------
    InputError
        The export is missing or may not be read.
    OutputError
        OUT cannot be used, is locked, or is another run's.
    StorageError
        The disk is full or fails; the run can go on later.
    PeerError
        A cluster or an object store is away; the run can go on later.
    PipelineError
        A pipeline is damaged.
    KeyboardInterrupt
        SIGINT or SIGTERM came before the work began, or twice; with its number.
    """
    check_trees(*settings.folders)
    with hold_lock(settings.state), Journal(settings.state) as journal:
        if begin_anew:
            restart(journal, settings)
        claim(journal, settings, settings.identity(key))
        run = Run(settings, key, journal, progress or Progress(), hire)
        with told(run.interrupt):
            run.go()
        return run.summary  # of all signals: who comes later than this finds the caller's handlers


class Run:
    """One run, under the lock of its state folder."""

    def __init__(
        self,
        settings: Settings,
        key: Key,
        journal: Journal,
        progress: Progress,
        hire: HireWorkers = Pool,
    ) -> None:
        self._settings, self._key, self._journal = settings, key, journal
        self._progress, self._hire = progress, hire
        self._numbers: dict[str, int] = {}
        self._entries: list[Entry] = []
        self._blocked: set[str] = set()
        self._members: dict[str, list[int]] = {}
        self._planned: Counter[str] = Counter()
        self._places: list[tuple[int, int]] = []
        self._images: set[str] = set()
        self._uids: dict[str, str] | None = None
        self._signal = 0
        self._pool: Workers | None = None

    @property
    def summary(self) -> Summary:
        """How it ended, or how far it has come."""
        return Summary(self._entries, self._signal, self._settings.accept_weak)

    def go(self) -> None:
        """Do what is left to do."""
        self._settings.target.begin()
        with mapped_errors():
            self._places = self._find_places()
        self._entries = reconcile(self._journal, self._settings, self._progress.planned)
        self._numbers = {entry.path: at for at, entry in enumerate(self._entries)}
        self._progress.began(self._entries)
        for at, entry in enumerate(self._entries):
            self._members.setdefault(self._series(entry), []).append(at)
            self._planned[self._series(entry)] += entry.outcome is Outcome.PLANNED
        self._images = set() if self._settings.keep_uids else images_of(self._entries)
        self._publish_whole()
        try:
            if any(entry.outcome in TO_COME for entry in self._entries) or self._stale():
                self._work()
        finally:
            write_receipt(self._settings, self._key, self._journal, self._entries)

    def _work(self) -> None:
        cards = {each.card.name: each.card for each in self._settings.candidates}
        plans = [entry.row for entry in self._entries]
        plans += [row.otherwise for row in plans if row.otherwise is not None]
        used = {row.pipeline for row in plans if row.pipeline}
        left = sum(entry.outcome is Outcome.PLANNED for entry in self._entries)
        workers = min(self._settings.jobs, max(left, 1))
        setup = Setup(
            export=str(self._settings.export),
            secret=self._key.secret.hex(),
            pipelines={name: str(cards[name].folder) for name in sorted(used)},
            strength=self._settings.strength,
            labels_sha256=self._settings.labels_sha256,
            classes=self._settings.classes,
            keep_uids=self._settings.keep_uids,
            along_z=self._settings.along_z,
            memory_bytes=worker_bytes(workers),
        )
        with self._hire(workers, setup) as pool:
            claim_backend(self._journal, pool.backend)
            self._pool = pool
            self._work_off(pool)

    def _work_off(self, pool: Workers) -> None:
        """Do all files; then, again, those that refer to others; and what that makes untrue."""
        while True:
            self._uids = None
            for task, result in pool.results(self._tasks()):
                self._finish(self._entry(task.found.path), result)
            if pool.stopping:
                return
            self._uids = collect_uids(self._entries, self._settings.earlier_uid)
            self._publish_whole()
            for task, result in pool.results(self._remap_tasks(self._uids)):
                self._finish_remapped(self._entry(task.found.path), task, result)
            stale = self._stale()
            if pool.stopping or not stale:
                return
            self._undo(stale)

    def _entry(self, path: str) -> Entry:
        return self._entries[self._numbers[path]]

    def _stale(self) -> list[Entry]:
        uids = collect_uids(self._entries, self._settings.earlier_uid)
        return [entry for entry in self._entries if is_stale(entry, uids)]

    def _undo(self, entries: list[Entry]) -> None:
        """Plan files again that were finished before what they refer to came to another end."""
        self._record(entry.planned_again() for entry in entries)
        self._settings.target.remove(entry.row.out for entry in entries)
        for entry in entries:
            self._unlink_staged(entry)

    def _remap_tasks(self, uids: dict[str, str]) -> Iterator[Task]:
        for task in self._tasks(Outcome.STAGED):
            entry = self._entry(task.found.path)
            names = wanted(entry, uids)
            if names and not entry.remapped:
                yield replace(
                    task,
                    staged=task.staged + REMAPPED,
                    made=task.staged,
                    remap=names,
                    sha256_in=entry.sha256_in,
                )

    def _finish_remapped(self, entry: Entry, task: Task, result: Result) -> None:
        if result.stops_run:
            raise error_of(result.slug, result.detail)
        if entry.outcome is not Outcome.STAGED:  # held since, for a file of its series
            self._unlink_staged(entry)
            return
        if result.slug:
            self._reject(entry, result.slug, result.detail)
            return
        entry = replace(
            entry,
            sha256_out=result.sha256_out,
            size_out=result.size_out,
            notes=tuple(dict.fromkeys(entry.notes + result.notes)),
            remapped=task.remap,
        )
        self._record([entry])
        staged_path(self._settings.state, entry.path).unlink(missing_ok=True)
        self._publish_with_series(entry)

    def _tasks(self, outcome: Outcome = Outcome.PLANNED) -> Iterator[Task]:
        for at in range(len(self._entries)):
            entry = self._entries[at]
            if entry.outcome is outcome and not entry.row.header:
                yield self._task(entry.row)

    def _task(self, row: Row) -> Task:
        task = Task(
            found=row.found,
            staged=str(staged_path(self._settings.state, row.found.path)),
            pipeline=row.pipeline,
            label=row.label,
            seconds=file_seconds(row.found.size, row.traits),
            streamed=is_streamed(row.found.size, row.traits),
            decoding_bytes=decoding_bytes(row.found.size, row.traits),
            looks_only=row.series in self._blocked,
            otherwise=None if row.otherwise is None else row.otherwise.pipeline,
            as_grey=row.traits is not None and row.traits.shows_grey,
        )
        if not row.voxels:
            return task
        voxels = self._entry(row.voxels).row.found
        return replace(
            task,
            seconds=file_seconds(row.found.size + voxels.size, row.traits),
            decoding_bytes=decoding_bytes(row.found.size + voxels.size, row.traits),
            voxels=voxels,
            staged_voxels=str(staged_path(self._settings.state, voxels.path)),
        )

    def _pair(self, entry: Entry) -> list[Entry]:
        """Return an entry, and with a header or voxels both files: the voxels first.

        Whoever is stopped between the two leaves voxels that nothing names, and no image.
        """
        other = entry.row.voxels or entry.row.header
        if not other:
            return [entry]
        return sorted((entry, self._entry(other)), key=lambda each: bool(each.row.voxels))

    def _finish(self, entry: Entry, result: Result) -> None:
        """Take a worker's result: to OUT, to the rest of its series, or to the rejected."""
        if result.stops_run:
            raise error_of(result.slug, result.detail)
        if result.slug:
            self._reject(entry, result.slug, result.detail)
            return
        row = entry.row.settle(shows_grey=result.shows_grey)
        if row.action is Action.REJECT:
            self._reject(entry, row.reason, row.detail)
            return
        entry = replace(entry, row=row)
        entries = [_staged(each, result) for each in self._pair(entry)]
        series = self._series(entry)
        if not series and all(self._is_ready(each) for each in entries):
            self._publish(entries)
        elif series in self._blocked:  # rejected while this file was being worked on
            self._drop(entries)
        else:
            self._record(entries)
            self._publish_with_series(entry)

    def _series(self, entry: Entry) -> str:
        """Return the series that an entry waits for; "" where it waits for none."""
        holds = self._settings.hold_series and entry.row.action is Action.PROTECT
        return entry.row.series if holds else ""

    def _is_ready(self, entry: Entry) -> bool:
        """Whether a staged file names all that it refers to as it is to."""
        if not refers(entry, self._images, self._settings.earlier_uid):
            return True
        return self._uids is not None and entry.remapped == wanted(entry, self._uids)

    def _publish_whole(self) -> None:
        for series in self._members:
            if series:
                self._publish_if_whole(series)
            else:
                staged = [each for each in self._of_series("") if each.outcome is Outcome.STAGED]
                self._publish([entry for entry in staged if self._is_ready(entry)])

    def _publish_with_series(self, entry: Entry) -> None:
        """Publish a file just recorded, with the series it waits for; else by itself."""
        series = self._series(entry)
        if series:
            self._publish_if_whole(series)
        elif self._is_ready(self._entry(entry.path)):
            self._publish([self._entry(each.path) for each in self._pair(entry)])

    def _publish_if_whole(self, series: str) -> None:
        """Publish a series once all of it is ready."""
        if self._planned[series]:  # known without a look at each: it is asked after every file
            return
        staged = [each for each in self._of_series(series) if each.outcome is Outcome.STAGED]
        # References are remapped in order, so that one which is not ready is found from the end.
        if all(self._is_ready(entry) for entry in reversed(staged)):
            self._publish(staged)

    def _of_series(self, series: str) -> list[Entry]:
        return [self._entries[at] for at in self._members[series]]

    def _find_places(self) -> list[tuple[int, int]]:
        """Return what OUT and the state folder are, whatever their names come to mean."""
        status = self._settings.state.stat()
        return [self._settings.target.identity(), (status.st_dev, status.st_ino)]

    def _check_places(self) -> None:
        """Stop where a share was unmounted or a folder moved: the names lead elsewhere then.

        Raises
        ------
        OutputError
            OUT or the state folder is not the one that the run began with.
        """
        with mapped_errors():
            if self._find_places() != self._places:
                raise OutputError(
                    "OUT or its state folder was moved or unmounted during the run; put it back, "
                    "then run again"
                )

    def _publish(self, entries: list[Entry]) -> None:
        """Give staged files their names in OUT; the journal knows of them before a series does.

        The folders of a series are flushed once, when all of it has its names.
        """
        if entries:
            self._check_places()
        for is_header in (False, True):  # headers once their voxels are there
            files = [
                (staged_file(self._settings.state, entry), entry.row.out)
                for entry in entries
                if bool(entry.row.voxels) is is_header
            ]
            if files:
                self._settings.target.publish(files)
        self._record(
            replace(
                entry,
                outcome=Outcome.PROTECTED if entry.row.pipeline else Outcome.COPIED,
            )
            for entry in entries
        )

    def _reject(self, entry: Entry, slug: str, detail: str) -> None:
        members = self._pair(entry)
        for each in members:
            self._unlink_staged(each)
        self._record(
            replace(
                each,
                row=replace(each.row, reason=slug, detail=detail),
                outcome=Outcome.REJECTED,
            )
            for each in members
        )
        series = self._series(entry)
        if series:
            self._blocked.add(series)
            # Those to come are looked at, so that all that ails the series is told at once.
            self._drop([e for e in self._of_series(series) if e.outcome is Outcome.STAGED])

    def _drop(self, entries: list[Entry]) -> None:
        """Hold entries: their staged files go, and they do not."""
        self._record(replace(entry.planned_again(), outcome=Outcome.HELD) for entry in entries)
        for entry in entries:
            if entry.outcome is Outcome.STAGED:  # else a worker may be writing it just now
                self._unlink_staged(entry)

    def _unlink_staged(self, entry: Entry) -> None:
        staged = staged_path(self._settings.state, entry.path)
        for path in (staged, staged.with_name(staged.name + REMAPPED)):
            path.unlink(missing_ok=True)

    def _record(self, entries: "list[Entry] | Iterator[Entry]") -> None:
        entries = list(entries)
        self._journal.record(entries)
        for entry in entries:
            at = self._numbers[entry.path]
            before = self._entries[at].outcome
            was_to_come = before in TO_COME
            self._planned[self._series(entry)] += (entry.outcome is Outcome.PLANNED) - (
                before is Outcome.PLANNED
            )
            self._entries[at] = entry
            if was_to_come and entry.outcome not in TO_COME:
                self._progress.done(at + 1, entry)
            elif before is Outcome.PLANNED and entry.outcome is Outcome.STAGED:
                self._progress.written(at + 1, entry)

    def interrupt(self, number: int) -> None:
        """End the run after the files under way; at once where none are, or when told again."""
        if self._pool is None or self._signal:
            raise KeyboardInterrupt(number)
        self._signal = number
        self._pool.stopping = True


def _staged(entry: Entry, result: Result) -> Entry:
    """Return the line of a file that lies written; what is said of pixels stands at the header."""
    if entry.row.header:
        return replace(
            entry,
            outcome=Outcome.STAGED,
            sha256_in=result.voxels_sha256_in,
            sha256_out=result.voxels_sha256_out,
            size_out=result.voxels_size_out,
        )
    return replace(
        entry,
        outcome=Outcome.STAGED,
        sha256_in=result.sha256_in,
        sha256_out=result.sha256_out,
        size_out=result.size_out,
        images=result.images,
        share=result.share,
        notes=result.notes,
        uids=result.uids,
        references=result.references,
    )
