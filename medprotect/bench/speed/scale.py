"""Whether a file costs as much time and memory in a large run as in a small one."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean

from medprotect.bench.speed.export import build_series, find_slices
from medprotect.bench.speed.row import WORKERS, Row
from medprotect.bench.speed.run import Timing, make_settings, time_run
from medprotect.confounder.key import Key

LEAST_MANY = 1000
"""Files of the largest run that is measured in any case."""

_FEW = 100
_SERIES_LENGTH = 10
_SIDE = 16
_MOST_TIME = 1.1
_MOST_MEMORY = 1.05


def list_sizes(many: int) -> list[int]:
    """Return how many files the runs have: 100, 1,000 and so on, the last `many`."""
    sizes, size = [], _FEW
    while size < many:
        sizes.append(size)
        size *= 10
    return [*sizes, many]


def measure_scale(
    scratch: Path, key: Key, many: int, repeats: int, say: Callable[[str], None]
) -> list[Row]:
    """Measure runs of ever more tiny slices with the null network, whole series held.

    Each is a process of its own, so that what was measured before leaves no memory to it. Runs
    of more than 1,000 files are measured once.

    Parameters
    ----------
    scratch : Path
        Holds the pipeline ``null``; exports are made in it.
    key : Key
        Any.
    many : int
        Files of the largest run.
    repeats : int
        How often.
    say : callable
        Told what is being measured.
    """
    sizes = list_sizes(many)
    _build(scratch, sizes)
    turns = []
    for turn in range(repeats):
        timings: dict[int, list[Timing]] = {size: [] for size in sizes}
        # The smallest once more at the end: a long run may meet other load than one before it.
        for size in [*(each for each in sizes if turn == 0 or each <= LEAST_MANY), sizes[0]]:
            say(f"runs of tiny files, {turn + 1} of {repeats}: {size}")
            timings[size].append(_time_apart(scratch, str(size), key))
        turns.append(timings)
    return _time_rows(turns, sizes) + _memory_rows(many, turns)


def _time_rows(turns: Sequence[dict[int, list[Timing]]], sizes: Sequence[int]) -> list[Row]:
    few, *others = sizes
    rows = []
    for what, of_file in (
        ("time of a file", lambda timing: timing.seconds),
        ("processor time of a file outside the workers", lambda timing: timing.busy_seconds),
    ):
        taken = {
            size: [mean(map(of_file, turn[size])) for turn in turns if turn[size]] for size in sizes
        }
        for size in sizes:
            milliseconds = [1000 * seconds for seconds in taken[size]]
            rows.append(Row("h", f"run of {size:,} tiny files, {what}", "ms", milliseconds))
        for size in others:
            ratios = [many / one for many, one in zip(taken[size], taken[few], strict=False)]
            name = f"run of {size:,} tiny files / of {few}, {what}"
            rows.append(Row("h", name, "x", ratios, most=_MOST_TIME))
    return rows


def _memory_rows(many: int, turns: Sequence[dict[int, list[Timing]]]) -> list[Row]:
    timings = [timing for turn in turns for timing in turn[many]]
    after = f"after all of {many:,} files / after a tenth"
    workers = [each.last.worker / (each.early.worker or 1) for each in timings]
    runs = [each.last.run / (each.early.run or 1) for each in timings]
    kept = [each.state_bytes / each.count / 1024 for each in timings]
    return [
        Row("e", f"peak memory of the largest worker, {after}", "x", workers, most=_MOST_MEMORY),
        Row("e", f"peak memory of the run's own process, {after}", "x", runs, most=_MOST_MEMORY),
        Row("e", "the same process, at the end", "MB", [each.last.run for each in timings]),
        Row("h", "journal and receipt, of a file", "KiB", kept),
    ]


def _build(scratch: Path, sizes: Sequence[int]) -> None:
    """Make the largest export, and of its first files the others."""
    *others, most = sizes
    build_series(find_slices(None), scratch / str(most), most, _SIDE, _SERIES_LENGTH)
    paths = sorted((scratch / str(most)).iterdir())
    for size in others:
        (scratch / str(size)).mkdir()
        for path in paths[:size]:
            os.link(path, scratch / str(size) / path.name)


def _time_apart(scratch: Path, export: str, key: Key) -> Timing:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_time_many, scratch, export, key.secret).result()


def _time_many(scratch: Path, export: str, secret: bytes) -> Timing:
    null = str(scratch / "null")
    settings = make_settings(scratch, export, null, WORKERS, hold_series=True)
    return time_run(settings, Key(secret), _SERIES_LENGTH)
