"""Protects a few files of an export where nothing is kept, by a run like any other."""

import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from medprotect.confounder.key import Key
from medprotect.errors import ConfigError
from medprotect.protect.atomic import check_space, make_folders, mapped_errors, write_chunks
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Entry
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Progress, Summary
from medprotect.scan.walk import Found, join_under, open_found

_BLOCK_BYTES = 4 * 1024**2


@contextmanager
def scratch_folder(export: Path, root: Path | None) -> Iterator[Path]:
    """Make a folder that nobody else may read; it is gone at the end, however that comes.

    Parameters
    ----------
    export : Path
        The export: the folder never lies in it, and beside it only where that was asked for.
    root : Path or None
        Where to make it; None for the system's folder for temporary files.

    Raises
    ------
    ConfigError
        It would lie there.
    OutputError, StorageError
        It cannot be written.
    KeyboardInterrupt
        SIGTERM came, with its number.
    """
    place = Path(root or tempfile.gettempdir()).resolve()
    there = export.resolve()
    if place.is_relative_to(there):
        raise ConfigError("The scratch folder is in EXPORT; name another with --scratch.")
    if root is None and place == there.parent:
        raise ConfigError(
            "EXPORT is in the folder for temporary files, and clean images would be beside it for "
            "a while. Name another folder with --scratch, or the same one to allow that."
        )
    if root is not None:
        make_folders(place, mode=0o700)
    with mapped_errors():
        scratch = tempfile.TemporaryDirectory(prefix="medprotect-preview-", dir=place)
    with scratch as name, _ending_when_told():
        yield Path(name)


@contextmanager
def _ending_when_told() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what comes after it is still done."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def settings_within(settings: Settings, scratch: Path) -> Settings:
    """Return the settings of a run whose export and OUT lie in the scratch folder."""
    return replace(
        settings,
        export=scratch / "export",
        out=scratch / "out",
        state=scratch / "out.medprotect",
        hold_series=False,
    )


def protect_in_scratch(
    settings: Settings, scratch: Path, entries: Sequence[Entry], key: Key, progress: Progress
) -> Summary:
    """Copy files of the export into a scratch folder, and protect the copies as a run does.

    Parameters
    ----------
    settings : Settings
        Of the run that is looked ahead to.
    scratch : Path
        From `scratch_folder`.
    entries : sequence of Entry
        Of the files; of a pair, both.
    key : Key
        The owner's.
    progress : Progress
        Whom to tell.

    Raises
    ------
    InputError
        A file is no more as it was found.
    OutputError, StorageError, PipelineError
        As for the run itself.
    KeyboardInterrupt
        The run was told to stop.
    """
    within = settings_within(settings, scratch)
    found = [entry.row.found for entry in entries]
    check_space(scratch, 3 * sum(each.size for each in found))
    _copy(settings.export, within.export, found)
    summary = protect_export(within, key, progress)
    if summary.interrupted:
        raise KeyboardInterrupt(summary.interrupted)
    return summary


def _copy(export: Path, to: Path, files: Iterable[Found]) -> None:
    make_folders(to, mode=0o700)
    for found in files:
        path = join_under(to, found.path)
        make_folders(path.parent, mode=0o700)
        with open_found(export, found) as stream:
            write_chunks(path, iter(lambda: stream.read(_BLOCK_BYTES), b""), 0o600)
