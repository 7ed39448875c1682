"""Writing so that a file is there whole or not at all, whenever the power goes.

A protected file is written under a temporary name in the state folder, flushed to the disk, and
only then given its name in OUT. Only our own ``write`` calls touch the disk, so that a full disk
is seen as one.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from medprotect.errors import MedprotectError, OutputError, StorageError
from medprotect.scan.walk import PARTIAL_NAME

RESERVE_BYTES = 16 * 1024**2
"""Free space that a run leaves on a file system, for the journal and everybody else."""

_COPY_BYTES = 4 * 1024**2

_REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EXDEV,
}
DISK_FAILURES = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT}
)
"""What no file's content can bring about: the disk or the share is full, or failing."""

_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn an `OSError` of the block into one of ours, without the path in its text.

    Raises
    ------
    OutputError
        Not allowed, read-only, in the way, or not a folder.
    StorageError
        Disk full, quota, I/O error, a network share that went away.
    """
    try:
        yield
    except OSError as error:
        raise map_error(error) from None


def map_error(error: OSError) -> MedprotectError:
    """Return the error of ours for one of the system, as `mapped_errors` says."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _REFUSED:
        return OutputError(f"OUT or its state folder cannot be written ({reason}); check it")
    return StorageError(
        f"writing stopped ({reason}); nothing is lost; make room or repair the disk, then run again"
    )


def write_file(tmp: Path, data: bytes | memoryview, mode: int = 0o644) -> None:
    """Write a new file and flush it to the disk; on any error nothing is left of it.

    Parameters
    ----------
    tmp : Path
        Must not exist; its folder must.
    data : bytes or memoryview
        The whole file.
    mode : int
        Permissions, lessened by the process's umask.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says.
    """
    write_chunks(tmp, [data], mode)


def write_chunks(tmp: Path, chunks: Iterable[bytes | memoryview], mode: int = 0o644) -> None:
    """Write a new file, as `write_file` does, from its parts.

    Parameters
    ----------
    tmp, mode
        As there.
    chunks : iterable of bytes or memoryview
        The whole file, in order.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says.
    """
    with _new_file(tmp, mode) as descriptor:
        for chunk in chunks:  # whose own errors are none of the disk that is written to
            with mapped_errors():
                _write_all(descriptor, memoryview(chunk).cast("B"))


@contextmanager
def scratch_file(folder: Path) -> Iterator[BinaryIO]:
    """Open a file without a name, for reading and writing, gone with the process at the latest.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says; what the file is used for raises them, too.
    """
    with mapped_errors():
        raw = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed with the buffer
    with _ScratchFile(raw) as file:
        yield file


class _ScratchFile(BufferedRandom):
    """A file whose errors are ours."""

    def write(self, data: Any, /) -> int:
        """Write bytes, as a file does."""
        with mapped_errors():
            return super().write(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, as a file does."""
        with mapped_errors():
            return super().read(size)

    def seek(self, target: int, whence: int = 0, /) -> int:
        """Go to a place, as a file does."""
        with mapped_errors():
            return super().seek(target, whence)

    def flush(self) -> None:
        """Hand over what was written, as a file does."""
        with mapped_errors():
            super().flush()


@contextmanager
def _new_file(path: Path, mode: int) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with mapped_errors():
        descriptor = os.open(path, flags, mode)
    try:
        try:
            yield descriptor
            with mapped_errors():
                os.fsync(descriptor)
        finally:
            with mapped_errors():  # may be the call that tells of an error on a network share
                os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def publish(tmp: Path, final: Path, *, replace: bool = False, flush: bool = True) -> None:
    """Give a written file its name in OUT, in one step that survives a power cut.

    Missing folders above `final` are made. Where `tmp` lies on another file system its bytes
    first go under a partial name beside `final`, which a kill can leave behind:
    `remove_partials` clears it away.

    Parameters
    ----------
    tmp : Path
        A file that `write_file` wrote; gone afterwards.
    final : Path
        Its name in OUT.
    replace : bool
        Take the place of a file that is there already; else that is an error.
    flush : bool
        Whether the name is on the disk when this returns; else its folder is to be flushed with
        `fsync_dir` before anybody is told.

    Raises
    ------
    OutputError
        `final` exists and `replace` is false, or as `mapped_errors` says.
    StorageError
        As `mapped_errors` says.
    """
    make_folders(final.parent)
    with mapped_errors():
        try:
            _move(tmp, final, replace)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            partial = _copy(tmp, final)
            try:
                _move(partial, final, replace)
            finally:
                partial.unlink(missing_ok=True)
            tmp.unlink()
        if flush:
            _fsync_folder(final.parent)


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all, over one that is there.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says.
    """
    make_folders(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.unlink(missing_ok=True)
    write_file(partial, data, mode)
    publish(partial, path, replace=True)


def _move(tmp: Path, final: Path, replace: bool) -> None:
    if replace:
        tmp.replace(final)
        return
    try:
        # Fails where the name is taken, which a rename would not.
        os.link(tmp, final, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(final):  # file systems without links; one run at a time holds OUT
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        tmp.rename(final)
    else:
        tmp.unlink()


def _copy(tmp: Path, final: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(final.name)).hexdigest()[:16]
    partial = final.with_name(f".medprotect-{digest}.part")
    partial.unlink(missing_ok=True)
    with tmp.open("rb") as source:
        mode = os.fstat(source.fileno()).st_mode & 0o777
        with _new_file(partial, mode) as descriptor:
            while block := source.read(_COPY_BYTES):
                _write_all(descriptor, memoryview(block))
    return partial


def make_folders(folder: Path, mode: int = 0o755) -> None:
    """Make a folder and those above it, each flushed to the disk in the one that holds it.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says.
    """
    with mapped_errors():
        missing = []
        existing = folder
        while not existing.is_dir():
            missing.append(existing)
            existing = existing.parent
        for new in reversed(missing):
            try:
                new.mkdir(mode)
            except FileExistsError:
                if not new.is_dir():  # else another worker was faster
                    raise
            _fsync_folder(new.parent)


def fsync_dir(folder: Path) -> None:
    """Flush a folder's list of names to the disk.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says.
    """
    with mapped_errors():
        _fsync_folder(folder)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # shares that cannot
            raise
    finally:
        os.close(descriptor)


def check_space(folder: Path, needed_bytes: int, reserve_bytes: int = RESERVE_BYTES) -> None:
    """Refuse to begin a write that would leave less than the reserve.

    Parameters
    ----------
    folder : Path
        An existing folder on the file system that is written to.
    needed_bytes, reserve_bytes : int
        What will be written, and what must stay free.

    Raises
    ------
    StorageError
        Too little space.
    """
    with mapped_errors():
        usage = shutil.disk_usage(folder)
    if usage.total and usage.free < needed_bytes + reserve_bytes:  # some shares tell 0 of 0
        raise StorageError("too little free space for the next file; make room, then run again")


def same_filesystem(one: Path, other: Path) -> bool:
    """Whether a file of one existing folder can be renamed into the other."""
    with mapped_errors():
        return one.stat().st_dev == other.stat().st_dev


def remove_partials(out: Path) -> int:
    """Remove what a killed run left in OUT under partial names; return how many.

    Only needed where the state folder lies on another file system than OUT. The caller holds
    the lock on OUT.

    Raises
    ------
    OutputError, StorageError
        As `mapped_errors` says.
    """
    removed = 0
    with mapped_errors():
        for folder, _, names in os.walk(out, followlinks=False):
            for name in filter(PARTIAL_NAME.fullmatch, names):
                Path(folder, name).unlink()
                removed += 1
    return removed
