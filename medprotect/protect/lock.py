"""One run at a time on one OUT."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medprotect.errors import StateLockedError
from medprotect.protect.atomic import make_folders, mapped_errors

NAME = "lock"


@contextmanager
def hold_lock(state: Path) -> Iterator[None]:
    """Hold the lock of a state folder, which is made if need be; the end of the process frees it.

    Raises
    ------
    StateLockedError
        Another run holds it.
    OutputError, StorageError
        The folder cannot be written.
    """
    make_folders(state.parent)
    make_folders(state, mode=0o700)
    with mapped_errors():
        descriptor = os.open(state / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise StateLockedError(
                f"another run is using the same OUT (process {owner}); wait for it, or end it"
            ) from None
        with mapped_errors():
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
