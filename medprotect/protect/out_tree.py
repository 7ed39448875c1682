"""OUT, as a run writes it: a folder, or what else can stand in its place."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from medprotect.protect.atomic import (
    fsync_dir,
    mapped_errors,
    publish,
    remove_partials,
    same_filesystem,
)
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import ignores_case, join_under, walk


class OutTree(Protocol):
    """What a run asks of OUT, whatever it is; `OutFolder` says what each part is.

    Attributes
    ----------
    path_bytes : int or None
        Longest path that it takes, where that is bounded as a whole.
    """

    path_bytes: int | None

    def is_empty(self) -> bool:
        """Whether nothing lies in it."""

    def begin(self) -> None:
        """Make it ready to be written."""

    def identity(self) -> tuple[int, int]:
        """Return what it is, whatever its name comes to mean."""

    def ignores_case(self) -> bool:
        """Whether ``a`` and ``A`` are one name in it."""

    def has(self, name: str) -> bool:
        """Whether the name is taken."""

    def holds(self, name: str, size: int, sha256: str = "") -> bool:
        """Whether it holds a file of that name and size, and hash if one is given."""

    def publish(self, files: Sequence[tuple[Path, str]]) -> None:
        """Give written files their names, in any order; each is there whole or not at all."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove what must not lie in it."""


class OutFolder:
    """OUT that is a folder of this machine, or of a share.

    Parameters
    ----------
    path, state : Path
        OUT and the state folder.
    """

    path_bytes: int | None = None

    def __init__(self, path: Path, state: Path) -> None:
        self._path, self._state = path, state

    def is_empty(self) -> bool:
        """Whether nothing lies in it, or it is not there."""
        with mapped_errors():
            return not (self._path.is_dir() and any(walk(self._path)))

    def begin(self) -> None:
        """Make it, and clear away what a killed run left of it."""
        with mapped_errors():
            self._path.mkdir(parents=True, exist_ok=True)
        if not same_filesystem(self._path, self._state):
            remove_partials(self._path)

    def identity(self) -> tuple[int, int]:
        """Return the numbers of its file system and folder."""
        status = self._path.stat()
        return status.st_dev, status.st_ino

    def ignores_case(self) -> bool:
        """Whether its file system does."""
        return ignores_case(self._path) is True

    def has(self, name: str) -> bool:
        """Whether the name is taken, by whatever."""
        with mapped_errors():
            return os.path.lexists(join_under(self._path, name))

    def holds(self, name: str, size: int, sha256: str = "") -> bool:
        """Whether it holds a file of that name and size, and hash if one is given."""
        return is_there(self._path / name, size, sha256)

    def publish(self, files: Sequence[tuple[Path, str]]) -> None:
        """Give written files their names; see `medprotect.protect.atomic.publish`.

        Each folder is flushed once, when all of them have their names.

        Raises
        ------
        OutputError, StorageError
            As there.
        """
        unflushed = set()
        for staged, name in files:
            final = join_under(self._path, name)
            publish(staged, final, flush=False)
            unflushed.add(final.parent)
        for folder in unflushed:
            fsync_dir(folder)

    def remove(self, names: Iterable[str]) -> None:
        """Remove what must not lie in it, and the folders that are empty then."""
        with mapped_errors():
            for name in names:
                path = join_under(self._path, name) if name else self._path
                if path != self._path and path.is_file():
                    path.unlink()
                    self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._path and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def is_there(path: Path, size: int, sha256: str = "") -> bool:
    """Whether a plain file is there, of that size, and of that hash if one is given."""
    try:
        if path.is_symlink() or path.stat().st_size != size:
            return False
        if not sha256:
            return True
        with path.open("rb") as stream:
            return sha256_of(stream) == sha256
    except OSError:
        return False
