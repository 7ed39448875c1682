"""The crash-safe record of a run: what became of every entry of the export."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from medprotect.errors import StateMismatchError, StorageError
from medprotect.plan.plan import Action, Row
from medprotect.scan.walk import Found, Unsafe

FORMAT = 1
NAME = "journal.sqlite"


class Outcome(StrEnum):
    """What became of an entry; all but the first two are final."""

    PLANNED = "planned"
    STAGED = "staged"
    PROTECTED = "protected"
    COPIED = "copied"
    LEFT = "left"
    REJECTED = "rejected"
    HELD = "held"


IN_OUT = frozenset({Outcome.PROTECTED, Outcome.COPIED})
"""Outcomes of files that lie in OUT."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The journal's line for one entry of the export.

    Attributes
    ----------
    row : Row
        The plan; `Row.traits` is not kept.
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
    """

    row: Row
    outcome: Outcome = Outcome.PLANNED
    sha256_in: str = ""
    sha256_out: str = ""
    size_out: int = 0
    images: int = 0
    share: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Path in the export."""
        return self.row.found.path

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
        try:
            path.touch(0o600)
            self._connection = sqlite3.connect(path, isolation_level=None)
            with _mapped():
                # FULL: a line that is read back after a power cut was on the disk before.
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute("PRAGMA journal_mode=DELETE")
                self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise StateMismatchError(
                "the journal is damaged; move the state folder and OUT away, and run again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def about(self, name: str) -> dict[str, Any]:
        """Return a stored table of facts (``identity``, ``backend``), or {} where there is none."""
        found = self._connection.execute("SELECT value FROM about WHERE name=?", (name,)).fetchone()
        facts: dict[str, Any] = json.loads(found[0]) if found else {}
        return facts

    def state_about(self, name: str, facts: Mapping[str, Any]) -> None:
        """Store a table of facts."""
        with _mapped():
            self._connection.execute(
                "INSERT OR REPLACE INTO about VALUES (?, ?)", (name, json.dumps(facts))
            )

    def entries(self) -> Iterator[Entry]:
        """Yield all lines, in the order of the paths."""
        for (line,) in self._connection.execute("SELECT line FROM files ORDER BY number"):
            yield _parse(json.loads(line))

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


_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS files (
    number INTEGER NOT NULL, path TEXT PRIMARY KEY, line TEXT NOT NULL
) STRICT;
PRAGMA user_version={FORMAT};
"""


class _mapped:  # noqa: N801 - reads as a statement
    """Turn errors of the disk under SQLite into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise StorageError(
                "the journal cannot be written (disk full or I/O error); nothing is lost; "
                "make room, then run again"
            ) from None


def _format(entry: Entry) -> str:
    fields = asdict(replace(entry, row=replace(entry.row, traits=None)))
    return json.dumps(fields, ensure_ascii=False)


def _parse(fields: dict[str, Any]) -> Entry:
    row = dict(fields.pop("row"))
    found = dict(row.pop("found"))
    unsafe = found.pop("unsafe")
    return Entry(
        **{
            **fields,
            "outcome": Outcome(fields["outcome"]),
            "notes": tuple(fields["notes"]),
            "row": Row(
                **{
                    **row,
                    "found": Found(**found, unsafe=Unsafe(unsafe) if unsafe else None),
                    "action": Action(row["action"]),
                    "warnings": tuple(row["warnings"]),
                }
            ),
        }
    )
