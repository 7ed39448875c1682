"""A file of every kind, cut at every byte: rejected, or whole where only padding is gone.

Continuous integration tries every 37th byte; all of them with ``MEDPROTECT_CUT_EVERY=1``:
``MEDPROTECT_CUT_EVERY=1 pytest -s tests/e2e/test_truncation.py`` prints the outcomes.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from ..imaging.protecting import outcome, stored
from ..waiting import HANG_SECONDS
from .seeds import MAKERS

EVERY = int(os.environ.get("MEDPROTECT_CUT_EVERY", "37"))


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A hang ends the test, as the signal has no handler that goes on."""

    def end(_number: int, _frame: object) -> None:
        raise TimeoutError("a cut file takes too long")

    before = signal.signal(signal.SIGALRM, end)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MAKERS)
def test_a_cut_file_is_rejected_or_has_all_its_pixels(kind: str) -> None:
    data = MAKERS[kind]()
    whole = stored(data)
    outcomes: Counter[str] = Counter()
    for end in {*range(0, len(data), EVERY), *range(max(len(data) - 12, 0), len(data))}:
        signal.alarm(HANG_SECONDS)
        found = outcome(data[:end])
        outcomes[found] += 1
        if found == "protected":
            for one, other in zip(stored(data[:end]), whole, strict=True):
                np.testing.assert_array_equal(one, other)
    assert outcomes.keys() <= {"corrupt", "not_an_image", "unsupported", "protected"}
    assert outcomes["corrupt"]
    print(f"{kind}: {outcomes.total()} of {len(data)} cuts, {dict(outcomes)}")
