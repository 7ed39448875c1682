"""Which objects a node took in, and what became of each; on the disk before anybody is told."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from medprotect.errors import StateMismatchError, StorageError
from medprotect.protect.atomic import mapped_errors

FORMAT = 1
NAME = "ledger.sqlite"


class Fate(StrEnum):
    """How far an object has come; all but the first two are final."""

    BATCHED = "batched"
    PROTECTED = "protected"
    FORWARDED = "forwarded"
    REJECTED = "rejected"
    LEFT = "left"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Line:
    """What the ledger says of one object.

    Attributes
    ----------
    name : str
        Of its file in the spool: what its bytes are known by.
    fate : Fate or None
        Where it goes when its batch is closed; None where that is not known yet.
    place : str
        Path in OUT, where it goes there.
    reason : str
        Slug of why it was rejected or left.
    """

    name: str
    fate: Fate | None = None
    place: str = ""
    reason: str = ""


class Ledger:
    """The ledger of one node: a SQLite database in its state folder, for all its threads.

    Parameters
    ----------
    state : Path
        The state folder; exists.
    reading : bool
        Only read, beside the node that writes.

    Raises
    ------
    StateMismatchError
        The folder holds a ledger of another format, or a file that is none.
    """

    def __init__(self, state: Path, *, reading: bool = False) -> None:
        path = state / NAME
        if not reading:
            with mapped_errors():
                path.touch(0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        try:
            self._open(reading)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, reading: bool) -> None:
        ((version,),) = self._all("PRAGMA user_version")
        if int(version) not in (0, FORMAT):
            raise StateMismatchError(
                "the ledger is of another version of medprotect; go on with that one, or move OUT "
                "and its state folder away"
            )
        if reading:
            return
        with self._mapped():
            # FULL: what the ledger knows was on the disk before a sender is told so.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError:
            raise StorageError(
                "the ledger cannot be written (disk full or I/O error); nothing is lost; make room"
            ) from None
        except sqlite3.DatabaseError:
            raise StateMismatchError("the ledger is damaged; restore it from a copy") from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _all(self, query: str, *values: object) -> list[tuple[str, ...]]:
        with self._lock, self._mapped():
            return self._connection.execute(query, values).fetchall()

    def knows(self, name: str) -> bool:
        """Whether an object was put into a batch once."""
        return bool(self._all("SELECT 1 FROM objects WHERE name=?", name))

    def begin(self, names: Iterable[str]) -> int:
        """Put objects into a new batch, and return its number."""
        with self._transaction() as run:
            (last,) = run.execute("SELECT COALESCE(MAX(batch), 0) FROM objects").fetchone()
            run.executemany(
                "INSERT INTO objects (name, batch, state) VALUES (?, ?, ?)",
                ((name, last + 1, Fate.BATCHED) for name in names),
            )
        return int(last) + 1

    def open_batch(self) -> int:
        """Return the batch that is not done, or 0."""
        found = self._all("SELECT MIN(batch) FROM objects WHERE state=?", Fate.BATCHED)
        return int(found[0][0] or 0)

    def lines(self, batch: int) -> list[Line]:
        """Return what is said of the objects of a batch."""
        query = "SELECT name, fate, place, reason FROM objects WHERE batch=? ORDER BY name"
        return [
            Line(name, Fate(fate) if fate else None, place, reason)
            for name, fate, place, reason in self._all(query, batch)
        ]

    def decide(self, lines: list[Line]) -> None:
        """Say where objects go, before the first of them does."""
        with self._transaction() as run:
            run.executemany(
                "UPDATE objects SET fate=?, place=?, reason=? WHERE name=?",
                ((line.fate, line.place, line.reason, line.name) for line in lines),
            )

    def close(self, batch: int) -> None:
        """Say that all objects of a batch have gone where they go."""
        with self._transaction() as run:
            run.execute("UPDATE objects SET state=fate WHERE batch=?", (batch,))

    def forget(self, name: str) -> None:
        """Forget an object, which is then as if it had just come."""
        with self._transaction() as run:
            run.execute("DELETE FROM objects WHERE name=?", (name,))

    def taken(self, place: str) -> bool:
        """Whether another object has a path in OUT."""
        return bool(self._all("SELECT 1 FROM objects WHERE place=?", place))

    def waiting(self) -> list[Line]:
        """Return the objects that lie in OUT, the oldest first."""
        query = "SELECT name, place FROM objects WHERE state=? ORDER BY batch, name"
        return [
            Line(name, Fate.PROTECTED, place) for name, place in self._all(query, Fate.PROTECTED)
        ]

    def mark(self, name: str, state: Fate) -> None:
        """Say that an object came further."""
        with self._transaction() as run:
            run.execute("UPDATE objects SET state=? WHERE name=?", (state, name))

    def is_forwarded(self, place: str) -> bool:
        """Whether the object of a path in OUT was taken by the peer."""
        query = "SELECT 1 FROM objects WHERE place=? AND state=?"
        return bool(self._all(query, place, Fate.FORWARDED))

    def counts(self) -> dict[Fate, int]:
        """Return how many objects have come how far."""
        rows = self._all("SELECT state, COUNT(*) FROM objects GROUP BY state")
        found = {state: int(count) for state, count in rows}
        return {fate: found.get(fate, 0) for fate in Fate}

    def reasons(self) -> dict[str, int]:
        """Return how many objects were rejected for which reason."""
        query = "SELECT reason, COUNT(*) FROM objects WHERE state=? GROUP BY reason"
        return {reason: int(count) for reason, count in self._all(query, Fate.REJECTED)}

    def remember_uids(self, uids: dict[str, str]) -> None:
        """Keep the new UIDs of protected objects, by the names of the old, for later batches."""
        with self._transaction() as run:
            run.executemany("INSERT OR IGNORE INTO uids VALUES (?, ?)", uids.items())

    def new_uid(self, name: str) -> str | None:
        """Return what became of the UID of an object of an earlier batch."""
        found = self._all("SELECT uid FROM uids WHERE name=?", name)
        return found[0][0] if found else None


_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, batch INTEGER NOT NULL, state TEXT NOT NULL,
    fate TEXT NOT NULL DEFAULT '', place TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS by_batch ON objects (batch);
CREATE INDEX IF NOT EXISTS by_state ON objects (state);
CREATE INDEX IF NOT EXISTS by_place ON objects (place);
CREATE TABLE IF NOT EXISTS uids (name TEXT PRIMARY KEY, uid TEXT NOT NULL) STRICT;
PRAGMA user_version={FORMAT};
"""
