"""Waiting for what another process does; the limit ends what hangs, and measures no speed."""

import time
from collections.abc import Callable

HANG_SECONDS = 1800
"""Nothing in the tests takes as long, on a slow and busy machine either."""


def wait_for(holds: Callable[[], object], words: str) -> None:
    """Wait until something holds; say what did not if it never does."""
    end = time.monotonic() + HANG_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(words)
        time.sleep(0.02)
