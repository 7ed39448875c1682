"""Lay a data set out for training.

``python -m medprotect.bench.studies.medmnist DATASET SOURCE OUT``.

DATASET names a card of ``medprotect.datasets`` (``bloodmnist`` and others). SOURCE is a MedMNIST
file (npz) or a folder with one folder of pictures a class; a folder with ``split.csv`` need not be
laid out, as ``medprotect train FOLDER --half a`` learns from the same half. OUT gets
``images/*.png`` and, for each part of `Halves`, ``labels-<part>.csv`` with columns file, label; the
card lies beside them as ``dataset.toml``.
"""

import csv
import tomllib
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image as Picture

from medprotect.audit.halves import Halves, Labelled, read_halves
from medprotect.bench import options
from medprotect.errors import ConfigError


def lay_out(halves: Halves, out: Path) -> None:
    """Write pictures and labels below `out`, which must not exist."""
    (out / "images").mkdir(parents=True)
    for entry in fields(Halves):
        part = getattr(halves, entry.name)
        if isinstance(part, Labelled):
            _lay_out_part(part, entry.name, halves.classes, out)


def _lay_out_part(part: Labelled, name: str, classes: tuple[str, ...], out: Path) -> None:
    with (out / f"labels-{name}.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label"])
        for index, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
            file = f"{name}-{index:05d}.png"
            Picture.fromarray(image.squeeze()).save(out / "images" / file)
            rows.writerow([file, classes[label]])


def read_card(dataset: str) -> str:
    """Return the text of a data set's card.

    Raises
    ------
    ConfigError
        There is no such card.
    """
    cards = {path.name: path for path in files("medprotect.datasets").iterdir()}
    if f"{dataset}.toml" not in cards:
        names = sorted(name.removesuffix(".toml") for name in cards if name.endswith(".toml"))
        raise ConfigError(f"There is no data set card {dataset!r}; there are {', '.join(names)}.")
    return cards[f"{dataset}.toml"].read_text(encoding="utf-8")


def name_classes(card: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the card for the classes found, as many, in the same order."""
    named = tuple(tomllib.loads(card)["classes"])
    if len(named) != len(found):
        raise ConfigError(f"The card names {len(named)} classes; the source has {len(found)}.")
    return named


def main(
    dataset: Annotated[str, typer.Argument(help="Name of its card: bloodmnist, busi ...")],
    source: Annotated[Path, typer.Argument(help="A MedMNIST file (npz), or a folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for pictures and labels, a new one.")],
) -> None:
    """Lay a data set out for training: pictures, labels of each part, and its card."""
    card = read_card(dataset)
    halves = read_halves(source)
    lay_out(replace(halves, classes=name_classes(card, halves.classes)), out)
    (out / "dataset.toml").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    options.run(main)
