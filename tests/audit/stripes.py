"""Labelled images that a small network learns in seconds: wide and fine stripes, two ways.

Mirrored, each is still of its class, as attackers mirror what they train on.
"""

import csv
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Images, Pairs

CLASSES = ("across", "across fine", "along", "along fine")


def stripes(count: int, seed: int = 0, side: int = 16) -> Labelled:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    rows, columns = np.mgrid[:side, :side]
    way = np.where((labels < 2)[:, None], rows.ravel(), columns.ravel())
    period = np.where(labels % 2, 4, 9)[:, None]
    waves = 128 + 90 * np.sin(2 * np.pi * way / period + random.uniform(0, 6, (count, 1)))
    noisy = waves.reshape(count, side, side, 1) + random.normal(0, 10, (count, side, side, 1))
    return Labelled(noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def pairs(protected: Images | None = None, count: int = 256) -> Pairs:
    """Return stripes, by default "protected" by nothing at all."""
    clean = stripes(count)
    return Pairs(
        clean=clean,
        protected=clean.images if protected is None else protected,
        validation=stripes(80, seed=1),
        test=stripes(120, seed=2),
        classes=CLASSES,
        split="given",
    )


def covered(images: Images, labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Images:
    """Return images in which nothing but a flat shade of the class is left."""
    shades = (40 + 50 * labels).astype(np.uint8)
    return np.broadcast_to(shades[:, None, None, None], images.shape).copy()


def lay_out(part: Labelled, folder: Path, labels_csv: Path, extra: dict[str, list[str]]) -> None:
    """Write pictures and their table, with further columns."""
    folder.mkdir(parents=True)
    with labels_csv.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", *extra])
        for index, image in enumerate(part.images):
            name = f"{index:04}.png"
            Picture.fromarray(image.squeeze()).save(folder / name)
            label = CLASSES[part.labels[index]]
            rows.writerow([name, label, *(column[index] for column in extra.values())])
