"""The figure of files a second by workers."""

from typing import Any
from xml.etree import ElementTree

import pytest

from medprotect.bench.speed.chart import draw_throughput
from medprotect.bench.speed.row import JOBS, Row, name_jobs
from medprotect.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def report(rates: dict[int, list[float]]) -> dict[str, Any]:
    rows = [Row("b", name_jobs(jobs), "files/s", each) for jobs, each in rates.items()]
    return {"machine": "x86_64 & more", "rows": [row.as_json() for row in rows]}


def draw(rates: dict[int, list[float]]) -> ElementTree.Element:
    return ElementTree.fromstring(draw_throughput(report(rates)))  # noqa: S314 - our own


def test_a_bar_for_each_number_of_workers_is_as_high_as_its_median() -> None:
    drawn = draw({1: [9, 10, 11], 2: [20, 20, 20], 4: [30, 40, 50]})
    bars = [float(each.attrib["height"]) for each in drawn.iter(f"{SVG}rect")][1:]
    assert len(bars) == len(JOBS)
    assert bars == pytest.approx([bars[0], 2 * bars[0], 4 * bars[0]], rel=0.01)


def test_it_says_in_words_what_it_shows() -> None:
    drawn = draw({1: [10.0], 2: [20.0]})
    title, description = drawn.find(f"{SVG}title"), drawn.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert drawn.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert "1 worker 10, 2 workers 20" in (description.text or "")


def test_a_report_without_such_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="measure again"):
        draw_throughput({"machine": "", "rows": []})
