"""Whether a file costs as much time and memory in a large run as in a small one."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from medprotect.audit.speed_export import build_series, find_slices
from medprotect.audit.speed_row import WORKERS, Row
from medprotect.audit.speed_run import Timing, make_settings, time_run
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
    timings: dict[int, list[Timing]] = {size: [] for size in sizes}
    ratios: dict[int, list[float]] = {size: [] for size in sizes[1:]}
    for turn in range(repeats):
        few = 0.0
        for size in [each for each in sizes if turn == 0 or each <= LEAST_MANY]:
            say(f"runs of tiny files, {turn + 1} of {repeats}: {size}")
            timing = _time_apart(scratch, str(size), key)
            timings[size].append(timing)
            few = few or timing.seconds
            if size != sizes[0]:
                ratios[size].append(timing.seconds / few)
    return _time_rows(timings, ratios) + _memory_rows(many, timings[many])


def _time_rows(timings: dict[int, list[Timing]], ratios: dict[int, list[float]]) -> list[Row]:
    taken = [
        Row(
            "h",
            f"run of {size:,} tiny files, time of a file",
            "ms",
            [1000 * timing.seconds for timing in several],
        )
        for size, several in timings.items()
    ]
    compared = [
        Row("h", f"run of {size:,} tiny files / of {_FEW}, time of a file", "x", each, _MOST_TIME)
        for size, each in ratios.items()
    ]
    return taken + compared


def _memory_rows(many: int, timings: Sequence[Timing]) -> list[Row]:
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
