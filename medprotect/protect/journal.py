"""The crash-safe record of a run: what became of every entry of the export."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from medprotect.confounder.measured import Measured, Protection
from medprotect.errors import StateMismatchError, StorageError
from medprotect.plan.plan import Action, Row
from medprotect.protect.atomic import mapped_errors
from medprotect.scan.walk import Found, Unsafe

FORMAT = 2
NAME = "journal.sqlite"


class Outcome(StrEnum):
    """What became of an entry; all but the first two are final."""

    PLANNED = "planned"
    STAGED = "staged"
    PROTECTED = "protected"  # it carries noise; how much that protects says `Entry.state`
    COPIED = "copied"
    LEFT = "left"
    REJECTED = "rejected"
    HELD = "held"


ENDS = (
    *(Outcome.PROTECTED, Outcome.COPIED, Outcome.LEFT),
    *(Outcome.REJECTED, Outcome.HELD),
)
"""Final outcomes, in the order in which they are told."""

IN_OUT = frozenset({Outcome.PROTECTED, Outcome.COPIED})
"""Outcomes of files that lie in OUT."""

STATES = (*(each.value for each in Protection), *(each.value for each in ENDS[1:]))
"""What may have become of a file (`Entry.state`) once a run is done, in the order of listings."""

STATES_IN_OUT = STATES[: STATES.index(Outcome.COPIED.value) + 1]
"""Those of files that lie in OUT."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The journal's line for one entry of the export.

    Attributes
    ----------
    row : Row
        The plan; `Row.traits` and `Row.otherwise` are not kept.
    outcome : Outcome
        How far it has come.
    sha256_in, sha256_out : str
        Of the file read and of the file written, in hex.
    size_out : int
        Bytes of the file written.
    images : int
        Frames or slices that got noise.
    share : float
        Largest change of a pixel as a share of its budget, on the file read again.
    notes : tuple of str
        Slugs of what was done besides changing pixels.
    uids : dict of str to str
        The new UIDs of a protected file, by the names of the old
        (`medprotect.imaging.dicom.references.name_uid`).
    references : tuple of str
        Names of the UIDs that the file refers to, as in the export.
    remapped : dict of str to str
        Those of them that the file written has others for.
    """

    row: Row
    outcome: Outcome = Outcome.PLANNED
    sha256_in: str = ""
    sha256_out: str = ""
    size_out: int = 0
    images: int = 0
    share: float = 0.0
    notes: tuple[str, ...] = ()
    uids: dict[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    remapped: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Path in the export."""
        return self.row.found.path

    @property
    def shown_path(self) -> str:
        """The path, with no character in it that a terminal or a page would obey."""
        return "".join(
            each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in self.path
        )

    @property
    def state(self) -> str:
        """What became of the file, in one word.

        ``protected``, ``weak`` or ``unmeasured`` where it lies in OUT with noise; else its outcome.
        """
        return (self.row.state if self.outcome is Outcome.PROTECTED else self.outcome).value

    @property
    def becomes(self) -> str:
        """What a run makes of the file, once it is done: one of `STATES`."""
        if self.outcome not in (Outcome.PLANNED, Outcome.STAGED):
            return self.state
        is_image = self.row.action is Action.PROTECT
        return self.row.state.value if is_image else Outcome.COPIED.value

    def planned_again(self) -> "Entry":
        """Return the line as if nothing had been done."""
        return Entry(self.row)


