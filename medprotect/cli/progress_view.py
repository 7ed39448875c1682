"""How far a command is, on standard error: a bar on a terminal, else a plain line now and then."""

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from importlib import import_module
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from medprotect.cli.naming import seconds_in_words

_FIRST_SECONDS, _PLAIN_SECONDS = 3.0, 10.0
"""Until the first plain line, and from one to the next."""

_BASIS_SECONDS = 2.0
"""Less than this says nothing of the speed."""


class _Mark(NamedTuple):
    """When how much was done: seconds of a clock, files, and share of all work."""

    seconds: float
    done: int
    share: float


class Pace:
    """How fast files are done, and how long the rest takes.

    The clock starts with the first results, so that the start of the workers is not taken for
    their speed.

    Parameters
    ----------
    at_once : int
        How many files are worked on at a time: so many first results make the start, and as many
        more are waited for before anything is said.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        self._first: _Mark | None = None
        self._last = _Mark(0.0, 0, 0.0)

    def note(self, done: int, share: float, now: float) -> None:
        """Take note of a result.

        Parameters
        ----------
        done : int
            Files that are done.
        share : float
            Share of all work that is done, 0..1.
        now : float
            Seconds, of a clock that only goes on.
        """
        self._last = _Mark(now, done, share)
        if done <= self._at_once or self._first is None:
            self._first = self._last

    def _basis(self) -> tuple[float, int, float] | None:
        """Return in how many seconds how many files, and which share of the work, were done."""
        first, last = self._first, self._last
        if first is None or last.done < 2 * self._at_once or last.share <= first.share:
            return None
        seconds = last.seconds - first.seconds
        if seconds < _BASIS_SECONDS:
            return None
        return seconds, last.done - first.done, last.share - first.share

    def files_a_second(self) -> float | None:
        """Return how many files are done in a second; None where nothing can be said yet."""
        basis = self._basis()
        return basis and basis[1] / basis[0]

    def seconds_left(self, now: float) -> float | None:
        """Return how long the rest takes from now; None where nothing can be said yet."""
        basis = self._basis()
        if basis is None:
            return None
        left = (1 - self._last.share) * basis[0] / basis[2]
        return max(left - (now - self._last.seconds), 0.0)

    def in_words(self, now: float) -> str:
        """Return ``12.5 files/s, about 4 min left``, or that it is being estimated."""
        rate, seconds = self.files_a_second(), self.seconds_left(now)
        if rate is None or seconds is None:
            return "estimating the time left"
        left = f"about {seconds_in_words(seconds)} left" if seconds >= 1 else "almost done"
        return f"{rate:.1f} files/s, {left}" if rate >= 1 else left


class _View(ABC):
    """Shows on standard error where work is, while the block that it opens lasts.

    A bar on a terminal; else a plain line soon, and then every `_PLAIN_SECONDS`, also while the
    work says nothing.
    """

    def __init__(self, words: str, *columns: ProgressColumn) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(words, total=None)
        self._ended = threading.Event()
        self._teller = threading.Thread(target=self.tell, args=(self._ended.wait,), daemon=True)

    def __enter__(self) -> Self:
        self._bar.start()
        if not self._console.is_terminal:
            self._teller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._teller.is_alive():
            self._teller.join()
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line, above the bar."""
        self._console.print(line, soft_wrap=True)

    def tell(self, wait: Callable[[float], bool]) -> None:
        """Print a plain line now and then, until ``wait(seconds)`` says that it is over."""
        seconds = _FIRST_SECONDS
        while not wait(seconds):
            self.say(self.line(time.monotonic()))
            seconds = _PLAIN_SECONDS

    @abstractmethod
    def line(self, now: float) -> str:
        """Return where it is and what is left, in one line, at a time of `time.monotonic`."""


