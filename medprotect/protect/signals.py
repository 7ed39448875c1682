"""SIGINT and SIGTERM while a run is at work."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told(interrupt: Callable[[int], None]) -> Iterator[None]:
    """Pass the number of each signal on; at the end the handlers of before are back.

    Parameters
    ----------
    interrupt : callable
        ``interrupt(number)``, in the main thread, between any two steps of it.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        interrupt(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