class Journal:
    """The journal of one OUT: a SQLite database in its state folder.

    Parameters
    ----------
    state : Path
        The state folder; exists, and is locked by the caller.

    Raises
    ------
    StateMismatchError
        The folder holds a journal of another format, or a file that is none.
    """

    def __init__(self, state: Path) -> None:
        path = state / NAME
        with mapped_errors():
            path.touch(0o600)
        self._connection = sqlite3.connect(path, isolation_level=None)
        try:
            with _mapped():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        for pragma in _PRAGMAS:
            self._connection.execute(pragma)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            raise StateMismatchError(
                "the journal is of another version of medprotect; continue with that version, or "
                "move the state folder and OUT away, and run again"
            )
        self._connection.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def about(self, name: str) -> dict[str, Any]:
        """Return a stored table of facts (``identity``, ``backend``), or {} where there is none."""
        with _mapped():
            chosen = self._connection.execute("SELECT value FROM about WHERE name=?", (name,))
            found = chosen.fetchone()
        return _parse(found[0]) if found else {}

    def state_about(self, name: str, facts: Mapping[str, Any]) -> None:
        """Store a table of facts."""
        with _mapped():
            self._connection.execute(
                "INSERT OR REPLACE INTO about VALUES (?, ?)", (name, json.dumps(facts))
            )

    def entries(self) -> Iterator[Entry]:
        """Yield all lines, in the order of the paths."""
        with _mapped():
            for (line,) in self._connection.execute("SELECT line FROM files ORDER BY number"):
                yield _entry(_parse(line))

    def replace_all(self, entries: Iterable[Entry]) -> None:
        """Make these the only lines, in this order."""
        with _mapped():
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM files")
            self._connection.executemany(
                "INSERT INTO files VALUES (?, ?, ?)",
                (
                    (number, entry.path, _format(entry))
                    for number, entry in enumerate(entries, start=1)
                ),
            )
            self._connection.execute("COMMIT")

    def record(self, entries: Iterable[Entry]) -> None:
        """Replace the lines of entries, all or none, on the disk when this returns."""
        with _mapped():
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "UPDATE files SET line=? WHERE path=?",
                ((_format(entry), entry.path) for entry in entries),
            )
            self._connection.execute("COMMIT")


_PRAGMAS = (
    # One process at a time holds the state folder, so no memory need be shared: a write-ahead log
    # then works on network shares too. It takes a quarter of the flushes of a rollback journal.
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    # FULL: a line that is read back after a power cut was on the disk before.
    "PRAGMA synchronous=FULL",
)

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS files (
    number INTEGER NOT NULL, path TEXT PRIMARY KEY, line TEXT NOT NULL
) STRICT;
PRAGMA user_version={FORMAT};
"""


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn errors of SQLite into ours."""
    try:
        yield
    except sqlite3.OperationalError:
        raise StorageError(
            "the journal cannot be written (disk full or I/O error); nothing is lost; "
            "make room, then run again"
        ) from None
    except sqlite3.DatabaseError:
        raise _damaged() from None


def _damaged() -> StateMismatchError:
    return StateMismatchError(
        "the journal is damaged; move the state folder and OUT away, and run again"
    )


def _format(entry: Entry) -> str:
    fields = asdict(replace(entry, row=replace(entry.row, traits=None, otherwise=None)))
    del fields["row"]["otherwise"]
    return json.dumps(fields, ensure_ascii=False)


def _parse(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, TypeError):
        raise _damaged() from None
    if not isinstance(fields, dict):
        raise _damaged()
    return fields


def _entry(fields: dict[str, Any]) -> Entry:
    try:
        return _entry_of(fields)
    except (KeyError, TypeError, ValueError):
        raise _damaged() from None


def _entry_of(fields: dict[str, Any]) -> Entry:
    row = dict(fields.pop("row"))
    found = dict(row.pop("found"))
    unsafe = found.pop("unsafe")
    protection = row.pop("protection", None)  # all that an earlier journal says of it
    known = row.pop("measured", None if protection is None else {"protection": protection})
    return Entry(
        **{
            **fields,
            "outcome": Outcome(fields["outcome"]),
            "notes": tuple(fields["notes"]),
            "uids": dict(fields["uids"]),
            "references": tuple(fields["references"]),
            "remapped": dict(fields["remapped"]),
            "row": Row(
                **{
                    **row,
                    "found": Found(**found, unsafe=Unsafe(unsafe) if unsafe else None),
                    "action": Action(row["action"]),
                    "warnings": tuple(row["warnings"]),
                    "measured": Measured(**known) if known else None,
                }
            ),
        }
    )
