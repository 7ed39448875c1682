"""How a run ends: what its files became, and the exit code that says so."""

import pytest

from medprotect.confounder.measured import Measured
from medprotect.plan.plan import Action, Row
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.summary import Summary
from medprotect.scan.walk import Found


def entry(protection: float | None, outcome: Outcome = Outcome.PROTECTED) -> Entry:
    measured = None if protection is None else Measured(protection)
    return Entry(Row(Found("a.dcm"), Action.PROTECT, pipeline="ct", measured=measured), outcome)


def test_what_carries_noise_is_called_by_what_that_was_measured_to_protect() -> None:
    entries = [entry(0.7), entry(0.2), entry(None), entry(0.7, Outcome.HELD)]
    assert Summary(entries).states == {"protected": 1, "weak": 1, "unmeasured": 1, "held": 1}
    assert Summary(entries).measured == {Measured(0.7): 1, Measured(0.2): 1, None: 1}


@pytest.mark.parametrize("protection", [0.2, None])
def test_with_a_weak_or_unmeasured_image_in_out_it_ends_with_4(protection: float | None) -> None:
    entries = [entry(0.7), entry(protection)]
    assert Summary(entries).exit_code == 4
    assert Summary(entries, accept_weak=True).exit_code == 0
    assert Summary(entries[:1]).exit_code == 0


def test_a_rejected_image_is_never_accepted_as_weak() -> None:
    entries = [entry(0.2), entry(0.7, Outcome.REJECTED)]
    assert Summary(entries, accept_weak=True).exit_code == 4
