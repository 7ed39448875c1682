"""Data sets laid out for training, and their cards."""

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import coins

from medprotect.audit.halves import read_halves
from medprotect.bench.studies import medmnist
from medprotect.errors import ConfigError

from ...audit.test_halves import class_folders

CARDS = sorted(path.stem for path in (Path(__file__).parents[3] / "datasets").glob("*.toml"))


def test_a_data_set_is_laid_out_for_training(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "set")
    for extra in "cdef":
        (source / extra).mkdir()
        Image.fromarray(coins()[:12, :12]).save(source / extra / "0.png")
    out = tmp_path / "out"
    medmnist.main("mednist", source, out)
    tables = {}
    for table in out.glob("labels-*.csv"):
        with table.open(newline="") as stream:
            tables[table.name] = list(csv.DictReader(stream))
    assert {row["label"] for rows in tables.values() for row in rows} == set(
        tomllib.loads((out / "dataset.toml").read_text())["classes"]
    )
    halves = read_halves(source)
    for row, image in zip(tables["labels-a.csv"], halves.a.images, strict=True):
        with Image.open(out / "images" / row["file"]) as picture:
            assert np.array_equal(np.asarray(picture), image[..., 0])


def test_an_unknown_data_set_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=", ".join(CARDS)):
        medmnist.read_card("nothing")


def test_a_card_of_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="8 classes"):
        medmnist.name_classes(medmnist.read_card("bloodmnist"), ("0", "1"))


@pytest.mark.parametrize("dataset", CARDS)
def test_every_card_states_origin_licence_and_split(dataset: str) -> None:
    card = tomllib.loads(medmnist.read_card(dataset))
    for entry in ("name", "source", "licence", "attribution", "citation", "split", "get"):
        assert card[entry]
    assert list(card["classes"]) == sorted(card["classes"])
