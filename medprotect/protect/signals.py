"""SIGINT and SIGTERM while a run is at work."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told(interrupt: Callable[[int], None]) -> Iterator[None]:
    """Pass the number of each signal on; at the end the handlers of before are back.

    Only in the main thread, which signals come to; elsewhere nothing is told.

    Parameters
    ----------
    interrupt : callable
        ``interrupt(number)``, in the main thread, between any two steps of it.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        interrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
