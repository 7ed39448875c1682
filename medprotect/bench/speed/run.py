"""One run as a user would start it, timed: files a second, and the memory of its processes."""

import multiprocessing
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

from medprotect.confounder.key import Key
from medprotect.errors import UnsupportedImageError
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Entry, Journal
from medprotect.protect.receipt import write_receipt
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Progress

PIPELINE = "radiology-grey"

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_EARLY = 0.1
"""Share of the files after which a process should have all the memory that it will take."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most memory that the run and the largest of its workers held, in MB.

    Attributes
    ----------
    run, worker : float
        At one moment of a run; 0 where the system does not tell.
    """

    run: float = 0.0
    worker: float = 0.0


@dataclass(frozen=True, slots=True)
class Timing:
    """What a run took, without the start and the end of its workers.

    Attributes
    ----------
    count, together : int
        How many files there were, and how many of them are done at once: those of a series.
    plan_seconds, work_seconds, receipt_seconds : float
        To the plan; from the first file that was done to the last; of writing the receipt.
    early, last : Peaks
        After a tenth of the files, and after all of them.
    busy_seconds : float
        Of processor time that the run's own process took for a file: plan, journal and receipt.
    state_bytes : int
        Size of journal and receipt.
    """

    count: int
    together: int
    plan_seconds: float
    work_seconds: float
    receipt_seconds: float
    early: Peaks
    last: Peaks
    busy_seconds: float
    state_bytes: int

    @property
    def files(self) -> float:
        """Files a second, once the workers run."""
        return (self.count - self.together) / self.work_seconds

    @property
    def seconds(self) -> float:
        """Seconds of a file, with its share of plan and receipt."""
        return 1 / self.files + (self.plan_seconds + self.receipt_seconds) / self.count


@dataclass(slots=True)
class _Watch:
    """Notes when the files of a run are done, and how much memory there is meanwhile.

    Of the processor, too: at the beginning, at the plan, at the first file that is done, at the
    last.
    """

    began: float = field(default_factory=perf_counter)
    busy: list[float] = field(default_factory=lambda: [process_time()])
    planned: float = 0.0
    count: int = 0
    times: list[float] = field(default_factory=list)
    early: Peaks = field(default_factory=Peaks)
    last: Peaks = field(default_factory=Peaks)

    def begin(self, entries: list[Entry]) -> None:
        """Note that the plan is made."""
        self.planned, self.count = perf_counter(), len(entries)
        self.busy.append(process_time())

    def note(self, _number: int, _entry: Entry) -> None:
        """Note that a file is done."""
        self.times.append(perf_counter())
        if len(self.times) in (1, self.count):
            self.busy.append(process_time())
        if len(self.times) in (max(1, round(_EARLY * self.count)), self.count):
            self.early, self.last = self.last, _read_peaks()


def make_settings(
    scratch: Path, export: str, pipeline: str, jobs: int, *, hold_series: bool = False
) -> Settings:
    """Return settings of a run of ``scratch/export`` to ``scratch/out``."""
    return Settings(
        export=scratch / export,
        out=scratch / "out",
        state=scratch / "out.medprotect",
        candidates=find_candidates([pipeline]),
        jobs=jobs,
        hold_series=hold_series,
        accept_weak=True,  # speed is what is measured
    )


def time_run(settings: Settings, key: Key, together: int = 1) -> Timing:
    """Carry out a run as a user would, and remove what it wrote.

    Parameters
    ----------
    settings : Settings
        Of a run of more than `together` files.
    key : Key
        The owner's.
    together : int
        Files of a series, where series are held until they are whole.

    Raises
    ------
    UnsupportedImageError
        A file cannot be protected.
    """
    watch = _Watch()
    summary = protect_export(settings, key, Progress(began=watch.begin, done=watch.note))
    began, began_busy = perf_counter(), process_time()
    with Journal(settings.state) as journal:
        write_receipt(settings, key, journal, summary.entries)  # once more, for its time alone
    receipt_seconds, receipt_busy = perf_counter() - began, process_time() - began_busy
    state_bytes = sum(path.stat().st_size for path in settings.state.iterdir() if path.is_file())
    remove_run(settings)
    if summary.exit_code:
        raise UnsupportedImageError("some of the slices cannot be protected; choose others")
    started, planned, first, last = watch.busy
    once = (planned - started + receipt_busy) / watch.count
    return Timing(
        count=watch.count,
        together=together,
        plan_seconds=watch.planned - watch.began,
        work_seconds=watch.times[-1] - watch.times[0],
        receipt_seconds=receipt_seconds,
        early=watch.early,
        last=watch.last,
        busy_seconds=once + (last - first) / (watch.count - together),
        state_bytes=state_bytes,
    )


def remove_run(settings: Settings) -> None:
    """Remove what a run wrote, and its state."""
    shutil.rmtree(settings.out)
    shutil.rmtree(settings.state)


def _read_peaks() -> Peaks:
    workers = [_peak_mb(str(each.pid)) for each in multiprocessing.active_children()]
    return Peaks(_peak_mb("self"), max(workers, default=0.0))


def _peak_mb(process: str) -> float:
    """Return the most memory that a process has held so far; 0 where that is not told."""
    try:
        found = _PEAK.search(Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0
