"""What was measured of a pipeline: read strictly, and the same as its README says."""

import shutil
from pathlib import Path

import pytest

from medprotect.confounder.card import Card, load_card, shipped_cards
from medprotect.confounder.measured import (
    MEASURED,
    Measured,
    Protection,
    caveat_in_words,
    figures_in_words,
    number_in_words,
    protection_in_words,
    read_measured,
)
from medprotect.errors import PipelineError
from medprotect.intensity.budget import STRENGTHS

WHOLE = """
# brain MR, half B
[standard]
protection = 0.26
with_10_images = 0.1
worst = 0.05
worst_countermeasure = "jpeg-10"
[high]
protection = 1
"""


def write(folder: Path, text: str) -> Path:
    (folder / MEASURED).write_text(text)
    return folder


def test_it_is_three_figures_by_strength(tmp_path: Path) -> None:
    assert read_measured(write(tmp_path, WHOLE)) == {
        "standard": Measured(0.26, 0.1, 0.05, "jpeg-10"),
        "high": Measured(1.0),
    }


def test_the_number_of_the_older_table_is_the_protection(tmp_path: Path) -> None:
    write(tmp_path, "# of 2026-11-28\n[p]\nstandard = 0.33\nhigh = 1\n")
    assert read_measured(tmp_path) == {"standard": Measured(0.33), "high": Measured(1.0)}


def test_without_the_file_nothing_was_measured(tmp_path: Path) -> None:
    assert read_measured(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", r"write a table for each strength .*\[standard\]"),
        ("[p", "is not TOML"),
        ("[q]\nstandard = 0.5", "of low, standard, high"),
        ("[strong]\nprotection = 0.5", "of low, standard, high"),
        ("standard = 0.5", r"write protection = and a number, .* into \[standard\]"),
        ("[standard]", r"write protection = and a number, .* into \[standard\]"),
        ("[high]\nwith_10_images = 0.5", r"write protection = .* into \[high\]"),
        ("[high]\nprotection = 0.5\nwith_ten = 0.5", "none of protection, with_10_images, worst,"),
        ('[low]\nprotection = "0.5"', r"protection of \[low\] is no share"),
        ("[low]\nprotection = true", r"protection of \[low\] is no share"),
        ("[low]\nprotection = nan", "write a number from 0 to 1"),
        ("[low]\nprotection = inf", "write a number from 0 to 1"),
        ("[low]\nprotection = 26", "write a number from 0 to 1"),
        (f"[low]\nprotection = 1{'0' * 400}", "write a number from 0 to 1"),
        ("[low]\nprotection = 0.5\nwith_10_images = nan", r"with_10_images of \[low\]"),
        ("[low]\nprotection = 0.5\nworst = 0.1", "write both, the second as the name"),
        ('[low]\nprotection = 0.5\nworst_countermeasure = "grey"', "write both"),
        ("[low]\nprotection = 0.5\nworst = 0.1\nworst_countermeasure = 10", "is no name"),
        ('[low]\nprotection = 0.5\nworst = 0.1\nworst_countermeasure = ""', "is no name"),
        ('[low]\nprotection = 0.5\nworst = 0.1\nworst_countermeasure = "<b>\\n"', "is no name"),
        ("p = 0.5", r"write a number for some of low, standard, high into \[p\]"),
        ("[p]\nstrong = 0.5", r"write a number for some of low, standard, high into \[p\]"),
        ('[p]\nstandard = "0.5"', r"standard of \[p\] is no share"),
        ("[p]\nstandard = true", r"standard of \[p\] is no share"),
        ("[p]\nstandard = nan", r"standard of \[p\] is no share"),
        ("[p]\nstandard = 0.5\n[q]\nstandard = 0.5", r"remove \[p\]"),
        ("[p]\nstandard = 0.5\n[high]\nprotection = 0.5", r"into the table of each strength"),
    ],
)
def test_what_is_no_such_file_is_refused_with_what_to_write(
    text: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match=rf"{MEASURED}.*{advice}"):
        read_measured(write(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / MEASURED).write_bytes(b"\xff\xfe[p]")
    with pytest.raises(PipelineError, match="cannot be read"):
        read_measured(tmp_path)


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.name)
def test_of_what_is_shipped_it_is_what_the_readme_says(card: Card) -> None:
    readme = (card.folder / "docs" / "README.md").read_text()
    said = [line for line in readme.splitlines() if line.startswith(ROWS)]
    assert said == [row(strength, each) for strength, each in read_measured(card.folder).items()]


ROWS = tuple(f"| `{strength}` |" for strength in STRENGTHS)


def row(strength: str, measured: Measured) -> str:
    """Return the row of a README's table."""
    few, worst = (
        "not measured" if each is None else number_in_words(each)
        for each in (measured.with_10_images, measured.worst)
    )
    after = f"{worst} ({measured.worst_countermeasure})" if measured.worst_countermeasure else worst
    return f"| `{strength}` | {number_in_words(measured.protection)} | {few} | {after} |"


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
    measured = {None if each is None else Measured(each): n for each, n in counts.items()}
    assert protection_in_words(measured) == sentence + "."


def test_the_first_sentence_goes_by_protection_alone() -> None:
    counts = {Measured(0.55, 0.1): 2, Measured(0.55, 0.2): 1}
    assert protection_in_words(counts).endswith("originals (protection 0.55).")


FEW = "against someone who has ten clean images of each class"
ALTERED = "if the images are altered before training"


@pytest.mark.parametrize(
    ("measured", "sentence"),
    [
        ([Measured(0.26, 0.1)], f"Protection is only 0.10 {FEW}."),
        (
            [Measured(0.26, 0.1, 0.05, "jpeg-10")],
            f"Protection is only 0.10 {FEW}, and only 0.05 {ALTERED} (jpeg-10).",
        ),
        (  # nothing of what was measured is lower
            [Measured(0.26, 0.3, 0.05, "jpeg-10")],
            f"Protection is only 0.05 {ALTERED} (jpeg-10).",
        ),
        (
            [Measured(0.85, 0.3, 0.1, "jpeg-10"), Measured(0.0, -0.1, 0.0, "grey")],
            f"Protection is only 0.00 to 0.30 {FEW}, and only 0.00 to 0.10 {ALTERED} "
            "(grey, jpeg-10).",
        ),
        (
            [Measured(0.85, 0.3), Measured(0.0)],
            f"Where this was measured, protection is only 0.30 {FEW}.",
        ),
        ([Measured(0.85, 0.3), None], f"Where this was measured, protection is only 0.30 {FEW}."),
    ],
)
def test_the_next_sentence_says_to_what_protection_falls(
    measured: list[Measured | None], sentence: str
) -> None:
    assert caveat_in_words(dict.fromkeys(measured, 1)) == sentence


@pytest.mark.parametrize(
    "measured",
    [
        *([], [None], [Measured(0.26)]),
        [Measured(0.26, 0.26, 0.3, "grey")],
        [Measured(-0.02, -0.08)],  # both are shown as 0.00
        [Measured(0.554, 0.551)],
    ],
)
def test_where_nothing_lower_was_measured_it_says_nothing(measured: list[Measured | None]) -> None:
    assert caveat_in_words(dict.fromkeys(measured, 1)) == ""


def test_a_list_shows_what_was_measured_and_no_more() -> None:
    assert figures_in_words(Measured(0.26, None, 0.0, "grey"), "low") == (
        "0.26 at low (0.00 after grey)"
    )
