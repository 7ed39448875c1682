"""How long reading a header may take in the run's own process, which nobody else would end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from medprotect import limits
from medprotect.errors import ImageTooLargeError

_AGAIN_SECONDS = 1.0


def planning_seconds(size: int) -> float:
    """Return for how long a run may compute on a file of so many bytes before it is planned."""
    return limits.FILE_SECONDS + limits.SECONDS_PER_MEBIBYTE * size / 1024**2


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """End a block that computes for longer; waiting for a disk or for others does not count.

    Only in the main thread, which signals come to; elsewhere there is no limit. A call into a
    library is ended when it returns.

    Raises
    ------
    ImageTooLargeError
        The time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_over = False

    def give_up(_number: int, _frame: object) -> None:
        if not is_over:
            raise ImageTooLargeError(
                f"its header takes more than {seconds:.0f} seconds to read; leave it out, or save "
                "it again with a smaller header"
            )

    before = signal.signal(signal.SIGPROF, give_up)
    # Again after a second: what is raised in a destructor is lost.
    signal.setitimer(signal.ITIMER_PROF, seconds, _AGAIN_SECONDS)
    try:
        try:
            yield
        finally:
            is_over = True
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
