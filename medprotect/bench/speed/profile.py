"""Where the time of one slice goes, step by step, as a worker protects it."""

import importlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time
from typing import Any

from medprotect.bench.speed.codec import compress_series
from medprotect.bench.speed.export import build_series, find_slices, make_null_pipeline
from medprotect.bench.speed.run import PIPELINE, make_settings
from medprotect.confounder.key import Key
from medprotect.errors import UnsupportedImageError

_PROTECTABLE = "medprotect.protect.protectable"
_TRANSFORMS = "medprotect.protect.transforms"
_FORMATS = "medprotect.imaging.formats"
_PIXELS = "medprotect.imaging.dicom.pixels"

STEPS = {
    "hash the files": [("medprotect.protect.worker", "sha256_of")],
    "find references": [(_FORMATS, "find_references")],
    "read": [(_TRANSFORMS, "read_protectable")],
    "decode": [(_PIXELS, "decode_frame")],
    "windows and mask": [(_PROTECTABLE, "view")],
    "budget, but for the texture": [(_PROTECTABLE, "budget_lsb")],
    "texture": [("medprotect.intensity.budget", "texture_spread")],
    "networks": [("medprotect.confounder.noise", "key_noise")],
    "noise onto stored values": [(_PROTECTABLE, "apply_noise")],
    "make the new file": [("medprotect.imaging.dicom.file", "DicomFile.encode")],
    "encode": [(_PIXELS, "encode_frame")],
    "write and flush": [(_TRANSFORMS, "write_file"), (_TRANSFORMS, "publish")],
    "check: read both anew, compare pixels": [(_TRANSFORMS, "check_stream")],
    "check: is it the same original": [(_PROTECTABLE, "take_budget")],
    "check: share of the budget": [(_PROTECTABLE, "share_of_budget")],
    "check: headers": [(_FORMATS, "undocumented_changes")],
    "find new UIDs": [(_FORMATS, "find_new_uids")],
}
"""Steps, and the functions that each consists of, without those of other steps within them."""

REST = "all else"
_WARMING = 4
"""Slices in which what is loaded once is loaded."""


@dataclass(slots=True)
class Spent:
    """What a step took of a slice.

    Attributes
    ----------
    calls : float
        How often it was done.
    processor_seconds, wall_seconds : float
        Of the processor, and with what was waited for.
    """

    calls: float = 0
    processor_seconds: float = 0.0
    wall_seconds: float = 0.0


@dataclass(slots=True)
class _Clock:
    """Gives each moment to the innermost step."""

    spent: dict[str, Spent] = field(default_factory=dict)
    steps: list[str] = field(default_factory=lambda: [REST])
    marks: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Begin with a slice."""
        self.spent = {name: Spent() for name in (*STEPS, REST)}
        self.marks = thread_time(), perf_counter()

    def charge(self) -> None:
        """Charge the time since the last call to the step that was under way."""
        if self.spent:
            now, spent = (thread_time(), perf_counter()), self.spent[self.steps[-1]]
            spent.processor_seconds += now[0] - self.marks[0]
            spent.wall_seconds += now[1] - self.marks[1]
            self.marks = now

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Charge what is done meanwhile to a step, but for steps within it."""
        self.charge()
        self.steps.append(name)
        if self.spent:
            self.spent[name].calls += 1
        try:
            yield
        finally:
            self.charge()
            self.steps.pop()


def profile_slice(
    images: Path | None, folder: Path | None, slices: int, syntax: str | None = None
) -> dict[str, dict[str, Spent]]:
    """Protect slices as a worker does, and return the medians of each step, by network.

    Parameters
    ----------
    images : Path or None
        Folder of CT slices; without one, a slice that pydicom ships.
    folder : Path or None
        Where a folder is made, and removed, for what is written.
    slices : int
        How many are measured.
    syntax : str, optional
        UID of the transfer syntax of the slices; else they are native.

    Raises
    ------
    InputError
        There are no slices, or some cannot be protected.
    """
    with TemporaryDirectory(dir=folder, prefix="medprotect-speed-") as name:
        scratch = Path(name)
        build_series(find_slices(images), scratch / "native", slices + _WARMING)
        if syntax:
            compress_series(scratch / "native", scratch / "compressed", syntax)
        make_null_pipeline(scratch / "null")
        export = "compressed" if syntax else "native"
        found = {}
        for network, pipeline in (("null", str(scratch / "null")), ("real", PIPELINE)):
            # Functions are replaced for this, so that it is done in a process of its own.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as process:
                turns = process.submit(_profile, scratch, export, pipeline).result()
            found[network] = _medians(turns)
        return found


def _medians(turns: list[dict[str, Spent]]) -> dict[str, Spent]:
    names = ("calls", "processor_seconds", "wall_seconds")
    return {
        step: Spent(*(median(getattr(turn[step], name) for turn in turns) for name in names))
        for step in turns[0]
    }


def _profile(scratch: Path, export: str, pipeline: str) -> list[dict[str, Spent]]:
    import torch

    from medprotect.protect.confinement import keep_freed_memory
    from medprotect.protect.dry_run import plan_export
    from medprotect.protect.tasks import Setup, Task
    from medprotect.protect.worker import Worker

    torch.set_num_threads(1)
    keep_freed_memory()
    settings = make_settings(scratch, export, pipeline, 1)
    folders = {each.card.name: str(each.card.folder) for each in settings.candidates}
    worker = Worker(Setup(str(settings.export), Key.new().secret.hex(), folders, "standard"))
    clock, turns = _Clock(), []
    _replace_functions(clock)
    for entry in plan_export(settings):
        staged = scratch / "staged"
        task = Task(found=entry.row.found, staged=str(staged), pipeline=entry.row.pipeline)
        clock.start()
        result = worker.do(task)
        clock.charge()
        turns.append(clock.spent)
        if result.slug:
            raise UnsupportedImageError("some of the slices cannot be protected; choose others")
        staged.unlink()
    return turns[_WARMING:]


def _replace_functions(clock: _Clock) -> None:
    for name, functions in STEPS.items():
        for module, path in functions:
            owner: Any = importlib.import_module(module)
            *classes, function = path.split(".")
            for each in classes:
                owner = getattr(owner, each)
            setattr(owner, function, _timed(getattr(owner, function), clock, name))


def _timed(function: Callable[..., Any], clock: _Clock, name: str) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        with clock.step(name):
            return function(*arguments, **named)

    return timed


def write_profile(found: dict[str, dict[str, Spent]]) -> str:
    """Return a profile as a table in Markdown: milliseconds of each step, and of all."""
    heads = [f"{network} network, {time}" for network in found for time in ("processor", "wall")]
    lines = [f"| step | times | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for step in (*STEPS, REST):
        each = [spent[step] for spent in found.values()]
        lines.append(_line(step, f"{each[-1].calls:g}" if each[-1].calls else "", each))
    sums = [
        Spent(
            1,
            sum(each.processor_seconds for each in spent.values()),
            sum(each.wall_seconds for each in spent.values()),
        )
        for spent in found.values()
    ]
    return "\n".join([*lines, _line("together", "", sums)]) + "\n"


def _line(step: str, times: str, each: list[Spent]) -> str:
    figures = [
        f"{1000 * seconds:.1f} ms"
        for spent in each
        for seconds in (spent.processor_seconds, spent.wall_seconds)
    ]
    return f"| {step} | {times} | {' | '.join(figures)} |"
