"""How fast is medprotect, as ratios to plain work that is done beside it, in one run.

Ratios hold across machines, and on one that has other work to do; seconds do not. So every row is
measured in turns with what it is compared with, several times, and its median and spread are told.
"""

import multiprocessing
import os
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from medprotect.audit.speed_commands import measure_commands
from medprotect.audit.speed_export import (
    build_series,
    find_slices,
    make_null_pipeline,
    plain_loop,
)
from medprotect.audit.speed_network import measure_network
from medprotect.audit.speed_plan import measure_plan
from medprotect.audit.speed_row import Row
from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, UnsupportedImageError
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import Progress, protect_export
from medprotect.protect.journal import Entry
from medprotect.protect.settings import Settings

FORMAT = 1
PIPELINE = "radiology-grey"
_WORKERS = 2
_SMALL_SIDE = 16
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured.

    Attributes
    ----------
    slices : int
        Images of each run.
    planned : int
        Files of each plan.
    repeats : int
        How often.
    """

    slices: int = 100
    planned: int = 2000
    repeats: int = 5


@dataclass(frozen=True, slots=True)
class _Rate:
    """Files a second of a run once its workers run, and the peak memory of one in MB."""

    files: float
    peak: float


def measure_speed(
    images: Path | None, folder: Path | None, amount: Amount, say: Callable[[str], None]
) -> dict[str, object]:
    """Measure, and return the report.

    Parameters
    ----------
    images : Path or None
        Folder of CT slices; without one, a slice that pydicom ships.
    folder : Path or None
        Where a folder is made, and removed, for what is written: on the disk that counts.
    amount : Amount
        How much.
    say : callable
        Told what is being measured.

    Raises
    ------
    ConfigError
        A run has too few slices for a rate.
    InputError
        There are no slices, or some cannot be protected.
    """
    if amount.slices < 2 * _WORKERS:
        raise ConfigError(f"A rate takes at least {2 * _WORKERS} slices.")
    load = os.getloadavg()[0]
    key = Key.new()
    with TemporaryDirectory(dir=folder, prefix="medprotect-speed-") as name:
        scratch = Path(name)
        say("slices")
        build_series(find_slices(images), scratch / "export", amount.slices)
        make_null_pipeline(scratch / "null")
        rows = _measure_runs(scratch, key, amount, say)
        say("networks")
        rows += measure_network(PIPELINE, key, amount.repeats)
        say("commands")
        build_series(find_slices(None), scratch / "one", 1)
        protect_export(_settings(scratch, "one", PIPELINE, 1), key)
        rows += measure_commands(scratch / "one", scratch / "out", scratch, amount.repeats)
        _remove_run(scratch)
        say("plan")
        build_series(find_slices(None), scratch / "small", amount.planned, _SMALL_SIDE)
        rows += measure_plan(_settings(scratch, "small", PIPELINE, 1), amount.repeats)
    return {
        "format": FORMAT,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": {"before": load, "after": os.getloadavg()[0]},
        "slices": amount.slices,
        "planned": amount.planned,
        "repeats": amount.repeats,
        "rows": [row.as_json() for row in sorted(rows, key=lambda row: row.row)],
    }


def _measure_runs(scratch: Path, key: Key, amount: Amount, say: Callable[[str], None]) -> list[Row]:
    _rate(_settings(scratch, "export", PIPELINE, 1), key)  # what is loaded once is loaded now
    turns = []
    for turn in range(amount.repeats):
        say(f"runs, {turn + 1} of {amount.repeats}")
        plain = plain_loop(scratch / "export", scratch / "plain")
        shutil.rmtree(scratch / "plain")
        null, real, several = (
            _rate(_settings(scratch, "export", pipeline, jobs), key)
            for pipeline, jobs in ((str(scratch / "null"), 1), (PIPELINE, 1), (PIPELINE, _WORKERS))
        )
        turns.append((plain, null, real, several))
    null_ratios = [plain / null.files for plain, null, _, _ in turns]
    real_ratios = [plain / real.files for plain, _, real, _ in turns]
    gains = [several.files / real.files for _, _, real, several in turns]
    rates = [several.files for *_, several in turns]
    peaks = [several.peak for *_, several in turns]
    return [
        Row("a", "null network, 1 worker / plain loop, time of a file", "x", null_ratios, most=1.3),
        Row("b", "real network, 1 worker / plain loop, time of a file", "x", real_ratios),
        Row("b", f"real network, {_WORKERS} workers", "files/s", rates, least=30),
        Row("e", "peak memory of the largest worker", "MB", peaks, most=1024),
        Row("h", f"{_WORKERS} workers / 1 worker, files a second", "x", gains, least=1.8),
    ]


def _settings(scratch: Path, export: str, pipeline: str, jobs: int) -> Settings:
    return Settings(
        export=scratch / export,
        out=scratch / "out",
        state=scratch / "out.medprotect",
        candidates=find_candidates([pipeline]),
        jobs=jobs,
        hold_series=False,
    )


def _rate(settings: Settings, key: Key) -> _Rate:
    """Carry out a run as a user would, and remove what it wrote."""
    times: list[float] = []
    peaks: dict[int, float] = {}

    def done(_number: int, _entry: Entry) -> None:
        times.append(perf_counter())
        for process in multiprocessing.active_children():
            peaks[process.pid or 0] = _peak_mb(process.pid or 0)

    summary = protect_export(settings, key, Progress(done=done))
    _remove_run(settings.out.parent)
    if summary.exit_code:
        raise UnsupportedImageError("some of the slices cannot be protected; choose others")
    return _Rate((len(times) - 1) / (times[-1] - times[0]), max(peaks.values(), default=0.0))


def _peak_mb(process: int) -> float:
    """Return the most memory that a process has held so far; 0 where that is not told."""
    try:
        found = _PEAK.search(Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _remove_run(scratch: Path) -> None:
    shutil.rmtree(scratch / "out")
    shutil.rmtree(scratch / "out.medprotect")


def write_table(report: dict[str, object]) -> str:
    """Return the rows of a report as a table in Markdown."""
    lines = ["| | what | median | spread | goal | |", "|---|---|---|---|---|---|"]
    rows = report["rows"]
    for row in rows if isinstance(rows, list) else []:
        spread = f"{row['lowest']:.3g} to {row['highest']:.3g}"
        told = {True: "holds", False: "missed", None: ""}[row["holds"]]
        figure = f"{row['median']:.3g} {row['unit']}".strip()
        lines.append(
            f"| {row['row']} | {row['what']} | {figure} | {spread} | {row['goal']} | {told} |"
        )
    return "\n".join(lines) + "\n"