class ProgressView(_View):
    """Shows how far a command is that works on files.

    Parameters
    ----------
    words : str
        What is done first.
    at_once : int
        As `Pace` takes it.
    """

    def __init__(self, words: str, at_once: int = 1) -> None:
        super().__init__(words, _WordsColumn(lambda: self._pace_in_words(time.monotonic())))
        self._at_once = at_once
        self._words, self._done, self._total = words, 0, 0
        self._pace = Pace(at_once)

    def show(self, words: str, done: int, total: int | None, share: float | None = None) -> None:
        """Show what is done, with how many files of how many.

        Parameters
        ----------
        words : str
            What is done; other words begin another bar.
        done : int
            Files that are done.
        total : int or None
            All files, where that is known.
        share : float, optional
            Share of all work that is done, 0..1, where files are not alike.
        """
        if words != self._words:
            self._words, self._pace = words, Pace(self._at_once)
        self._done, self._total = done, total or 0
        if total and done:
            self._pace.note(done, done / total if share is None else share, time.monotonic())
        self._bar.update(self._task, description=words, completed=done, total=total)

    def line(self, now: float) -> str:
        """Return where it is and what is left, in one line, at a time of `time.monotonic`."""
        if not self._total:
            return f"{self._words}: {self._done} files" if self._done else self._words
        counted = f"{self._words}: {self._done} of {self._total} files"
        return f"{counted}, {self._pace_in_words(now)}"

    def _pace_in_words(self, now: float) -> str:
        return self._pace.in_words(now) if self._done < self._total else ""


class WorkView(_View):
    """Shows how far a training is: its stage, its step, and what is left of it.

    It is called as `medprotect.training.assigning.Progress` is.

    Parameters
    ----------
    left_of : str
        What the steps are all of, in the words that follow the time left: ``this stage``.
    """

    LIBRARIES = ("numpy", "scipy", "torch")

    def __init__(self, left_of: str = "") -> None:
        super().__init__(
            "starting", _WordsColumn(lambda: f"{self._left(time.monotonic())}  {self._figures}")
        )
        self._of = f" of {left_of}" if left_of else ""
        self._stage, self._step, self._steps, self._figures = "starting", 0, 0, ""
        self._first, self._began = 0, time.monotonic()

    def __call__(self, stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        """Show that so many of the steps are done."""
        begins = stage != self._stage
        if begins or step > self._step + 1:  # several at once were done earlier: that is no pace
            self._first, self._began = step, time.monotonic()
        counted = {n: f"{v}" if isinstance(v, int) else f"{v:.3f}" for n, v in figures.items()}
        self._figures = "  ".join(f"{name} {value}" for name, value in counted.items())
        self._stage, self._step, self._steps = stage, step, steps
        self._bar.update(self._task, description=stage, completed=step, total=steps)
        if begins and not self._console.is_terminal:
            self.say(self.line(time.monotonic()))

    def load(self, libraries: Iterable[str] = LIBRARIES) -> None:
        """Import what takes seconds to import, and show how far that is.

        Threads that wait for others are to sleep, not to spin: where other programs are at work,
        spinning makes a training take ten times as long. OpenMP reads this when it is loaded.
        """
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        names = list(libraries)
        for number, name in enumerate(names):
            self(f"loading {name.partition('.')[0]}", number, len(names), {})
            import_module(name)

    def line(self, now: float) -> str:
        """Return where it is and what is left, in one line, at a time of `time.monotonic`."""
        count = f"{self._step}/{self._steps}" if self._steps else ""
        since = f"{now - self._began:.0f} s"
        parts = (f"{self._stage} {count}".strip(), self._left(now) or since, self._figures)
        return "  ".join(part for part in parts if part)

    def _left(self, now: float) -> str:
        done = self._step - self._first
        if done <= 0 or self._step >= self._steps:
            return ""
        seconds = (self._steps - self._step) * (now - self._began) / done
        return f"{seconds_in_words(seconds)} left{self._of}"


class _WordsColumn(ProgressColumn):
    def __init__(self, words: Callable[[], str]) -> None:
        super().__init__()
        self._in_words = words

    def render(self, _task: Task) -> Text:
        """Return the words of the moment, as `rich` asks for them."""
        return Text(self._in_words())
