"""Where objects lie between the sender and OUT: each is on the disk before its sender is told.

In the state folder of a node: ``incoming`` holds what was received; ``batches/N`` an export of
its own, what a run makes of it and the state of that run; ``rejected`` and ``left`` what must not
go on. An object is in one place at a time, and moves by renaming.
"""

import hashlib
import shutil
import time
from pathlib import Path
from uuid import uuid4

from medprotect.network.ledger import Fate, Ledger
from medprotect.protect.atomic import (
    check_space,
    fsync_dir,
    make_folders,
    mapped_errors,
    publish,
    write_chunks,
)

BATCH_OBJECTS = 500
"""Most objects of one batch: what a kill makes a node look at again."""

BATCH_SECONDS = 60
"""An object waits no longer for others of its series, though more keep coming."""

_PARTIAL = ".part"


def batch_folder(state: Path, number: int) -> Path:
    """Return the folder of a batch in the state folder of a node."""
    return state / "batches" / f"{number:06}"


class Spool:
    """The folders of a node.

    Parameters
    ----------
    state : Path
        The state folder, locked by the caller.
    ledger : Ledger
        Its ledger.
    """

    def __init__(self, state: Path, ledger: Ledger) -> None:
        self._state, self._ledger = state, ledger
        for folder in ("incoming", "batches", Fate.REJECTED, Fate.LEFT):
            make_folders(state / folder, 0o700)

    @property
    def incoming(self) -> Path:
        """Holds what was received and is in no batch yet."""
        return self._state / "incoming"

    def batch(self, number: int) -> Path:
        """Return the folder of a batch."""
        return batch_folder(self._state, number)

    def receive(self, head: bytes, data: memoryview) -> None:
        """Take an object in; when this returns, it outlives a power cut.

        The same bytes sent again, as after a lost answer, are the same object.

        Raises
        ------
        OutputError, StorageError
            The disk is full or fails; nothing is left of the object.
        """
        digest = hashlib.sha256(head)
        digest.update(data)
        name = digest.hexdigest()[:40] + ".dcm"
        if (self.incoming / name).exists() or self._ledger.knows(name):
            return
        # Room for the object, what is made of it, and that on its way to OUT.
        check_space(self.incoming, 4 * len(data))
        partial = self.incoming / f"{uuid4().hex}{_PARTIAL}"
        write_chunks(partial, [head, data], 0o600)
        publish(partial, self.incoming / name, replace=True)

    def waiting(self) -> list[str]:
        """Return the names of what is in no batch yet."""
        with mapped_errors():
            names = [path.name for path in self.incoming.iterdir() if path.suffix == ".dcm"]
        return sorted(name for name in names if not self._ledger.knows(name))

    def is_settled(self, names: list[str], settle_seconds: float) -> bool:
        """Whether to make a batch of what waits: nothing came for a while, or it is enough."""
        times = [(self.incoming / name).stat().st_mtime for name in names]
        if not times:
            return False
        now = time.time()
        is_quiet = not 0 <= now - max(times) < settle_seconds
        return is_quiet or len(names) >= BATCH_OBJECTS or now - min(times) > BATCH_SECONDS

    def gather(self, names: list[str]) -> int:
        """Make a batch of what waits, and return its number."""
        number = self._ledger.begin(names[:BATCH_OBJECTS])
        self.fill(number)
        return number

    def fill(self, number: int) -> None:
        """Move what belongs to a batch into its export; also where a kill left some behind."""
        export = self.batch(number) / "export"
        make_folders(export, 0o700)
        with mapped_errors():
            for line in self._ledger.lines(number):
                source, target = self.incoming / line.name, export / line.name
                if source.exists() and line.fate is None and not target.exists():
                    source.rename(target)
        fsync_dir(export)
        fsync_dir(self.incoming)

    def set_aside(self, source: Path, fate: Fate) -> None:
        """Keep an object that must not go on; nothing happens where that is done already."""
        if source.exists():
            publish(source, self._state / fate / source.name, replace=True)

    def take_back(self) -> int:
        """Receive again what was rejected, and return how much."""
        names = [path.name for path in (self._state / Fate.REJECTED).iterdir()]
        for name in names:
            self._ledger.forget(name)  # first: what is known and lies in incoming is removed
            publish(self._state / Fate.REJECTED / name, self.incoming / name, replace=True)
        return len(names)

    def clear(self) -> None:
        """Remove what a kill left: objects that were never acknowledged, or that are done."""
        open_batch = self._ledger.open_batch()
        with mapped_errors():
            for path in self.incoming.iterdir():
                if path.suffix == _PARTIAL or self._is_done(path.name, open_batch):
                    path.unlink()
            for folder in (self._state / "batches").iterdir():
                if int(folder.name) != open_batch:
                    self.clear_batch(int(folder.name))

    def _is_done(self, name: str, open_batch: int) -> bool:
        if not self._ledger.knows(name):
            return False
        return not open_batch or all(line.name != name for line in self._ledger.lines(open_batch))

    def clear_batch(self, number: int) -> None:
        """Remove the images of a batch that is done; its journal and receipt stay.

        Reports and statements of the node are made of the receipts (`medprotect.network.receipt`).
        """
        for name in ("export", "out"):
            shutil.rmtree(self.batch(number) / name, ignore_errors=True)
