"""Progress: no estimate before there is a basis, and then one that no start-up is part of."""

import os
import time
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from medprotect.cli.progress_view import Pace, ProgressView, WorkView


def paced(at_once: int, *marks: tuple[float, int], of: int) -> Pace:
    """Of files that are alike: (seconds, files done)."""
    pace = Pace(at_once)
    for seconds, done in marks:
        pace.note(done, done / of, seconds)
    return pace


class TestPace:
    def test_nothing_is_said_before_there_are_results(self) -> None:
        assert Pace().seconds_left(1000.0) is None
        assert Pace().files_a_second() is None
        assert Pace().in_words(1000.0) == "estimating the time left"

    @pytest.mark.parametrize("start_up", [0.0, 8.0, 600.0])
    def test_the_start_of_the_workers_counts_for_nothing(self, start_up: float) -> None:
        marks = [(start_up + 2.0 * n, n) for n in (1, 2, 3)]
        pace = paced(1, *marks, of=33)
        assert pace.seconds_left(start_up + 6.0) == pytest.approx(60)
        assert pace.files_a_second() == pytest.approx(0.5)

    def test_one_round_of_the_workers_is_waited_for(self) -> None:
        marks = [(10.0, 1), (10.1, 2), (20.0, 3)]
        assert paced(2, *marks, of=10).seconds_left(20.0) is None
        assert paced(2, *marks, (20.1, 4), of=10).seconds_left(20.1) == pytest.approx(30)

    def test_a_burst_is_no_basis(self) -> None:
        assert paced(1, (10.0, 1), (10.0, 2), (10.5, 50), of=100).seconds_left(10.5) is None

    def test_work_counts_and_not_files(self) -> None:
        pace = Pace()
        pace.note(1, 0.25, 100.0)
        pace.note(2, 0.50, 110.0)
        assert pace.seconds_left(110.0) == pytest.approx(20)

    def test_time_goes_on_between_results_and_not_below_nothing(self) -> None:
        pace = paced(1, (0.0, 1), (10.0, 2), of=4)
        assert pace.seconds_left(15.0) == pytest.approx(15)
        assert pace.seconds_left(500.0) == 0
        assert pace.in_words(500.0) == "almost done"

    def test_it_is_said_in_units_that_people_use(self) -> None:
        assert paced(1, (0.0, 1), (10.0, 2), of=62).in_words(10.0) == "about 10 min left"
        assert paced(1, (0.0, 1), (2.0, 11), of=61).in_words(2.0) == "5.0 files/s, about 10 s left"
        assert paced(1, (0.0, 1), (60.0, 2), of=302).in_words(60.0) == "about 5.0 h left"

    def test_a_first_result_of_many_files_is_a_start_too(self) -> None:
        assert paced(1, (100.0, 50), (110.0, 100), of=200).seconds_left(110.0) == pytest.approx(20)


class TestLines:
    def test_a_line_comes_within_five_seconds_and_then_every_ten(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        waited: list[float] = []
        ends: Iterator[bool] = chain(repeat(False, 3), [True])

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            return next(ends)

        ProgressView("listing files").tell(wait)
        assert capsys.readouterr().err == "listing files\n" * 3
        assert waited[0] <= 5
        assert waited[1:] == [10, 10, 10]

    def test_it_says_where_it_is_and_what_is_left(self) -> None:
        view = ProgressView("planning")
        view.show("planning", 120, None)
        assert view.line(0.0) == "planning: 120 files"
        view.show("comparing", 0, 500, 0.0)
        assert view.line(0.0) == "comparing: 0 of 500 files, estimating the time left"
        view.show("comparing", 500, 500, 1.0)
        assert view.line(0.0).startswith("comparing: 500 of 500 files")
        assert "left" not in view.line(0.0)

    def test_a_block_that_ends_at_once_prints_nothing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ProgressView("reading") as view:
            view.show("reading", 1, 1)
        assert capsys.readouterr().err == ""


class TestWork:
    def test_it_says_where_it_is_and_how_long_the_stage_takes(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        view = WorkView("this stage")
        for step in (1, 2, 3):
            view("generator", step, 4, {"told": 0.25})
            now += 30
        assert view.line(now) == "generator 3/4  45 s left of this stage  told 0.250"
        view("calibration", 1, 1, {})
        view("images found", 9, 9, {"other files": 2})
        assert capsys.readouterr().err.splitlines() == [
            "generator 1/4  0 s  told 0.250",
            "calibration 1/1  0 s",
            "images found 9/9  0 s  other files 2",
        ]

    def test_what_was_taken_up_does_not_count_as_pace(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        view = WorkView()
        view("training 2 of 2", 300, 600, {})
        view("training 2 of 2", 500, 600, {})
        for step in range(501, 521):
            now += 0.5
            view("training 2 of 2", step, 600, {})
        assert "520/600  40 s left" in view.line(now)

    def test_libraries_are_named_and_counted_and_threads_that_wait_sleep(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        WorkView().load(("json", "csv"))
        said = capsys.readouterr().err.splitlines()
        assert [line.rpartition("  ")[0] for line in said] == [
            "loading json 0/2",
            "loading csv 1/2",
        ]
        assert os.environ["OMP_WAIT_POLICY"] == "passive"
