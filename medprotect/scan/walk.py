"""The files of an export, each found once, in one order, and never through a link.

A file that cannot be taken as it is (a link, a pipe, a folder that may not be read) is an entry
with its reason, because a run accounts for everything that lies in the export.
"""

import io
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from medprotect.errors import (
    ConfigError,
    InputChangedError,
    InputError,
    OutputError,
    UnsafePathError,
)

NAME_BYTES = 255
"""Longest name of one file or folder (NAME_MAX of every file system in use)."""

PARTIAL_NAME = re.compile(r"\.medprotect-[0-9a-f]{16}\.part")
"""Names that a run may leave in OUT when it is killed; refused as names of the export."""


class Unsafe(StrEnum):
    """Why an entry of the export is not opened."""

    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"
    UNREADABLE_FOLDER = "unreadable_folder"
    UNREADABLE_FILE = "unreadable_file"
    NAME = "name_not_utf8"


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of the export that is not a folder, or a folder that cannot be read.

    Attributes
    ----------
    path : str
        Relative to the export, with ``/``. A name that is not UTF-8 is shown escaped, after
        ``./``, with which no other path begins.
    size : int
        Bytes; 0 where unknown.
    mtime_ns, inode, device : int
        As ``stat`` gives them; 0 where unknown.
    unsafe : Unsafe or None
        Why it must not be opened; None for a plain file.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    device: int = 0
    unsafe: Unsafe | None = None


class Tree(Protocol):
    """An export that is no folder of this machine, such as a prefix of an object store."""

    def walk(self) -> Iterator[Found]:
        """Yield every entry, as `walk` does."""

    def find(self, path: str) -> Found | None:
        """Return the entry of a path that `walk` gave; None where there is none."""

    def open(self, found: Found) -> BinaryIO:
        """Open an entry for reading, if it still is the one that was found, as `open_found`."""


def walk(export: Path | Tree) -> Iterator[Found]:
    """Yield every entry of the export, in the byte order of the relative paths.

    Nothing is opened but folders, no link is followed, and one folder at a time is held in
    memory. Empty folders are no entries.

    Parameters
    ----------
    export : Path or Tree
        The export.

    Yields
    ------
    Found
        A plain file, or an entry with the reason why it is unsafe.
    """
    return _walk(export) if isinstance(export, Path) else export.walk()


def find_file(export: Path, path: str) -> Found:
    """Return the entry of one file, as `walk` yields it, without a look at others.

    Parameters
    ----------
    export : Path
        The folder.
    path : str
        Relative to it, with ``/``.
    """
    try:
        return _judged(path, export / path, (export / path).lstat())
    except OSError:
        return _found(path, None, Unsafe.UNREADABLE_FILE)


def _walk(export: Path) -> Iterator[Found]:
    root = os.fspath(export)
    pending = [iter(_entries(root, ""))]  # a stack, so that depth is not bound by recursion
    while pending:
        item = next(pending[-1], None)
        if item is None:
            pending.pop()
        elif isinstance(item, Found):
            yield item
        else:
            pending.append(iter(_entries(f"{root}/{item}", f"{item}/")))


def _entries(folder: str, prefix: str) -> Iterable[Found | str]:
    """Entries of one folder, sorted; a str is the relative path of a folder to go into."""
    try:
        with os.scandir(folder) as scan:
            # "a.txt" comes before "a/b" in byte order: a folder sorts with its slash.
            named = sorted((_sort_key(entry), entry) for entry in scan)
    except OSError:
        return [_found(prefix.removesuffix("/") or ".", None, Unsafe.UNREADABLE_FOLDER)]
    return (
        prefix + entry.name if key.endswith(b"/") else _file(prefix + entry.name, entry)
        for key, entry in named
    )


def _sort_key(entry: os.DirEntry[str]) -> bytes:
    is_folder = entry.is_dir(follow_symlinks=False)
    return os.fsencode(entry.name) + (b"/" if is_folder else b"")


def _file(path: str, entry: os.DirEntry[str]) -> Found:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # gone since the folder was listed, or not allowed
        return _found(path, None, Unsafe.UNREADABLE_FILE)
    return _judged(path, entry.path, status)


def _judged(path: str, place: str | Path, status: os.stat_result) -> Found:
    unsafe = _KINDS.get(stat.S_IFMT(status.st_mode), Unsafe.DEVICE)
    if unsafe is None and not _allowed(place, os.R_OK):
        unsafe = Unsafe.UNREADABLE_FILE
    return _found(path, status, unsafe)


