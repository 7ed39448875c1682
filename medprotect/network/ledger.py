"""Which objects a node took in, and what became of each; on the disk before anybody is told."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from medprotect.confounder.measured import Measured
from medprotect.errors import StateMismatchError, StorageError
from medprotect.network.tally import Tally
from medprotect.protect.atomic import mapped_errors

FORMAT = 3

NAME = "ledger.sqlite"


class Fate(StrEnum):
    """How far an object has come; all but the first two are final."""

    BATCHED = "batched"
    IN_OUT = "in_out"
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
    outcome : str
        What it is (`medprotect.protect.journal.Entry.state`), where it was written to OUT; else "".
    measured : Measured or None
        Of the pipeline that gave it noise; None where nothing was measured.
    state : Fate
        How far it has come.
    batch : int
        Number of its batch.
    """

    name: str
    fate: Fate | None = None
    place: str = ""
    reason: str = ""
    outcome: str = ""
    measured: Measured | None = None
    state: Fate = Fate.BATCHED
    batch: int = 0


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
        ((found,),) = self._all("PRAGMA user_version")
        version = int(found)
        if version not in (0, *_UPDATES, FORMAT):
            raise StateMismatchError(
                "the ledger is of another version of medprotect; continue with that version, or "
                "move OUT and its state folder away"
            )
        if reading:
            if version in _UPDATES:
                raise StateMismatchError(
                    "the ledger is of an earlier version of medprotect; start the node once with "
                    "this one, which brings it up to date"
                )
            return
        with self._mapped():
            # FULL: what the ledger knows was on the disk before a sender is told so.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            while version in _UPDATES:
                self._connection.executescript(_UPDATES[version])
                version += 1
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

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
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
        return self._lines("batch=?", batch)

    def settled(self) -> list[Line]:
        """Return what is said of all objects whose batch is done, the oldest first."""
        return self._lines("state<>?", Fate.BATCHED)

    def _lines(self, condition: str, value: object) -> list[Line]:
        query = f"SELECT {_COLUMNS} FROM objects WHERE {condition} ORDER BY batch, name"  # noqa: S608
        return [_line(*row) for row in self._all(query, value)]

    def decide(self, lines: list[Line]) -> None:
        """Say where objects go, before the first of them does."""
        with self._transaction() as run:
            run.executemany(
                f"UPDATE objects SET (fate, place, reason, outcome, {_FIGURES}) "  # noqa: S608
                "= (?, ?, ?, ?, ?, ?, ?, ?) WHERE name=?",
                (
                    (each.fate, each.place, each.reason, each.outcome)
                    + (astuple(each.measured) if each.measured else (None,) * 4)
                    + (each.name,)
                    for each in lines
                ),
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
        return self._lines("state=?", Fate.IN_OUT)

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

    def tally(self) -> Tally:
        """Return what the objects are that were ever written to OUT."""
        query = (
            f"SELECT COUNT(*), outcome, {_FIGURES} FROM objects "  # noqa: S608
            f"WHERE outcome<>'' AND state<>? GROUP BY outcome, {_FIGURES}"
        )
        rows = self._all(query, Fate.BATCHED)
        return Tally({(outcome, _measured(*known)): int(count) for count, outcome, *known in rows})

    def claim_key(self, fingerprint: str) -> None:
        """Take note of the owner's key the first time, and refuse any other from then on.

        New identifiers come from the key, and so does the signature of a statement about all.

        Raises
        ------
        StateMismatchError
            The node had another.
        """
        with self._transaction() as run:
            run.execute("INSERT OR IGNORE INTO about VALUES ('key', ?)", (fingerprint,))
        ((known,),) = self._all("SELECT value FROM about WHERE name='key'")
        if known != fingerprint:
            raise StateMismatchError(
                f"the node had the key {known}, and this is {fingerprint}; name that one with "
                "--key, or name a new OUT"
            )

    def remember_uids(self, uids: dict[str, str]) -> None:
        """Keep the new UIDs of protected objects, by the names of the old, for later batches."""
        with self._transaction() as run:
            run.executemany("INSERT OR IGNORE INTO uids VALUES (?, ?)", uids.items())

    def new_uid(self, name: str) -> str | None:
        """Return what became of the UID of an object of an earlier batch."""
        found = self._all("SELECT uid FROM uids WHERE name=?", name)
        return found[0][0] if found else None


_FIGURES = "protection, with_10_images, worst, worst_countermeasure"
"""Columns of what `Measured` has, in its order."""

_COLUMNS = f"name, fate, place, reason, outcome, state, batch, {_FIGURES}"


def _line(name: str, fate: str, *others: Any) -> Line:
    place, reason, outcome, state, batch, *known = others
    decided = Fate(fate) if fate else None
    return Line(name, decided, place, reason, outcome, _measured(*known), Fate(state), batch)


def _measured(protection: float | None, *others: Any) -> Measured | None:
    return None if protection is None else Measured(protection, *others)


_UPDATES = {
    1: """
BEGIN;
ALTER TABLE objects ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE objects ADD COLUMN protection REAL;
UPDATE objects SET outcome='unmeasured' WHERE fate='protected';
UPDATE objects SET fate='in_out' WHERE fate='protected';
UPDATE objects SET state='in_out' WHERE state='protected';
PRAGMA user_version=2;
COMMIT;
""",
    2: """
BEGIN;
ALTER TABLE objects ADD COLUMN with_10_images REAL;
ALTER TABLE objects ADD COLUMN worst REAL;
ALTER TABLE objects ADD COLUMN worst_countermeasure TEXT;
PRAGMA user_version=3;
COMMIT;
""",
}
"""Makes the next format of each. 1 called "protected" whatever lies in OUT; 2 knew one figure."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, batch INTEGER NOT NULL, state TEXT NOT NULL,
    fate TEXT NOT NULL DEFAULT '', place TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT '', protection REAL, with_10_images REAL, worst REAL,
    worst_countermeasure TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS by_batch ON objects (batch);
CREATE INDEX IF NOT EXISTS by_state ON objects (state);
CREATE INDEX IF NOT EXISTS by_place ON objects (place);
CREATE TABLE IF NOT EXISTS uids (name TEXT PRIMARY KEY, uid TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
PRAGMA user_version={FORMAT};
"""
