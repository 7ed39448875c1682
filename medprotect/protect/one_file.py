"""One file, protected in this process by a run like any other: the bytes are those of a run."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import torch

from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, InputError, NotAnImageError, OutputError
from medprotect.imaging import formats
from medprotect.imaging.pairs import choose_voxels
from medprotect.protect.atomic import fsync_dir, make_folders, mapped_errors, publish
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.pool import error_of
from medprotect.protect.settings import Settings
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.protect.worker import Worker
from medprotect.scan.walk import Found, find_file, open_found


def protect_one(source: Path, target: Path, settings: Settings, key: Key) -> tuple[Path, Entry]:
    """Protect a file, and with a header its voxels; return where it lies, and its line.

    Parameters
    ----------
    source : Path
        The file, or the header of an image in two files.
    target : Path
        A new file, or a folder that takes it under the name that a run gives it.
    settings : Settings
        As for a run; the places in them count for nothing.
    key : Key
        The owner's.

    Raises
    ------
    ConfigError
        The target's name does not fit what is written.
    InputError
        Of the kind that says why the file cannot be protected.
    OutputError, StorageError
        The target exists, or cannot be written.
    """
    source = source.resolve()
    is_folder = target.is_dir()
    if not is_folder:
        _refuse_taken([target])
    folder = target if is_folder else target.parent
    make_folders(folder)
    with mapped_errors():
        scratch = tempfile.TemporaryDirectory(prefix=".medprotect-", dir=folder)
    with scratch as name:
        out = Path(name) / "out"
        summary = protect_export(
            replace(
                settings,
                export=source.parent,
                export_tree=_OneFile(source),
                out=out,
                state=Path(name) / "state",
                jobs=1,
            ),
            key,
            hire=_Here,
        )
        if summary.interrupted:
            raise KeyboardInterrupt(summary.interrupted)
        entry = next(each for each in summary.entries if each.path == source.name)
        _check_end(entry)
        names = {each.row.out: each.row.out for each in summary.entries}
        if not is_folder:
            names[entry.row.out] = _choose_name(target, entry)
        _refuse_taken(folder / name for name in names.values())
        for at in sorted(names, key=lambda each: each == entry.row.out):  # headers last
            publish(out / at, folder / names[at], flush=False)
        fsync_dir(folder)
    return folder / names[entry.row.out], entry


def _refuse_taken(targets: Iterable[Path]) -> None:
    if any(os.path.lexists(target) for target in targets):
        raise OutputError("the target exists, and no file is written over; name another")


def _check_end(entry: Entry) -> None:
    if entry.outcome is Outcome.REJECTED:
        raise error_of(entry.row.reason, entry.row.detail)
    if entry.outcome is not Outcome.PROTECTED:
        raise NotAnImageError(f"no image to protect, but: {entry.row.kind}")


def _choose_name(target: Path, entry: Entry) -> str:
    """Return the name of the target, where what is written may have it."""
    suffix = entry.row.out.removeprefix(entry.path)
    if suffix and not target.name.endswith(suffix):
        raise ConfigError(
            f"The image is lossy and is written lossless: name a target that ends in {suffix}."
        )
    if entry.row.voxels and target.name != entry.row.out:
        raise ConfigError(
            "The image lies in two files, which name each other: give them their names, in another "
            "folder."
        )
    return target.name


class _OneFile:
    """An export of one file, and of that of its voxels where it is a header."""

    def __init__(self, source: Path) -> None:
        self._folder, self._name = source.parent, source.name

    def walk(self) -> Iterator[Found]:
        """Yield them, in the order of their names."""
        names = {self._name, *self._voxels()}
        yield from (find_file(self._folder, name) for name in sorted(names, key=str.encode))

    def find(self, path: str) -> Found | None:
        """Return the entry of a path."""
        return next((found for found in self.walk() if found.path == path), None)

    def open(self, found: Found) -> BinaryIO:
        """Open an entry for reading."""
        return open_found(self._folder, found)

    def _voxels(self) -> Iterator[str]:
        with suppress(InputError), self.open(find_file(self._folder, self._name)) as stream:
            detached = formats.describe(stream).detached
            if detached is not None:
                yield choose_voxels(
                    detached, self._name, lambda each: (self._folder / each).is_file()
                )


class _Here:
    """The worker of a run, in this process; see `medprotect.protect.pool.Pool`."""

    def __init__(self, _jobs: int, setup: Setup) -> None:
        self._worker = Worker(setup)
        self._threads = torch.get_num_threads()
        self.backend = self._worker.backend()
        self.stopping = False

    def __enter__(self) -> Self:
        torch.set_num_threads(1)  # as in a run: sums come out in the order of the threads
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.set_num_threads(self._threads)

    def results(self, tasks: Iterator[Task]) -> Iterator[tuple[Task, Result]]:
        """Work off tasks, one after the other."""
        for task in tasks:
            if self.stopping:
                return
            yield task, self._worker.do(task)