def _allowed(path: str | Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


_KINDS = {
    stat.S_IFREG: None,
    stat.S_IFLNK: Unsafe.SYMLINK,
    stat.S_IFIFO: Unsafe.FIFO,
    stat.S_IFSOCK: Unsafe.SOCKET,
}


def _found(path: str, status: os.stat_result | None, unsafe: Unsafe | None) -> Found:
    raw = os.fsencode(path)
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError:
        path = "./" + raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
        unsafe = unsafe or Unsafe.NAME
    if status is None:
        return Found(path, unsafe=unsafe)
    return Found(
        path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev, unsafe=unsafe
    )


def open_found(export: Path | Tree, found: Found) -> BinaryIO:
    """Open a file of the export for reading, if it still is the one that was found.

    Never follows a link at the end of the path and never waits for a pipe, whatever was put in
    the file's place since.

    Raises
    ------
    UnsafePathError
        `found` is unsafe, or its place is now taken by something unsafe.
    InputChangedError
        Gone, or another file, size or modification time than was found.

    Reading from what is returned raises `UnsafePathError` where the disk or the share fails.
    """
    if found.unsafe is not None:
        raise UnsafePathError(
            f"not a plain file ({found.unsafe}); replace it with a copy of the file"
        )
    if not isinstance(export, Path):
        return export.open(found)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        stream = _InputFile(io.FileIO(os.open(export / found.path, flags)))
    except FileNotFoundError:
        raise InputChangedError(CHANGED) from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UnsafePathError(f"cannot be opened ({reason}); check its permissions") from None
    status = os.fstat(stream.fileno())
    now = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
    if now != (found.size, found.mtime_ns, found.inode, found.device):
        stream.close()
        raise InputChangedError(CHANGED)
    return stream


CHANGED = "changed since the run began; wait until nothing writes to the export, then run again"


class _InputFile(io.BufferedReader):
    """A file of the export: what goes wrong while it is read is told as its own fault."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, as a file does."""
        with _told_as_unreadable():
            return super().read(size)

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes into a buffer, as a file does."""
        with _told_as_unreadable():
            return super().readinto(buffer)


@contextmanager
def _told_as_unreadable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UnsafePathError(
            f"cannot be read ({reason}); check the disk or share that it is on, then run again"
        ) from None


def join_under(root: Path, relative: str) -> Path:
    """Return ``root / relative``; the one function by which paths in OUT are made.

    Parameters
    ----------
    root : Path
        Folder that the path must not leave.
    relative : str
        Relative path with ``/``.

    Raises
    ------
    UnsafePathError
        Empty, absolute, with ``.``, ``..``, empty or overlong parts, with NUL, not UTF-8, of a
        name kept for a run's own use, or through a link that lies under `root`.
    """
    path = root
    parts = relative.split("/")
    for depth, part in enumerate(parts, 1):
        if not _is_plain_name(part):
            raise UnsafePathError("its path cannot be used in OUT; rename the file in the export")
        path = path / part
        if depth < len(parts) and path.is_symlink():
            raise UnsafePathError("a folder of OUT is a link; remove the link, then run again")
    return path


def _is_plain_name(name: str) -> bool:
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return (
        name not in ("", ".", "..")
        and b"\0" not in raw
        and len(raw) <= NAME_BYTES
        and not PARTIAL_NAME.fullmatch(name)
    )


def collisions(
    relative_paths: Iterable[str], *, ignores_case: bool = True
) -> list[tuple[str, ...]]:
    """Group the paths that cannot be files of one tree together.

    A file ``a`` and a folder ``A/`` collide too. Folders that differ in case only do not: their
    files meet in one folder and none is lost.

    Parameters
    ----------
    relative_paths : iterable of str
        Relative paths with ``/``; a path that comes twice collides with itself.
    ignores_case : bool
        Whether the tree's file system ignores case and composition of characters.

    Returns
    -------
    list of tuple of str
        The groups of two or more, sorted.
    """
    by_key: dict[str, list[str]] = {}
    for path in relative_paths:
        by_key.setdefault(_folded(path) if ignores_case else path, []).append(path)
    groups = {key: list(paths) for key, paths in by_key.items()}
    for key, paths in by_key.items():
        parent = key.rpartition("/")[0]
        while parent:
            if parent in groups:
                groups[parent].extend(paths)
            parent = parent.rpartition("/")[0]
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _folded(path: str) -> str:
    # Canonical caseless matching: Unicode Standard, definition D145.
    folded = unicodedata.normalize("NFD", path).casefold()
    return unicodedata.normalize("NFD", folded)


def check_trees(export: Path | None, out: Path | None, state: Path) -> None:
    """Refuse places where a run could write into what it reads, or leave secrets in OUT.

    Parameters
    ----------
    export, out : Path or None
        The export and OUT, which may not exist yet; None for one that is no folder here.
    state : Path
        The folder of journal and receipts; may not exist yet.

    Raises
    ------
    ConfigError
        A path is empty or cannot be a path.
    InputError
        The export is missing, no folder, or may not be read.
    OutputError
        Two of the three are the same or lie in one another, also by links or on a file system
        that ignores case; or `out` or `state` is no folder, a broken link, or not writable.
    """
    named = {"EXPORT": export, "OUT": out, "the state folder": state}
    places = {name: path for name, path in named.items() if path is not None}
    if any(not os.fspath(path) or "\0" in os.fspath(path) for path in places.values()):
        raise ConfigError("a path is empty or invalid; name EXPORT and OUT")
    if export is not None:
        _check_readable(export)
    for one, other in combinations(places, 2):
        if _overlap(places[one], places[other]):
            raise OutputError(
                f"{one} and {other} are the same folder, or one is inside the other; "
                f"choose another {other}"
            )
    for name, path in places.items():
        if name != "EXPORT":
            _check_writable(name, path)


def _check_readable(export: Path) -> None:
    if not export.is_dir():
        raise InputError("EXPORT is not a folder; name the folder that holds the export")
    if not _allowed(export, os.R_OK | os.X_OK):
        raise InputError("EXPORT cannot be read; ask for permission to read it")


def _overlap(one: Path, other: Path) -> bool:
    return is_within(one, other) or is_within(other, one)


def is_within(inner: Path, outer: Path) -> bool:
    """Whether a place lies in a folder or is it, also by links or under another name."""
    inner, outer = Path(os.path.realpath(inner)), Path(os.path.realpath(outer))
    target = _identity(outer)
    if target is not None:
        # Bind mounts and file systems that ignore case give one folder two names.
        return any(_identity(folder) == target for folder in (inner, *inner.parents))
    if len(inner.parts) < len(outer.parts):
        return False
    depths = range(1, len(outer.parts) + 1)
    return all(_may_meet(Path(*inner.parts[:at]), Path(*outer.parts[:at])) for at in depths)


def _may_meet(one: Path, other: Path) -> bool:
    """Whether two paths, whose parents may be one folder, are or may become one."""
    if one.name == other.name:
        return True
    if _folded(one.name) != _folded(other.name):
        return False
    identities = _identity(one), _identity(other)
    if identities == (None, None):
        return ignores_case(one.parent) is not False
    return identities[0] == identities[1]  # where case is ignored, both names are there


def ignores_case(folder: Path) -> bool | None:
    """Whether the file system of a folder, or of the nearest that exists, ignores case.

    Asked of a name that lies there, as nothing may be written. None where there is none to ask.
    """
    folder = Path(os.path.realpath(folder))
    while _identity(folder) is None:
        folder = folder.parent
    for path in _named_with_letters(folder):
        name = _identity(path, follow_links=False)
        if name is not None:
            return name == _identity(path.with_name(path.name.swapcase()), follow_links=False)
    return None


def _named_with_letters(folder: Path) -> Iterator[Path]:
    """Yield what lies in a folder, and the folder itself, where its name has another case."""
    try:
        with os.scandir(folder) as scan:
            yield from (Path(entry.path) for entry in scan if _has_case(entry.name))
    except OSError:
        pass
    if _has_case(folder.name) and not os.path.ismount(folder):
        yield folder


def _has_case(name: str) -> bool:
    return name.isascii() and name.swapcase() != name


def _identity(path: Path, *, follow_links: bool = True) -> tuple[int, int] | None:
    try:
        status = path.stat(follow_symlinks=follow_links)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_writable(name: str, folder: Path) -> None:
    if folder.is_symlink() and not folder.exists():
        raise OutputError(f"{name} is a broken link; name a folder")
    existing = folder
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{name} is not a folder; name a new folder or an earlier OUT")
    if not _allowed(existing, os.W_OK | os.X_OK):
        raise OutputError(f"{name} cannot be written; check its permissions and mount")
