"""The figures: a number in every cell, a name at every point, for every eye and mode."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from medprotect.bench.protection.figure import Cell, Point, draw_heat_map, draw_visibility

SVG = "{http://www.w3.org/2000/svg}"

ROWS = [
    ("ours & more", [Cell("0.10", 0.1), Cell("0.95", 0.95)]),
    ("em", [Cell("\N{MINUS SIGN}0.20", -0.2), Cell("\N{EN DASH}")]),
]


@pytest.fixture
def drawn() -> ElementTree.Element:
    text = draw_heat_map("Of <this>", ["plain", "grey"], ROWS)
    return ElementTree.fromstring(text)  # noqa: S314 - our own


def test_every_number_row_and_column_is_in_it(drawn: ElementTree.Element) -> None:
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    cells = [each.text for _, row in ROWS for each in row]
    assert [each for each in texts if each in cells] == cells
    assert {"plain", "grey", "ours & more", "em", "Of <this>"} < set(texts)


def test_a_cell_is_as_deep_as_its_protection_within_0_and_1(drawn: ElementTree.Element) -> None:
    shares = [each for each in drawn.iter(f"{SVG}rect") if each.get("class") == "share"]
    depths = [float(each.attrib["fill-opacity"]) for each in shares]
    assert depths[:3] == [0.1, 0.95, 0.0]


def test_letters_turn_white_on_the_deepest_cells(drawn: ElementTree.Element) -> None:
    kinds = {each.text: each.get("class") for each in drawn.iter(f"{SVG}text")}
    assert kinds["0.10"] == "cell"
    assert kinds["0.95"] == "deep"
    assert kinds["\N{EN DASH}"] == "soft"


def test_it_has_colours_for_the_dark_and_runs_nothing(drawn: ElementTree.Element) -> None:
    (style,) = drawn.iter(f"{SVG}style")
    assert "prefers-color-scheme:dark" in (style.text or "")
    assert not list(drawn.iter(f"{SVG}script"))


def test_it_says_in_words_what_it_shows(drawn: ElementTree.Element) -> None:
    title, description = drawn.find(f"{SVG}title"), drawn.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert drawn.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert "ours & more: plain 0.10, grey 0.95" in (description.text or "")


@pytest.mark.parametrize("count", [2, 9, 20])
def test_nothing_lies_outside(count: int) -> None:
    columns = ["adversarial-training"] * count
    rows = [("ours-labels (blood-microscopy), high", [Cell("0.55", 0.55)] * count)]
    drawn = ElementTree.fromstring(draw_heat_map("T", columns, rows))  # noqa: S314 - our own
    *_, width, _ = map(float, drawn.attrib["viewBox"].split())
    for each in drawn.iter(f"{SVG}rect"):
        if each.get("width") != "100%":
            assert float(each.attrib["x"]) >= 0
            assert float(each.attrib["x"]) + float(each.attrib["width"]) <= width


POINTS = [
    Point("ours & more", 0.7, 0.6, is_ours=True),
    Point("tap", 0.7, 0.6, is_ours=False),
    Point("lsp", 0.71, 0.59, is_ours=False),
    Point("control", 0.98, -0.02, is_ours=False),
]


def draw_points(jpeg_vif: float | None = 0.65) -> ElementTree.Element:
    return ElementTree.fromstring(draw_visibility("Of <this>", POINTS, jpeg_vif))  # noqa: S314


def test_what_protects_more_stands_higher_and_what_is_less_seen_further_right() -> None:
    at = [
        (float(each.attrib["cx"]), float(each.attrib["cy"]))
        for each in draw_points().iter(f"{SVG}circle")
    ]
    (ours, *_, control) = at
    assert control[0] > ours[0]
    assert control[1] > ours[1]


def test_no_two_names_of_points_meet() -> None:
    names = {each.name for each in POINTS}
    lines = sorted(
        float(each.attrib["y"]) for each in draw_points().iter(f"{SVG}text") if each.text in names
    )
    assert len(lines) == len(POINTS)
    assert min(after - before for before, after in pairwise(lines)) >= 12


def test_jpeg_is_drawn_only_where_it_is_known() -> None:
    assert [each.text for each in draw_points().iter(f"{SVG}text")].count("JPEG 50") == 1
    assert "JPEG 50" not in [each.text for each in draw_points(None).iter(f"{SVG}text")]
