"""Cards: strict to read, and read again as written."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.confounder.card import (
    GAIN,
    SLOTS,
    Card,
    Codes,
    Images,
    Noise,
    Training,
    Weights,
    Widths,
    format_card,
    load_card,
    parse_card,
    shipped_cards,
)
from medprotect.errors import PipelineError

CARD = Card(
    name="a-pipeline",
    title='Title with "quotes", \\ and ümlaut\n\x7f',
    version="1",
    images=Images(
        modalities=("CT", ""),
        photometrics=("MONOCHROME2",),
        experimental=("CT",),
        channels=1,
        canonical_size=128,
        assigner_size=64,
    ),
    codes=Codes(classes=("a", "b"), decoys=False, temperature=0.75),
    widths=Widths(generator=8, assigner=16),
    training=Training(data="some", strength=8 / 255, steps=3, seed=4, date="2026-11-23"),
    weights=Weights(sha256="0f" * 32),
    figures={"assigner_balanced_accuracy": 0.5},
)
TEXT = format_card(CARD)


def parse(text: str) -> Card:
    return parse_card(text.encode(), Path("folder"))


def test_a_card_reads_as_it_was_written() -> None:
    read = parse(TEXT)
    assert replace(read, sha256="", folder=Path()) == CARD
    assert read.weights_path == Path("folder/models/generator.safetensors")


def test_a_card_without_a_table_of_the_noise_gives_it_as_it_was_trained() -> None:
    older = re.sub(r"\[noise\]\n(.+\n)+\n", "", TEXT)
    assert older != TEXT
    assert parse(older).noise == Noise(gain=GAIN)


def test_an_unknown_entry_is_refused_and_the_near_one_suggested() -> None:
    with pytest.raises(PipelineError, match="Did you mean 'modalities'"):
        parse(TEXT.replace("modalities", "modalites"))
    with pytest.raises(PipelineError, match=r"Unknown entry 'title2'.*'title'"):
        parse('title2 = "x"\n' + TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("format = 1", "format = 2"),
        ("format = 1\n", ""),
        ('name = "a-pipeline"', 'name = "../etc"'),
        ('name = "a-pipeline"', "name = 3"),
        ('version = "1"\n', ""),
        ("channels = 1", "channels = 2"),
        ("channels = 1", "channels = true"),
        ("channels = 1", 'channels = "1"'),
        ("canonical_size = 128", "canonical_size = 1e2"),
        ("canonical_size = 128", "canonical_size = 100000"),
        ("assigner_size = 64", "assigner_size = 0"),
        ("gain = 2.0", "gain = 0.0"),
        ("gain = 2.0", "gain = inf"),
        ('modalities = ["CT", ""]', "modalities = []"),
        ('modalities = ["CT", ""]', 'modalities = ["CT", 1]'),
        ('modalities = ["CT", ""]', 'modalities = "CT"'),
        ('experimental = ["CT"]', 'experimental = ["MR"]'),
        ('classes = ["a", "b"]', 'classes = ["a"]'),
        ('classes = ["a", "b"]', 'classes = ["a", "a"]'),
        ("temperature = 0.75", "temperature = 0.0"),
        ("temperature = 0.75", "temperature = nan"),
        ("decoys = false", "decoys = 0"),
        ("generator = 8", "generator = 100000"),
        ("0f0f", "0F0F"),
        ("0f0f", "0f"),
        ("models/generator.safetensors", "../generator.safetensors"),
        ("models/generator.safetensors", "/etc/passwd"),
        ("assigner_balanced_accuracy = 0.5", 'assigner_balanced_accuracy = "high"'),
        ("[codes]", "[codes"),
    ],
)
def test_a_value_that_cannot_be_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(PipelineError):
        parse(TEXT.replace(old, new, 1))


def test_a_card_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(PipelineError):
        parse_card(b"\xff\xfe", Path())


def test_a_number_without_a_point_serves_as_a_float() -> None:
    assert parse(TEXT.replace("temperature = 0.75", "temperature = 1")).codes.temperature == 1.0


def test_the_identity_follows_every_byte_of_card_and_weights() -> None:
    identity = parse(TEXT).pipeline_sha256
    assert identity == parse(TEXT).pipeline_sha256
    assert identity != parse(TEXT.replace("0f0f", "0e0f", 1)).pipeline_sha256
    assert identity != parse(TEXT.replace("0.75", "0.76")).pipeline_sha256


def test_the_identity_does_not_follow_where_the_card_lies() -> None:
    other = parse_card(TEXT.encode(), Path("elsewhere"))
    assert other.pipeline_sha256 == parse(TEXT).pipeline_sha256


def test_a_folder_with_a_card_is_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(TEXT, encoding="utf-8")
    assert load_card(tmp_path).name == "a-pipeline"
    assert load_card(str(tmp_path)).name == "a-pipeline"


@pytest.mark.parametrize("name", ["no-such", "../pipelines", "", "."])
def test_a_pipeline_that_is_not_there_names_those_that_are(name: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="blood-microscopy"):
        load_card(str(tmp_path / name))


def test_a_card_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_bytes(b"#" * 10_000_000)
    with pytest.raises(PipelineError, match="larger"):
        load_card(tmp_path)


def test_a_pipeline_is_shipped_for_colour_and_for_each_grey_modality() -> None:
    cards = {card.name: card for card in shipped_cards()}
    assert {name: card.images.channels for name, card in cards.items()} == {
        "blood-microscopy": 3,
        "chest-x-ray": 1,
        "ct": 1,
        "labels-colour": 3,
        "labels-ct": 1,
        "labels-grey": 1,
        "labels-mr": 1,
        "labels-radiograph": 1,
        "labels-ultrasound": 1,
        "mr": 1,
        "radiology-grey": 1,
        "ultrasound": 1,
    }
    for name, card in cards.items():
        assert load_card(name) == card
        assert card.folder.name == name


def test_shipped_weights_are_small_and_those_of_their_cards() -> None:
    import hashlib

    for card in shipped_cards():
        data = card.weights_path.read_bytes()
        assert len(data) < 2_000_000
        assert hashlib.sha256(data).hexdigest() == card.weights.sha256


def test_weights_trained_on_mednist_carry_its_licence_and_attribution() -> None:
    ours = [card for card in shipped_cards() if card.training.data == "MedNIST"]
    assert {card.name for card in ours} == {"mr", "radiology-grey"}
    for card in ours:
        assert card.training.licence == "CC BY-SA 4.0"
        text = (card.folder / "docs" / "data_license.txt").read_text()
        assert "CC BY-SA 4.0" in text
        assert "Erickson" in text
        assert (
            "CC BY-SA 4.0, and so are these weights"
            in (card.folder / "docs" / "README.md").read_text()
        )


def test_shipped_pipelines_state_origin_licence_and_command() -> None:
    for card in shipped_cards():
        command = card.training.command
        assert command in (card.folder / "docs" / "README.md").read_text()
        if card.codes.source == SLOTS:
            assert command == "python -m medprotect.training.slots pipelines"
            continue
        assert card.training.data
        assert "CC BY" in card.training.licence
        assert card.training.attribution
        assert "medprotect train" in command


def test_cards_and_keys_are_read_without_torch() -> None:
    code = (
        "import sys, medprotect.confounder.key; from medprotect.confounder import card;"
        "card.shipped_cards(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
