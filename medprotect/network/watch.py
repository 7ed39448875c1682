"""Watching: a folder is protected whenever it has come to rest, by the run that goes on."""

import time
from collections.abc import Callable
from pathlib import Path

from medprotect.confounder.key import Key
from medprotect.errors import InputError, StorageError
from medprotect.protect.engine import protect_export
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Progress, Summary
from medprotect.scan.walk import Found, walk

_POLL_SECONDS = 1.0


def watch(
    settings: Settings, key: Key, settle_seconds: float, told: Callable[[Summary], None]
) -> int:
    """Protect an export again and again, until told to stop; return the signal that did.

    Each time is the same run, which keeps what it has done. What arrives while one is under way
    is for the next.

    Parameters
    ----------
    settings : Settings
        Of the run.
    key : Key
        The owner's.
    settle_seconds : float
        How long nothing in the export must have changed.
    told : callable
        Given how each run ended.

    Raises
    ------
    MedprotectError
        As `medprotect.protect.engine.protect_export`, but for a disk that is full or fails: then
        it waits.
    KeyboardInterrupt
        SIGINT or SIGTERM between runs.
    """
    done: list[Found] = []
    while True:
        there = _settled(settings.export, settle_seconds)
        if there and there != done:
            try:
                summary = protect_export(settings, key, Progress())
            except StorageError:
                time.sleep(settle_seconds + _POLL_SECONDS)
                continue
            told(summary)
            if summary.told:
                return summary.told
            done = there
        else:
            time.sleep(_POLL_SECONDS)


def _settled(export: Path, seconds: float) -> list[Found]:
    """Return what lies in a folder once it has not changed for a while."""
    if not export.is_dir():
        raise InputError("the folder to watch is gone; put it back, then start again")
    before, since = list(walk(export)), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(min(seconds, _POLL_SECONDS))
        now = list(walk(export))
        if now != before:
            before, since = now, time.monotonic()
    return before
