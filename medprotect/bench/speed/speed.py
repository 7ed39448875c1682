"""How fast is medprotect, as ratios to plain work that is done beside it, in one run.

Ratios hold across machines, and on one that has other work to do; seconds do not. So every row is
measured in turns with what it is compared with, several times, and its median and spread are told.
"""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from medprotect.bench.speed.codec import measure_codecs
from medprotect.bench.speed.commands import measure_commands
from medprotect.bench.speed.engine import measure_engines
from medprotect.bench.speed.export import (
    build_series,
    find_slices,
    make_null_pipeline,
    plain_loop,
)
from medprotect.bench.speed.network import measure_network
from medprotect.bench.speed.plan import measure_plan
from medprotect.bench.speed.row import JOBS, WORKERS, Row, name_jobs
from medprotect.bench.speed.run import PIPELINE, make_settings, remove_run, time_run
from medprotect.bench.speed.scale import LEAST_MANY, measure_scale
from medprotect.confounder.key import Key
from medprotect.errors import ConfigError
from medprotect.protect.engine import protect_export

FORMAT = 2
_SMALL_SIDE = 16


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
    many : int
        Files of the largest run of tiny ones.
    """

    slices: int = 100
    planned: int = 2000
    repeats: int = 5
    many: int = LEAST_MANY


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
    least = 2 * max(JOBS)
    if amount.slices < least or amount.many < LEAST_MANY:
        raise ConfigError(f"A rate takes {least} slices, and {LEAST_MANY} tiny files, at least.")
    load = os.getloadavg()[0]
    with TemporaryDirectory(dir=folder, prefix="medprotect-speed-") as name:
        rows = _measure(Path(name), images, amount, say)
    return {
        "format": FORMAT,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": {"before": load, "after": os.getloadavg()[0]},
        "slices": amount.slices,
        "planned": amount.planned,
        "repeats": amount.repeats,
        "many": amount.many,
        "rows": [row.as_json() for row in sorted(rows, key=lambda row: row.row)],
    }


def _measure(
    scratch: Path, images: Path | None, amount: Amount, say: Callable[[str], None]
) -> list[Row]:
    key = Key.new()
    say("slices")
    build_series(find_slices(images), scratch / "export", amount.slices)
    make_null_pipeline(scratch / "null")
    rows = _measure_runs(scratch, key, amount, say)
    rows += measure_codecs(scratch, key, amount.repeats, say)
    say("networks")
    rows += measure_network(PIPELINE, key, amount.repeats)
    rows += measure_engines(PIPELINE, key, scratch / "export", amount.repeats, say)
    say("commands")
    build_series(find_slices(None), scratch / "one", 1)
    one = make_settings(scratch, "one", PIPELINE, 1)
    protect_export(one, key)
    rows += measure_commands(one.export, one.out, scratch, amount.repeats)
    remove_run(one)
    say("plan")
    build_series(find_slices(None), scratch / "small", amount.planned, _SMALL_SIDE)
    rows += measure_plan(make_settings(scratch, "small", PIPELINE, 1), amount.repeats)
    return rows + measure_scale(scratch, key, amount.many, amount.repeats, say)


def _measure_runs(scratch: Path, key: Key, amount: Amount, say: Callable[[str], None]) -> list[Row]:
    null = make_settings(scratch, "export", str(scratch / "null"), 1)
    real = {jobs: make_settings(scratch, "export", PIPELINE, jobs) for jobs in JOBS}
    time_run(real[1], key)  # what is loaded once is loaded now
    over_plain: dict[str, list[float]] = {"null": [], "real": []}
    rates: dict[int, list[float]] = {jobs: [] for jobs in JOBS}
    peaks = []
    for turn in range(amount.repeats):
        say(f"runs, {turn + 1} of {amount.repeats}")
        plain = plain_loop(scratch / "export", scratch / "plain")
        shutil.rmtree(scratch / "plain")
        over_plain["null"].append(plain / time_run(null, key).files)
        timings = {jobs: time_run(settings, key) for jobs, settings in real.items()}
        over_plain["real"].append(plain / timings[1].files)
        for jobs, timing in timings.items():
            rates[jobs].append(timing.files)
        peaks.append(timings[WORKERS].last.worker)
    plain_rows = [
        Row(letter, f"{name} network, 1 worker / plain loop, time of a file", "x", each, most)
        for (name, each), (letter, most) in zip(
            over_plain.items(), (("a", 1.3), ("b", None)), strict=True
        )
    ]
    peak = Row("e", "peak memory of the largest worker", "MB", peaks, most=1024)
    return [*plain_rows, *_rate_rows(rates), peak]


def _rate_rows(rates: dict[int, list[float]]) -> list[Row]:
    rows = []
    for jobs, each in rates.items():
        is_goal = jobs == WORKERS
        rows.append(Row("b", name_jobs(jobs), "files/s", each, least=30 if is_goal else None))
        if jobs > 1:
            gains = [several / one for several, one in zip(each, rates[1], strict=True)]
            what = f"{jobs} workers / 1 worker, files a second"
            rows.append(Row("h", what, "x", gains, least=1.8 if is_goal else None))
    return rows


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
