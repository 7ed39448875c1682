"""Lay out a data set for `medprotect train`: ``python -m medprotect.audit.medmnist SOURCE OUT``.

SOURCE is a MedMNIST file (npz) or a folder with one folder of pictures a class. OUT gets
``images/*.png`` and, for each part of `Halves`, ``labels-<part>.csv`` with columns file, label.
"""

import argparse
import csv
from dataclasses import fields
from pathlib import Path

from PIL import Image as Picture

from medprotect.audit.halves import Halves, Labelled, read_halves


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


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    lay_out(read_halves(arguments.source), arguments.out)


if __name__ == "__main__":
    main()
