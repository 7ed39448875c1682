"""Clean and protected images of two folders, with their labels, as victims see them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medprotect.audit.halves import Labelled
from medprotect.confounder.labels import (
    SPLITS,
    LabelledFile,
    find_table,
    name_classes,
    number_groups,
    part_by_split,
    read_table,
)
from medprotect.confounder.noise import shrink
from medprotect.errors import ConfigError, InputError, MedprotectError
from medprotect.imaging import formats
from medprotect.imaging.image import Window
from medprotect.imaging.pairs import read_content
from medprotect.intensity.windows import present, view
from medprotect.training.assigning import Progress
from medprotect.training.dataset import STAGE

Images = NDArray[np.uint8]

SHARES = (0.6, 0.2, 0.2)
"""Of what is for training, validation and testing, where the table does not say."""

LARGEST = 224
"""Pixels of the long side that victims see at most."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """A data set, clean and protected, in three parts that share no group.

    Attributes
    ----------
    clean, validation, test : Labelled
        Clean images; `clean` is what the victims would train on without protection. Groups, where
        they are known, have one numbering in all three.
    protected : NDArray of uint8
        The same images as `clean`, protected.
    classes : tuple of str
        Their names.
    split : str
        How the parts came to be: ``given``, ``given, by group``, ``patient-wise`` or ``by image``.
    left_out : int
        Images for training that are not among the protected ones, as a run rejects some; they are
        not in `clean` either.
    """

    clean: Labelled
    protected: Images
    validation: Labelled
    test: Labelled
    classes: tuple[str, ...]
    split: str
    left_out: int = 0


def read_pairs(
    clean: Path,
    protected: Path,
    labels_csv: Path | None = None,
    size: int = LARGEST,
    seed: int = 1,
    window: Window | None = None,
    progress: Progress = lambda *_: None,
) -> Pairs:
    """Read what an audit needs.

    Parameters
    ----------
    clean, protected : Path
        The export, and what `medprotect run` wrote of it. Of images for validation and testing only
        the clean ones are read: a victim is judged on clean images.
    labels_csv : Path, optional
        A table of labels, see `medprotect.confounder.labels.read_table`; files are relative to
        `clean`. Else ``split.csv`` in `clean`.
    size : int
        Pixels of the long side at most; all images are brought to one square grid.
    seed : int
        Of the parts, where the table does not name them.
    window : Window, optional
        What victims see the images through; else each by the first of its own windows.
    progress : callable, optional
        Told after each image, clean or protected.

    Raises
    ------
    ConfigError
        There is no table, it or the images cannot be used, or more than half of the images for
        training are not among the protected ones: then these are of another export.
    """
    table = find_table(clean, labels_csv)
    if table is None:
        raise ConfigError(
            "Name a table with --labels (columns file and label), or put one into CLEAN as "
            "split.csv."
        )
    rows = read_table(table)
    classes, groups = name_classes(rows), number_groups(rows)
    parts, split = _part(rows, seed)
    there, left_out = _find_protected(protected, parts["train"])
    parts["train"] = [row for row, _ in there]

    count = len(there) + sum(map(len, parts.values()))
    numbers = iter(range(1, count + 1))

    def look(folder: Path, row: LabelledFile, name: str) -> Images:
        image = _read(folder, row, name, size, window)
        progress(STAGE, next(numbers), count, {})
        return image

    read = {name: [look(clean, row, row.file) for row in parts[name]] for name in SPLITS}
    noisy = [look(protected, row, name) for row, name in there]
    every = [image for images in (*read.values(), noisy) for image in images]
    side = max(max(image.shape[:2]) for image in every)
    channels = max(image.shape[2] for image in every)

    def stack(images: list[Images]) -> Images:
        # Of grey images among colour ones, three channels are alike.
        squares = [_to_square(image, side) for image in images]
        return np.stack([np.broadcast_to(each, (side, side, channels)) for each in squares])

    def labelled(name: str) -> Labelled:
        part = parts[name]
        labels = np.array([classes.index(row.label) for row in part], dtype=np.int64)
        of = np.array([groups[row.group] for row in part], np.int64) if groups else None
        return Labelled(stack(read[name]), labels, of)

    return Pairs(
        clean=labelled("train"),
        protected=stack(noisy),
        validation=labelled("validation"),
        test=labelled("test"),
        classes=classes,
        split=split,
        left_out=left_out,
    )


def _part(rows: Sequence[LabelledFile], seed: int) -> tuple[dict[str, list[LabelledFile]], str]:
    """Part the rows: as given, else by group, else by image, so that each class is in each."""
    if rows[0].split:
        return part_by_split(rows), "given, by group" if rows[0].group else "given"
    parts = _draw(rows, seed)
    if not all(parts.values()):
        raise ConfigError("Too few images: training, validation and test each need some.")
    return parts, "patient-wise" if rows[0].group else "by image"


def _draw(rows: Sequence[LabelledFile], seed: int) -> dict[str, list[LabelledFile]]:
    groups: dict[str, list[LabelledFile]] = {}
    for row in rows:
        groups.setdefault(row.group or row.file, []).append(row)
    strata: dict[str, list[list[LabelledFile]]] = {}
    for group in groups.values():
        strata.setdefault(group[0].label, []).append(group)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[LabelledFile]] = {name: [] for name in SPLITS}
    for label in sorted(strata):
        order = rng.permutation(len(strata[label]))
        ends = np.cumsum(np.array(SHARES) * len(order)).round()
        for place, index in enumerate(order):
            name = SPLITS[int(np.searchsorted(ends, place, side="right"))]
            parts[name] += strata[label][index]
    return parts


def _find_protected(
    protected: Path, rows: list[LabelledFile]
) -> tuple[list[tuple[LabelledFile, str]], int]:
    """Return the rows whose image is in OUT, with its name there, and the number of others."""
    named = [(row, _protected_name(protected, row)) for row in rows]
    there = [(row, name) for row, name in named if name is not None]
    missing = [row.place for row, name in named if name is None]
    if len(missing) > len(there):
        raise ConfigError(
            f"{len(missing)} of {len(rows)} images for training are not among the protected ones, "
            f"that in {missing[0]} first: are these of another export?"
        )
    return there, len(missing)


def _protected_name(protected: Path, row: LabelledFile) -> str | None:
    """Return the name in OUT: a lossy image went out lossless, under a longer name."""
    names = (row.file, f"{row.file}.png")
    return next((name for name in names if (protected / name).is_file()), None)


def _read(folder: Path, row: LabelledFile, name: str, size: int, window: Window | None) -> Images:
    path = folder / name
    try:
        images = list(formats.open_file(read_content(path)).images())
        if len(images) != 1:
            raise ConfigError(
                f"The file in {row.place} holds several images; an audit takes one a file."
            )
    except (OSError, InputError) as error:
        reason = error.slug if isinstance(error, MedprotectError) else "unreadable"
        raise ConfigError(f"The file in {row.place} cannot be audited: {reason}.") from None
    seen = view(images[0])
    if window is not None:
        seen = replace(seen, windows=(window,))
    presented = np.ascontiguousarray(present(seen, grey=images[0].is_grey))
    tensor = shrink(torch.from_numpy(presented).permute(2, 0, 1)[None], size)
    result: Images = (tensor[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return result


def _to_square(image: Images, side: int) -> Images:
    height, width = image.shape[:2]
    plane = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    padded = functional.pad(plane, (0, side - width, 0, side - height), mode="replicate")
    result: Images = padded[0].permute(1, 2, 0).byte().numpy()
    return result
