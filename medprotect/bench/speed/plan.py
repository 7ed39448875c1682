"""How fast an export is planned, and a run that is done already is taken up again."""

import os
import shutil
import tracemalloc
from dataclasses import asdict, replace
from time import perf_counter

from medprotect.bench.speed.export import read_headers
from medprotect.bench.speed.row import Row
from medprotect.errors import MedprotectError
from medprotect.protect.dry_run import plan_export
from medprotect.protect.journal import Entry, Journal, Outcome
from medprotect.protect.resume import MASK_NAMES, reconcile
from medprotect.protect.settings import Settings

_MANY = 100_000
_MEBIBYTE = 1024**2


def measure_plan(settings: Settings, repeats: int) -> list[Row]:
    """Measure plan and resumption, beside a loop that reads headers alone.

    Parameters
    ----------
    settings : Settings
        Of a run on native slices that was never made; what this leaves is removed.
    repeats : int
        How often.
    """
    entries = plan_export(settings)
    tracemalloc.start()
    kept = plan_export(settings)
    held = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    rates, ratios, resumed = [], [], []
    for _ in range(repeats):
        plain = read_headers(settings.export)
        began = perf_counter()
        entries = plan_export(settings)
        rates.append(len(entries) / (perf_counter() - began))
        ratios.append(plain / rates[-1])
        resumed.append(_resume(settings, entries))
    return [
        Row("g", "scan and plan", "files/s", rates, least=2000),
        Row("g", "scan and plan / pydicom reading headers, time of a file", "x", ratios),
        Row("g", "plan of 100,000 files, memory", "MB", [held * _MANY / _MEBIBYTE], most=200),
        Row("g", "resuming 100,000 that are done", "s", [_MANY / r for r in resumed], most=30),
    ]


def _resume(settings: Settings, entries: list[Entry]) -> float:
    """Return files a second at which a run finds that all of it is done."""
    settings.state.mkdir()
    for entry in entries:
        final = settings.out / entry.row.out
        final.parent.mkdir(parents=True, exist_ok=True)
        os.link(settings.export / entry.path, final)
    done = [
        replace(entry, outcome=Outcome.PROTECTED, size_out=entry.row.found.size)
        for entry in entries
    ]
    with Journal(settings.state) as journal:
        journal.replace_all(done)
        journal.state_about(MASK_NAMES, asdict(settings.mask_names))
        began = perf_counter()
        found = reconcile(journal, settings)
        seconds = perf_counter() - began
    shutil.rmtree(settings.out)
    shutil.rmtree(settings.state)
    if any(entry.outcome is not Outcome.PROTECTED for entry in found):
        raise MedprotectError("what was done is planned again; a bug, please report it")
    return len(found) / seconds
