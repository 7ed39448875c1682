"""What of an earlier run still holds: the plan is made anew, what was done is kept."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medprotect.errors import InputError, OutputError, StateMismatchError
from medprotect.plan.pairing import settle
from medprotect.plan.plan import Action, Row, plan_row
from medprotect.protect.atomic import mapped_errors
from medprotect.protect.journal import IN_OUT, Entry, Journal, Outcome
from medprotect.protect.out_tree import OutTree, is_there
from medprotect.protect.protectable import sha256_of
from medprotect.protect.settings import Settings
from medprotect.scan.walk import Found, open_found, walk

STAGING = "staging"
"""Folder in the state folder for files on their way to OUT."""

REMAPPED = "-remapped"
"""Ending of the name of a file there whose references were remapped."""
MASK_NAMES = "mask_names"
"""What the journal calls what was said of masks."""

_MAYBE_IN_OUT = IN_OUT | {Outcome.PLANNED, Outcome.STAGED}

RETRIED = frozenset({"changed", "unsafe_path", "error", "too_large", "protection_too_low"})
"""Reasons that may be gone by the next run."""


def claim(journal: Journal, settings: Settings, identity: dict[str, object]) -> None:
    """Make OUT this run's, or find that it is.

    Raises
    ------
    StateMismatchError
        OUT belongs to a run with other settings.
    OutputError
        OUT holds files and no run is known to have written them.
    """
    known = journal.about("identity")
    if not known:
        if not settings.target.is_empty():
            raise OutputError("OUT is not empty, and no run wrote it; name a new folder")
        journal.state_about("identity", identity)
        return
    differing = sorted(name for name in identity if known.get(name) != identity[name])
    if differing:
        hint = "; --labels none goes on with one without labels" if "labels" in differing else ""
        raise StateMismatchError(
            f"OUT belongs to a run with other settings ({', '.join(differing)}); give those again, "
            f"name a new OUT, or start again with --restart{hint}"
        )


def claim_backend(journal: Journal, backend: dict[str, str]) -> None:
    """Refuse to go on with other arithmetic than a run began with: bytes might differ.

    Raises
    ------
    StateMismatchError
        The processor or a library is another.
    """
    known = journal.about("backend")
    # A run that only copied so far knows of no torch, and its bytes depend on none.
    differing = sorted(name for name in known if name in backend and known[name] != backend[name])
    if differing:
        raise StateMismatchError(
            f"the run began on another machine or with other libraries ({', '.join(differing)}), "
            "so its bytes could differ; continue there, or start again with --restart"
        )
    journal.state_about("backend", known | backend)


def restart(journal: Journal, settings: Settings) -> None:
    """Forget an earlier run and remove from OUT what it wrote, and nothing else."""
    settings.target.remove(_written(journal.entries()))
    journal.replace_all([])
    journal.state_about("identity", {})
    journal.state_about("backend", {})


def reconcile(
    journal: Journal, settings: Settings, progress: Callable[[int], None] | None = None
) -> list[Entry]:
    """Plan the export as it is now, keep what was done and still holds, and undo what does not.

    Parameters
    ----------
    journal : Journal
        Claimed.
    settings : Settings
        Of the run.
    progress : callable, optional
        Told how many entries were planned so far.

    Returns
    -------
    list of Entry
        One for each entry of the export, in the order of the paths; also in the journal.

    Raises
    ------
    StateMismatchError
        Files are gone from the export whose protected form lies in OUT.
    OutputError
        Names in OUT are taken by files that the run did not write.
    """
    known = {entry.path: entry for entry in journal.entries()}
    said = asdict(settings.mask_names)
    is_said_again = _as_stored(said) == journal.about(MASK_NAMES)
    there = {found.path: found for found in walk(settings.source)}
    rows = []
    for found in there.values():
        before = known.get(found.path) if is_said_again else None
        rows.append(_plan(settings, found, before, there))
        if progress:
            progress(len(rows))
    _refuse_vanished(known, rows)
    rows = settle(rows, ignores_case=settings.target.ignores_case())
    entries = [_carry_over(settings, row, known.get(row.found.path)) for row in rows]
    entries = _redo_halves(entries)
    if settings.hold_series:
        entries = hold(entries)
    settings.target.remove(
        _written(known.values()) - {e.row.out for e in entries if e.outcome in IN_OUT}
    )
    _refuse_taken(settings.target, entries)
    _clear_staging(settings.state, entries)
    journal.replace_all(entries)
    journal.state_about(MASK_NAMES, said)
    return entries


def _as_stored(facts: dict[str, Any]) -> object:
    return json.loads(json.dumps(facts))


def _redo_halves(entries: list[Entry]) -> list[Entry]:
    """Plan both files of a pair again where they have not come equally far."""
    by_path = {entry.path: entry for entry in entries}
    for entry in entries:
        other = by_path.get(entry.row.voxels)
        if other is not None and other.outcome is not entry.outcome:
            for each in (entry, other):
                by_path[each.path] = Entry(replace(each.row, reason="", detail=""))
    return list(by_path.values())


def hold(entries: Iterable[Entry]) -> list[Entry]:
    """Hold every image of a series of which a file was rejected; let go of those held without."""
    entries = list(entries)
    blocked = {e.row.series for e in entries if e.outcome is Outcome.REJECTED} - {""}
    return [
        replace(entry.planned_again(), outcome=Outcome.HELD)
        if entry.row.series in blocked
        and entry.row.action is Action.PROTECT
        and entry.outcome is not Outcome.REJECTED
        else entry
        for entry in entries
    ]


def staged_path(state: Path, path: str) -> Path:
    """Return where the file for a path of the export lies on its way to OUT."""
    return state / STAGING / hashlib.sha256(path.encode()).hexdigest()[:32]


def staged_file(state: Path, entry: Entry) -> Path:
    """Return where the file of a staged entry lies: elsewhere once its references are remapped."""
    path = staged_path(state, entry.path)
    return path.with_name(path.name + REMAPPED) if entry.remapped else path


def _plan(
    settings: Settings, found: Found, before: Entry | None, there: Mapping[str, Found]
) -> Row:
    if (
        before is not None
        and before.row.found == found
        and before.row.action is Action.PROTECT
        and before.outcome in IN_OUT
        and not (before.row.voxels or before.row.header)
        and not settings.rehash
        and settings.at_least is None
    ):
        row = before.row
        known = settings.measured_of(row.pipeline) if row.is_of_pipeline else None
        return replace(row, measured=known)
    return plan_row(settings.source, settings.out, found, settings.rules, there)


def _refuse_vanished(known: dict[str, Entry], rows: Iterable[Row]) -> None:
    there = {row.found.path for row in rows}
    gone = sum(e.outcome in IN_OUT and path not in there for path, e in known.items())
    if gone:
        raise StateMismatchError(
            f"{gone} files are protected in OUT but gone from the export; put them back, name a "
            "new OUT, or start again with --restart"
        )


def _written(entries: Iterable[Entry]) -> set[str]:
    """Return the names in OUT that a run wrote, or may have been killed while it gave them."""
    return {entry.row.out for entry in entries if entry.outcome in _MAYBE_IN_OUT}


def _refuse_taken(out: OutTree, entries: Iterable[Entry]) -> None:
    to_come = [e for e in entries if e.outcome in (Outcome.PLANNED, Outcome.STAGED)]
    taken = sum(out.has(entry.row.out) for entry in to_come)
    if taken:
        raise OutputError(
            f"{taken} names in OUT are taken by files that no run wrote; move those files away"
        )


def _carry_over(settings: Settings, row: Row, before: Entry | None) -> Entry:
    """Return what an earlier run did for a row, if it still holds; else the plan alone."""
    if row.action is Action.REJECT:
        return Entry(row, Outcome.REJECTED)
    if row.action is Action.LEAVE:
        return Entry(row, Outcome.LEFT)
    planned = Entry(row)
    if before is None:
        return planned
    other = row.otherwise
    if other is not None and other.action is Action.PROTECT and _is_same_plan(other, before.row):
        row = other  # as the pixels were found to be
    if not _is_same_plan(row, before.row):
        return planned
    if not _is_same_content(settings, row.found, before):
        return planned
    if not _still_holds(settings, row, before):
        return planned
    if before.outcome is not Outcome.REJECTED and row.traits is not None:
        row = row.settle(shows_grey=row.traits.shows_grey)
    # Of a rejected file, only the worker that tried it knew the reason.
    return replace(before, row=replace(row, reason=before.row.reason, detail=before.row.detail))


def _is_same_plan(row: Row, before: Row) -> bool:
    one, other = (
        (each.action, each.out, each.pipeline, each.label, each.voxels, each.header)
        for each in (row, before)
    )
    return one == other


def _is_same_content(settings: Settings, found: Found, before: Entry) -> bool:
    if before.row.found == found and not settings.rehash:
        return True
    if not before.sha256_in:
        return False
    try:
        with open_found(settings.source, found) as stream:
            return sha256_of(stream) == before.sha256_in
    except (InputError, OSError):
        return False


def _still_holds(settings: Settings, row: Row, before: Entry) -> bool:
    if before.outcome in IN_OUT:
        sha256 = before.sha256_out if settings.rehash else ""
        return settings.target.holds(row.out, before.size_out, sha256)
    if before.outcome is Outcome.STAGED:
        staged = staged_file(settings.state, before)
        return is_there(staged, before.size_out, before.sha256_out)
    reason = before.row.reason
    return before.outcome is Outcome.REJECTED and reason not in RETRIED


def _clear_staging(state: Path, entries: Iterable[Entry]) -> None:
    staging = state / STAGING
    with mapped_errors():
        staging.mkdir(mode=0o700, exist_ok=True)
        wanted = {
            staged_file(state, entry).name for entry in entries if entry.outcome is Outcome.STAGED
        }
        for path in staging.iterdir():
            if path.name not in wanted:
                path.unlink()
