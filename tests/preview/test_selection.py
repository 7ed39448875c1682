"""Which images are shown: a few of each series, of every kind some, under no personal name."""

from dataclasses import replace

import pytest

from medprotect.imaging.image import Traits
from medprotect.plan.plan import Action, Row
from medprotect.preview.selection import MOST_SERIES, Series, choose_series, find_series
from medprotect.protect.journal import Entry, Outcome
from medprotect.scan.walk import Found


def entry(path: str, series: str = "", modality: str = "CT", images: int = 1) -> Entry:
    traits = Traits("dicom", modality=modality, rows=512, columns=512, images=images)
    return Entry(Row(Found(path), Action.PROTECT, series=series, traits=traits))


def numbers(series: Series) -> list[int]:
    return [place.number for place in series.places]


@pytest.mark.parametrize(
    ("images", "expected"),
    [(1, [6]), (2, [1, 11]), (3, [1, 6, 11]), (4, [1, 4, 7, 11]), (50, [*range(1, 12)])],
)
def test_first_middle_and_last_of_a_series_are_shown(images: int, expected: list[int]) -> None:
    entries = [entry(f"{number:02}", "a") for number in range(11)]
    (series,) = find_series(entries, images)
    assert numbers(series) == expected
    assert [place.path for place in series.places] == [f"{each - 1:02}" for each in expected]
    assert series.images == 11


def test_of_a_file_with_many_images_some_are_shown() -> None:
    (series,) = find_series([entry("loop", images=27)], 3)
    assert [(place.path, place.frame) for place in series.places] == [
        ("loop", 0),
        ("loop", 13),
        ("loop", 26),
    ]


def test_a_series_of_files_with_many_images_is_counted_through() -> None:
    (series,) = find_series([entry("a", "x", images=3), entry("b", "x", images=2)], 3)
    assert [(place.path, place.frame) for place in series.places] == [("a", 0), ("a", 2), ("b", 1)]


def test_single_images_of_one_folder_are_taken_together() -> None:
    found = find_series([entry("a/1"), entry("a/2"), entry("b/1")], 3)
    assert [series.images for series in found] == [2, 1]


def test_series_go_by_modality_and_a_number() -> None:
    paths = [("Roe/1", "u", "MR"), ("Roe/2", "v", "CT"), ("Roe/3", "w", "MR")]
    found = find_series([entry(*each) for each in paths], 3)
    assert [series.name for series in found] == ["CT", "MR, series 1", "MR, series 2"]


def test_a_series_of_which_a_file_is_rejected_is_shown_and_said_to_be_torn() -> None:
    broken = replace(
        entry("b", "x"), outcome=Outcome.REJECTED, row=replace(entry("b", "x").row, action="reject")
    )
    found = find_series([entry("a", "x"), broken, entry("c", "y")], 3)
    assert [series.is_torn for series in found] == [True, False]


def test_where_there_is_little_room_every_kind_comes_before_a_second_of_any() -> None:
    entries = [entry(f"ct{number}", f"ct{number}", "CT") for number in range(20)]
    entries += [entry("mr", "mr", "MR"), entry("cr", "cr", "CR")]
    found = find_series(entries, 3)
    room = sum({series.kind: series.about_bytes for series in found}.values())
    chosen = choose_series(found, room)
    assert [series.kind for series in chosen] == ["CR", "CT", "MR"]


def test_one_series_is_shown_whatever_its_size() -> None:
    assert len(choose_series(find_series([entry("a")], 3), 1.0)) == 1


def test_of_very_many_small_series_a_page_shows_a_bounded_number() -> None:
    found = find_series([entry(f"{n:03}", f"{n}") for n in range(200)], 1)
    tiny = [replace(series, about_bytes=1.0) for series in found]
    assert len(choose_series(tiny)) == MOST_SERIES
