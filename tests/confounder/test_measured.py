"""What was measured of a pipeline: read strictly, and the same as its README says."""

import shutil
from pathlib import Path

import pytest

from medprotect.confounder.card import Card, load_card, shipped_cards
from medprotect.confounder.measured import MEASURED, measured_p
from medprotect.errors import PipelineError


def test_it_is_p_by_strength(tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_text("# of 2026-11-28\n[p]\nstandard = 0.33\nhigh = 1\n")
    assert measured_p(tmp_path) == {"standard": 0.33, "high": 1.0}


def test_without_the_file_nothing_was_measured(tmp_path: Path) -> None:
    assert measured_p(tmp_path) == {}


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
        measured_p(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_bytes(b"\xff\xfe[p]")
    with pytest.raises(PipelineError, match="cannot be read"):
        measured_p(tmp_path)


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.name)
def test_of_what_is_shipped_it_is_what_the_readme_says(card: Card) -> None:
    readme = (card.folder / "docs" / "README.md").read_text()
    assert "standard" in measured_p(card.folder)
    for p in measured_p(card.folder).values():
        assert f"{p:.2f}" in readme


def test_it_changes_neither_the_noise_nor_the_identity(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    shutil.copytree(load_card("ct").folder, folder)
    (folder / MEASURED).unlink()
    assert load_card(folder).pipeline_sha256 == load_card("ct").pipeline_sha256
