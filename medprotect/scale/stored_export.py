"""An export in an object store: listed, and read in parts while it is planned."""

import hashlib
import io
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

from medprotect.errors import InputChangedError, InputError, MedprotectError
from medprotect.protect.atomic import check_space, mapped_errors
from medprotect.scale.object_store import Store, StoredObject
from medprotect.scale.store_url import StoreUrl
from medprotect.scan.walk import CHANGED, Found

_HEAD_BYTES = 64 * 1024
_MOST_BYTES = 8 * 1024**2
_AHEAD = 16
"""How many objects' beginnings are asked for at once: most of the time is waiting."""


class StoredExport:
    """An export under a prefix of a bucket; a `medprotect.scan.walk.Tree`.

    Parameters
    ----------
    url : StoreUrl
        Where.

    Raises
    ------
    ConfigError
        As `Store`.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._store = Store(url, InputError)
        self._objects: dict[str, StoredObject] = {}
        self._order: list[str] = []
        self._heads: dict[int, Future[bytes]] = {}
        self._numbers: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(_AHEAD, "head")

    def walk(self) -> Iterator[Found]:
        """Yield every object, in the byte order of the paths.

        Raises
        ------
        InputError
            There is no such bucket.
        PeerError
            The store is away, or refuses.
        """
        self._heads.clear()
        self._objects = {}
        for each in self._store.objects():
            path = _path_of(each.key.removeprefix(self._store.url.root))
            while path in self._objects:  # keys that are not UTF-8 are listed as they are not
                path = "./" + path
            self._objects[path] = each
        self._order = sorted(self._objects, key=str.encode)
        self._numbers = {path: at for at, path in enumerate(self._order)}
        for path in self._order:
            yield _found(path, self._objects[path])

    def open(self, found: Found) -> BinaryIO:
        """Open an object for reading, as long as it is the one that was found.

        Raises
        ------
        InputChangedError
            It is gone, or another, since the export was listed.
        """
        stored = self.stored(found)
        raw = _ObjectFile(self._store, stored, self._head(found.path))
        return cast(BinaryIO, io.BufferedReader(raw, _HEAD_BYTES))

    def find(self, path: str) -> Found | None:
        """Return the entry of a path; None where the listing has none."""
        stored = self._objects.get(path)
        return None if stored is None else _found(path, stored)

    def stored(self, found: Found) -> StoredObject:
        """Return the object of an entry.

        Raises
        ------
        InputChangedError
            It is none of this listing.
        """
        stored = self._objects.get(found.path)
        if stored is None or _found(found.path, stored) != found:
            raise InputChangedError(CHANGED)
        return stored

    @property
    def store(self) -> Store:
        """Where the objects lie."""
        return self._store

    def _head(self, path: str) -> "Future[bytes]":
        """Return the beginning of an object, and ask for those of the next."""
        at = self._numbers[path]
        for number in [each for each in self._heads if each < at]:
            del self._heads[number]
        for number in range(at, min(at + _AHEAD, len(self._order))):
            if number not in self._heads:
                stored = self._objects[self._order[number]]
                self._heads[number] = self._threads.submit(self._store.read, stored, 0, _HEAD_BYTES)
        return self._heads.pop(at)


class WholeObjects(StoredExport):
    """A tree in a store whose files are fetched when they are opened, and gone when closed.

    For who reads a file more than once.

    Parameters
    ----------
    url : StoreUrl
        Where.
    scratch : Path
        A private folder.
    """

    def __init__(self, url: StoreUrl, scratch: Path) -> None:
        super().__init__(url)
        self._scratch = scratch

    def open(self, found: Found) -> BinaryIO:
        """Fetch an object and open it.

        Raises
        ------
        InputChangedError
            It is gone, or another, since the export was listed.
        PeerError
            The store is away.
        StorageError
            There is no room for it.
        """
        path = self._scratch / f"{secrets.token_hex(16)}.fetched"
        check_space(self._scratch, found.size)
        self.store.fetch(self.stored(found), path)
        with mapped_errors():
            stream = path.open("rb")
            path.unlink()  # whoever has it open keeps it
        return stream


def _path_of(relative: str) -> str:
    """Return the path for what a key has after the prefix, never "", and another for each.

    With ``./`` begins none that is usable, so that is how the unusable ones are told apart.
    """
    return "./" + relative if not relative or relative.startswith("./") else relative


def _found(path: str, stored: StoredObject) -> Found:
    """Return an object as an entry: its ETag takes the place of the inode's number."""
    number = int.from_bytes(hashlib.sha256(stored.etag.encode()).digest()[:6], "big")
    return Found(path, stored.size, stored.modified_ns, number)


class _ObjectFile(io.RawIOBase):
    """An object, read in parts: a small one first, and larger ones where more is wanted."""

    def __init__(self, store: Store, stored: StoredObject, head: "Future[bytes]") -> None:
        self._store, self._stored, self._first = store, stored, head
        self._at = 0
        self._start, self._window = _HEAD_BYTES, b""
        self._step = _HEAD_BYTES
        self._failure: MedprotectError | None = None

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it has a position: always."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, target: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stored.size}[whence]
        if base + target < 0:
            raise ValueError("a position before the beginning")
        self._at = base + target
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes into a buffer, as a file does."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._read(len(view))
        except MedprotectError as error:
            self._failure = error
            raise
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, count: int) -> bytes:
        if self._at >= self._stored.size:
            return b""
        if self._at < _HEAD_BYTES:
            head = self._first.result()
            return head[self._at : self._at + count]
        at = self._at - self._start
        if not 0 <= at < len(self._window):
            goes_on = self._at == self._start + len(self._window)
            self._step = min(2 * self._step, _MOST_BYTES) if goes_on else _HEAD_BYTES
            stop = self._at + max(self._step, min(count, _MOST_BYTES))
            self._window = self._store.read(self._stored, self._at, stop)
            self._start, at = self._at, 0
        return self._window[at : at + count]

    def close(self) -> None:
        """Close it, and tell what reading failed of, if whoever read took it for damage."""
        if not self.closed:
            super().close()
            if self._failure is not None:
                raise self._failure
