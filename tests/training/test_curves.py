"""What a training reports is kept and drawn."""

import re
from itertools import pairwise
from pathlib import Path

from medprotect.training.curves import Curves, draw_curves

LINE = re.compile('<polyline points="([^"]+)"')


def report(curves: Curves, steps: range, told: float = 0.5) -> list[int]:
    passed: list[int] = []
    progress = curves.following(lambda _stage, step, *_: passed.append(step))
    for step in steps:
        progress("generator", step, 100, {"told": told, "confounder": 2.0, "utility": step / 50})
    return passed


def test_every_report_is_passed_on(tmp_path: Path) -> None:
    assert report(Curves(tmp_path), range(20, 101, 20)) == [20, 40, 60, 80, 100]


def test_points_are_twenty_steps_apart_and_the_last_is_there(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    progress = curves.following(lambda *_: None)
    for step in range(1, 51):
        progress("generator", step, 50, {"told": 0.5})
        progress("victim 1, clean", step, 50, {})
    assert {stage: list(rows) for stage, rows in curves.rows.items()} == {"generator": [20, 40, 50]}


def test_a_training_that_broke_off_goes_on_in_one_curve(tmp_path: Path) -> None:
    report(Curves(tmp_path), range(20, 81, 20))
    again = Curves(tmp_path)
    report(again, range(60, 101, 20), told=0.75)
    told = {step: row["told"] for step, row in again.rows["generator"].items()}
    assert told == {20: 0.5, 40: 0.5, 60: 0.75, 80: 0.75, 100: 0.75}


def test_a_training_begun_anew_drops_the_steps_of_the_one_before(tmp_path: Path) -> None:
    report(Curves(tmp_path), range(20, 101, 20))
    again = Curves(tmp_path)
    report(again, range(20, 41, 20))
    assert list(again.rows["generator"]) == [20, 40]


def test_a_damaged_file_costs_the_curve_alone(tmp_path: Path) -> None:
    for content in ("", "[]", '{"generator": 3}', '{"generator": {"a": {}}}'):
        (tmp_path / "curves.json").write_text(content)
        assert Curves(tmp_path).rows == {}


def test_lines_end_where_the_figures_do(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    report(curves, range(20, 101, 20), told=1.0)
    lines = LINE.findall(draw_curves(curves.rows, "generator"))
    told, confounder, utility = (
        [tuple(map(float, point.split(","))) for point in line.split()] for line in lines
    )
    assert [len(line) for line in (told, confounder, utility)] == [5, 5, 5]
    assert len({y for _, y in told}) == 1
    assert told[-1][1] == confounder[-1][1] == utility[-1][1]  # 1 of 1, and 2 of a largest 2
    assert utility[0][1] > utility[-1][1]
    assert told[-1][0] > told[0][0]


def test_the_stage_that_was_finished_is_drawn() -> None:
    rows = {
        "generator": {step: {"told": 0.1} for step in (20, 40)},
        "generator 2": {step: {"told": 0.2} for step in (20, 40, 60)},
    }
    (line,) = LINE.findall(draw_curves(rows, "generator 2"))
    assert len(line.split()) == 3
    (line,) = LINE.findall(draw_curves(rows, "generator"))
    assert len(line.split()) == 2


def test_labels_of_lines_that_end_together_stand_apart(tmp_path: Path) -> None:
    rows = {"generator": {20: dict.fromkeys(("told", "code_read", "kept", "amplitude"), 0.0)}}
    labels = re.findall(r'y="([\d.]+)" fill="[^"]+">([^<]+)<', draw_curves(rows, "generator"))
    heights = sorted(float(height) for height, _ in labels[:4])
    assert {name for _, name in labels[:4]} == {"told", "codes read", "kept", "amplitude"}
    assert min(b - a for a, b in pairwise(heights)) >= 10


def test_a_training_without_a_report_is_an_empty_picture() -> None:
    picture = draw_curves({}, "generator")
    assert picture.startswith("<svg ")
    assert not LINE.search(picture)
