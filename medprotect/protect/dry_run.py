"""The plan of a run, made without writing anything."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from medprotect import limits
from medprotect.errors import InputError, OutputError
from medprotect.plan.pairing import settle
from medprotect.plan.plan import Action, Row, plan_rows
from medprotect.protect.confinement import decoding_bytes, file_seconds, worker_bytes
from medprotect.protect.forking import LOOKING
from medprotect.protect.journal import NAME as JOURNAL
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.pool import Pool
from medprotect.protect.resume import RETRIED, hold
from medprotect.protect.settings import Settings
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.scan.walk import check_trees, walk

_OUTCOMES = {Action.REJECT: Outcome.REJECTED, Action.LEAVE: Outcome.LEFT}


def plan_export(settings: Settings) -> list[Entry]:
    """Return what a run would do with each entry of the export, were it to begin now.

    Entries to be protected or copied have the outcome *planned*; what was done by an earlier run
    does not count.

    Raises
    ------
    InputError, OutputError
        As for the run itself.
    """
    check_trees(*settings.folders)
    refuse_empty(settings)
    if not settings.target.is_empty() and not settings.state.exists():
        raise OutputError("OUT is not empty, and no run wrote it; name a new folder")
    source = settings.source
    rows = list(plan_rows(source, settings.out, walk(source), settings.rules))
    rows = settle(rows, ignores_case=settings.target.ignores_case())
    entries = [Entry(row, _OUTCOMES.get(row.action, Outcome.PLANNED)) for row in rows]
    return hold(entries) if settings.hold_series else entries


def refuse_empty(settings: Settings) -> None:
    """Refuse an export without any file, before anything is written for it.

    Where a run has written OUT before, files are missing, and it is that run which says so.

    Raises
    ------
    InputError
        There is no file in the export.
    """
    known = (settings.state / JOURNAL).is_file()
    if not known and next(iter(walk(settings.source)), None) is None:
        raise InputError(
            "EXPORT holds no files; name the folder that holds the images, or mount it first. "
            "Nothing was written"
        )


def look_ahead(settings: Settings, entries: Sequence[Entry]) -> tuple[list[Entry], int]:
    """Reject what a run would reject by its pixels, and tell grey from colour by them.

    As far as they are looked at: the smallest images come first, up to
    `limits.PIXELS_LOOKED_AT` for each job. Nothing is looked at in an export that is no folder.

    Parameters
    ----------
    settings : Settings
        Of the run.
    entries : sequence of Entry
        As `medprotect.protect.dry_run.plan_export` returns them.

    Returns
    -------
    list of Entry
        The same, with what was found.
    int
        How many files to be protected were not looked at, or not to the end, so that a run may
        still reject them.
    """
    planned = [
        entry
        for entry in entries
        if entry.outcome is Outcome.PLANNED and entry.row.pipeline and not entry.row.header
    ]
    chosen = [] if settings.export_tree else _choose(planned, settings.jobs)
    found = _look_at(settings, chosen, {entry.path: entry.row for entry in entries})
    rejected = {path: result for path, result in found.items() if result.slug not in {"", *RETRIED}}
    unknown = len(planned) - sum(result.slug not in RETRIED for result in found.values())
    rows = {entry.path: entry.row for entry in planned}
    rejected |= {rows[path].voxels: rejected[path] for path in [*rejected] if rows[path].voxels}
    looked = [
        replace(
            entry,
            row=replace(entry.row, reason=result.slug, detail=result.detail),
            outcome=Outcome.REJECTED,
        )
        if (result := rejected.get(entry.path))
        else _settle(entry, found.get(entry.path))
        for entry in entries
    ]
    return (hold(looked) if settings.hold_series else looked), unknown


def _settle(entry: Entry, result: Result | None) -> Entry:
    """Return the entry of an image stored in colour, once it is known whether it is grey."""
    row = entry.row.settle(shows_grey=result.shows_grey if result else None)
    return replace(entry, row=row, outcome=_OUTCOMES.get(row.action, entry.outcome))


def _choose(planned: Sequence[Entry], jobs: int) -> list[Row]:
    rows, room = [], limits.PIXELS_LOOKED_AT * jobs
    for entry in sorted(planned, key=lambda each: _pixels(each.row)):
        room -= _pixels(entry.row)
        if room < 0:
            break
        rows.append(entry.row)
    return rows


def _pixels(row: Row) -> int:
    traits = row.traits
    return traits.rows * traits.columns * traits.images if traits is not None else 0


def _look_at(settings: Settings, chosen: Sequence[Row], rows: dict[str, Row]) -> dict[str, Result]:
    """Return by path what was found."""
    if not chosen:
        return {}
    workers = min(settings.jobs, len(chosen))
    setup = Setup(
        export=str(settings.export),
        secret="",
        pipelines={},
        strength=settings.strength,
        memory_bytes=worker_bytes(workers),
    )

    def tasks() -> Iterator[Task]:
        for row in chosen:
            voxels = rows[row.voxels].found if row.voxels else None
            size = row.found.size + (voxels.size if voxels else 0)
            yield Task(
                found=row.found,
                staged="",
                pipeline=row.pipeline,
                seconds=file_seconds(size, row.traits),
                decoding_bytes=decoding_bytes(size, row.traits),
                voxels=voxels,
                looks_only=True,
                otherwise=None if row.otherwise is None else row.otherwise.pipeline,
                as_grey=row.traits is not None and row.traits.shows_grey,
            )

    with Pool(workers, setup, LOOKING) as pool:
        return {task.found.path: result for task, result in pool.results(tasks())}
