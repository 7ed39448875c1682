"""Where the time of a slice goes."""

import pytest

from medprotect.bench.speed import profile
from medprotect.bench.speed.profile import REST, STEPS, Spent, _Clock, _timed, write_profile


def test_a_moment_counts_for_the_innermost_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = {"processor": 0.0, "wall": 0.0}

    def spend(processor: float, wall: float) -> None:
        passed["processor"] += processor
        passed["wall"] += wall

    monkeypatch.setattr(profile, "thread_time", lambda: passed["processor"])
    monkeypatch.setattr(profile, "perf_counter", lambda: passed["wall"])
    clock = _Clock()
    inner = _timed(lambda: spend(1, 20), clock, "decode")

    def outer() -> None:
        spend(2, 3)
        inner()
        spend(4, 5)
        inner()

    read = _timed(outer, clock, "read")
    clock.start()
    spend(6, 7)
    read()
    clock.charge()
    assert clock.spent["decode"] == Spent(2, 2, 40)
    assert clock.spent["read"] == Spent(1, 6, 8)
    assert clock.spent[REST] == Spent(0, 6, 7)


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
