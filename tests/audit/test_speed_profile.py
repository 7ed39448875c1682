"""Where the time of a slice goes."""

import time

import pytest

from medprotect.audit.speed_profile import REST, STEPS, Spent, _Clock, _timed, write_profile


def test_a_moment_counts_for_the_innermost_step_alone() -> None:
    clock = _Clock()
    inner = _timed(lambda: time.sleep(0.02), clock, "decode")

    def outer() -> None:
        inner()
        inner()

    read = _timed(outer, clock, "read")
    clock.start()
    read()
    clock.charge()
    spent = clock.spent
    assert (spent["read"].calls, spent["decode"].calls) == (1, 2)
    assert spent["decode"].wall_seconds >= 0.04
    assert spent["read"].wall_seconds < spent["decode"].wall_seconds
    assert spent["decode"].processor_seconds < spent["decode"].wall_seconds


def test_what_a_step_raises_ends_the_step() -> None:
    clock = _Clock()

    def fail() -> None:
        raise ValueError("damaged")

    clock.start()
    with pytest.raises(ValueError, match="damaged"):
        _timed(fail, clock, "read")()
    assert clock.steps == [REST]


def test_the_table_sums_every_step() -> None:
    spent = {name: Spent(1, 0.001, 0.002) for name in (*STEPS, REST)}
    last = write_profile({"null": spent, "real": spent}).splitlines()[-1]
    together = f"{len(spent)}.0 ms | {2 * len(spent)}.0 ms"
    assert last == f"| together |  | {together} | {together} |"
