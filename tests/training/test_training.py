"""Which images of a folder a training learns from; those of other splits it does not open."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.confounder.labels import LabelledFile, choose_training, read_table
from medprotect.errors import ConfigError
from medprotect.training.training import train_pipeline


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixteen pictures for training, two a group, and four others; the table is in the folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    shades = np.random.default_rng(0).integers(0, 256, (20, 12, 12), np.uint8)
    with (folder / "split.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "split", "group"])
        for at, picture in enumerate(shades):
            Picture.fromarray(picture).save(folder / f"{at}.png")
            split = "train" if at < 16 else "val" if at < 18 else "test"
            rows.writerow(
                [f"{at}.png", ("low", "high")[at % 2], split, f"{split}{at % 2}-{at // 4}"]
            )
    return folder


def keep(images: Path, rows: list[LabelledFile]) -> None:
    """Delete all pictures but those of the rows."""
    kept = {row.file for row in rows} | {"split.csv"}
    for path in images.iterdir():
        if path.name not in kept:
            path.unlink()


@pytest.mark.parametrize("clusters", [None, 2])
def test_only_split_train_is_learned_from(images: Path, clusters: int | None) -> None:
    told: dict[str, dict[str, float]] = {}
    keep(images, choose_training(read_table(images / "split.csv")))
    card = train_pipeline(
        images,
        None,
        images.parent / "new",
        modality="",
        clusters=clusters,
        steps=1,
        tries=1,
        progress=lambda stage, _step, _steps, figures: told.update({stage: figures}),
    )
    assert card.training.images == 16
    assert told["images to learn from"] == {"not learned from": 4}


@pytest.mark.parametrize("half", ["a", "b"])
def test_a_half_is_learned_from_alone(images: Path, half: str) -> None:
    table = images / "split.csv"
    keep(images, choose_training(read_table(table), half))
    card = train_pipeline(
        images, table, images.parent / "new", modality="", steps=1, tries=1, half=half
    )
    assert card.training.images == 8


def test_a_half_needs_a_table(images: Path) -> None:
    (images / "split.csv").unlink()
    with pytest.raises(ConfigError, match="Halves need a table"):
        train_pipeline(images, None, images.parent / "new", modality="", clusters=2, half="a")


@pytest.mark.parametrize("place", ["images", "."])
def test_data_and_licence_are_of_the_card_beside_the_table_or_the_folder(
    images: Path, place: str
) -> None:
    card = images.parent / place / "dataset.toml"
    card.write_text('name = "Set"\nlicence = "CC0"\nattribution = "Someone"\n')
    made = train_pipeline(images, None, images.parent / "new", modality="", steps=1, tries=1)
    assert (made.training.data, made.training.licence) == ("Set", "CC0")
