"""Long work on the terminal: where it is, and what is left of it."""

import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

SECONDS = 10.0
"""From one plain line to the next, at most."""

LIBRARIES = ("numpy", "scipy", "torch")


class WorkView:
    """Shows on standard error where work is: a bar in a terminal, else plain lines.

    A plain line comes when a stage begins, and every `SECONDS` seconds after, also while the work
    tells nothing. It is called as `medprotect.confounder.assigning.Progress` is.

    Parameters
    ----------
    left_of : str
        What the steps are all of, in the words that follow the time left: ``this stage``.
    """

    def __init__(self, left_of: str = "") -> None:
        self._of = f" of {left_of}" if left_of else ""
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, words="")
        self._stage, self._step, self._steps = "starting", 0, 0
        self._first, self._began, self._words = 0, time.monotonic(), ""
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._tell_on, daemon=True)

    def __enter__(self) -> Self:
        self._bar.start()
        if not self._console.is_terminal:
            self._lines.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._lines.is_alive():
            self._lines.join()
        self._bar.stop()

    def __call__(self, stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
        """Show that so many of the steps are done."""
        begins = stage != self._stage
        if begins or step > self._step + 1:  # several at once were done earlier: that is no pace
            self._first, self._began = step, time.monotonic()
        self._words = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self._stage, self._step, self._steps = stage, step, steps
        words = f"{self._left()}  {self._words}"
        self._bar.update(self._task, description=stage, completed=step, total=steps, words=words)
        if begins:
            self._tell()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(line, soft_wrap=True)

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

    def _left(self) -> str:
        done = self._step - self._first
        if done <= 0 or self._step >= self._steps:
            return ""
        seconds = (self._steps - self._step) * (time.monotonic() - self._began) / done
        return f"{in_words(seconds)} left{self._of}"

    def _tell(self) -> None:
        if self._console.is_terminal:
            return
        count = f"{self._step}/{self._steps}" if self._steps else ""
        since = f"{time.monotonic() - self._began:.0f} s"
        parts = (f"{self._stage} {count}".strip(), self._left() or since, self._words)
        sys.stderr.write("  ".join(part for part in parts if part) + "\n")
        sys.stderr.flush()

    def _tell_on(self) -> None:
        with suppress(OSError):  # nobody reads any more; the work itself finds out
            while not self._ended.wait(SECONDS):
                self._tell()


def in_words(seconds: float) -> str:
    """Return a time as people say it: ``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
