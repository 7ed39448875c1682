"""Long work says where it is and what is left, also while it tells nothing."""

import os
import time

import pytest

from medprotect.cli import work_view
from medprotect.cli.work_view import WorkView, in_words


def test_it_says_where_it_is_and_how_long_the_stage_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    view = WorkView("this stage")
    for step in (1, 2, 3):
        view("generator", step, 4, {"told": 0.25})
        now += 30
    view._tell()
    view("calibration", 1, 1, {})
    assert capsys.readouterr().err.splitlines() == [
        "generator 1/4  0 s  told 0.250",
        "generator 3/4  45 s left of this stage  told 0.250",
        "calibration 1/1  0 s",
    ]


def test_what_was_taken_up_does_not_count_as_pace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    view = WorkView()
    view("training 2 of 2", 300, 600, {})
    view("training 2 of 2", 500, 600, {})
    for step in range(501, 521):
        now += 0.5
        view("training 2 of 2", step, 600, {})
    view._tell()
    assert "520/600  40 s left" in capsys.readouterr().err


def test_lines_come_while_the_work_tells_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_view, "SECONDS", 0.001)
    lines = 0
    with WorkView() as view:
        view("loading torch", 0, 1, {})
        while lines < 3:
            lines += capsys.readouterr().err.count("loading torch 0/1")
    capsys.readouterr()
    assert not view._lines.is_alive()


def test_libraries_are_named_and_counted_and_threads_that_wait_sleep(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    WorkView().load(("json", "csv"))
    assert capsys.readouterr().err.splitlines() == ["loading json 0/2  0 s", "loading csv 1/2  0 s"]
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.4, "12 s"), (89, "89 s"), (200, "3 min"), (9000, "2.5 h")]
)
def test_times_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
