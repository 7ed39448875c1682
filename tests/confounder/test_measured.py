"""What was measured of a pipeline: read strictly, and the same as its README says."""

import shutil
from pathlib import Path

import pytest

from medprotect.confounder.card import Card, load_card, shipped_cards
from medprotect.confounder.measured import (
    MEASURED,
    Protection,
    measured_protection,
    number_in_words,
    protection_in_words,
)
from medprotect.errors import PipelineError


def test_it_is_p_by_strength(tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_text("# of 2026-11-28\n[p]\nstandard = 0.33\nhigh = 1\n")
    assert measured_protection(tmp_path) == {"standard": 0.33, "high": 1.0}


def test_without_the_file_nothing_was_measured(tmp_path: Path) -> None:
    assert measured_protection(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[p",
        "p = 0.5",
        "[q]\nstandard = 0.5",
        "[p]\nstrong = 0.5",
        '[p]\nstandard = "0.5"',
        "[p]\nstandard = true",
        "[p]\nstandard = nan",
        "[p]\nstandard = 0.5\n[q]\nstandard = 0.5",
    ],
)
def test_what_is_no_such_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_text(text)
    with pytest.raises(PipelineError, match=MEASURED):
        measured_protection(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_bytes(b"\xff\xfe[p]")
    with pytest.raises(PipelineError, match="cannot be read"):
        measured_protection(tmp_path)


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.name)
def test_of_what_is_shipped_it_is_what_the_readme_says(card: Card) -> None:
    readme = (card.folder / "docs" / "README.md").read_text()
    for p in measured_protection(card.folder).values():
        assert f"{p:.2f}" in readme


def test_it_changes_neither_the_noise_nor_the_identity(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    shutil.copytree(load_card("ct").folder, folder)
    (folder / MEASURED).unlink()
    assert load_card(folder).pipeline_sha256 == load_card("ct").pipeline_sha256


@pytest.mark.parametrize(
    ("protection", "word"),
    [(1.0, "protected"), (0.5, "protected"), (0.49, "weak"), (-0.08, "weak"), (None, "unmeasured")],
)
def test_from_a_half_on_an_image_is_protected(protection: float | None, word: str) -> None:
    assert Protection.of(protection).value == word


def test_below_nothing_there_is_nothing_to_learn() -> None:
    assert number_in_words(-0.08) == "0.00"
    assert number_in_words(0.26, -0.08, 0.12) == "0.00 to 0.26"


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (
            {0.0: 5},
            "A model still learns as much from these files as from the originals (protection 0.00)",
        ),
        (
            {0.26: 1},
            "A model still learns more than half as much from this file as from the originals "
            "(protection 0.26)",
        ),
        (
            {0.85: 2, 0.5: 1},
            "A model learns at most half as much from these files as from the originals "
            "(protection 0.50 to 0.85)",
        ),
        ({None: 3}, "Nobody has measured what a model still learns from these files"),
        (
            {0.55: 4, None: 1, -0.08: 1000, 0.26: 1},
            "A model still learns as much from 1,000 of 1,006 files as from the originals "
            "(protection 0.00); 1 more is weak (0.26); 1 is unmeasured; 4 are protected (0.55)",
        ),
        (
            {0.26: 1, 0.55: 3},
            "A model still learns more than half as much from 1 of 4 files as from the originals "
            "(protection 0.26); 3 are protected (0.55)",
        ),
    ],
)
def test_one_sentence_says_the_worst_first(counts: dict[float | None, int], sentence: str) -> None:
    assert protection_in_words(counts) == sentence + "."
