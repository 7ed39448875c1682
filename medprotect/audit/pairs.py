"""Clean and protected images of two folders, with their labels, as victims see them."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medprotect.audit.halves import Labelled
from medprotect.confounder.assigning import Progress
from medprotect.confounder.dataset import STAGE
from medprotect.confounder.noise import shrink
from medprotect.errors import ConfigError, InputError, MedprotectError
from medprotect.imaging import formats
from medprotect.imaging.image import Window
from medprotect.imaging.pairs import read_content
from medprotect.intensity.windows import present, view

Images = NDArray[np.uint8]

SPLITS = ("train", "validation", "test")
SHARES = (0.6, 0.2, 0.2)
COLUMNS = frozenset({"file", "label", "patient", "split"})


@dataclass(frozen=True, slots=True)
class Pairs:
    """A data set, clean and protected, in three parts that share no patient.

    Attributes
    ----------
    clean, validation, test : Labelled
        Clean images; `clean` is what the victims would train on without protection.
    protected : NDArray of uint8
        The same images as `clean`, protected.
    patients : NDArray of int64, optional
        The patient of each test image, where patients are known.
    classes : tuple of str
        Their names.
    split : str
        How the parts came to be: ``given``, ``patient-wise`` or ``by image``.
    left_out : int
        Images for training that are not among the protected ones, as a run rejects some; they are
        not in `clean` either.
    """

    clean: Labelled
    protected: Images
    validation: Labelled
    test: Labelled
    patients: NDArray[np.int64] | None
    classes: tuple[str, ...]
    split: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    label: str
    patient: str
    split: str
    line: int


def read_pairs(
    clean: Path,
    protected: Path,
    labels_csv: Path,
    size: int,
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
    labels_csv : Path
        Columns ``file`` (relative to `clean`), ``label``, and where known ``patient`` and ``split``
        (train, validation or test).
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
        The table or the images cannot be used, or more than half of the images for training are
        not among the protected ones: then these are of another export.
    """
    rows = _read_table(labels_csv)
    parts, split = _part(rows, seed)
    classes = tuple(sorted({row.label for row in rows}))
    if len(classes) < 2:
        raise ConfigError("The labels file names one class; an audit needs two or more.")
    there, left_out = _find_protected(protected, parts["train"])
    parts["train"] = [row for row, _ in there]

    count = len(there) + sum(map(len, parts.values()))
    numbers = iter(range(1, count + 1))

    def look(folder: Path, row: _Row, name: str) -> Images:
        image = _read(folder, row, name, size, window)
        progress(STAGE, next(numbers), count, {})
        return image

    read = {name: [look(clean, row, row.file) for row in parts[name]] for name in SPLITS}
    noisy = [look(protected, row, name) for row, name in there]
    every = [image for images in (*read.values(), noisy) for image in images]
    if len({image.shape[2] for image in every}) > 1:
        raise ConfigError("Grey and colour images are mixed; audit each by itself.")
    side = max(max(image.shape[:2]) for image in every)

    def stack(images: list[Images]) -> Images:
        return np.stack([_to_square(image, side) for image in images])

    def labelled(name: str) -> Labelled:
        labels = np.array([classes.index(row.label) for row in parts[name]], dtype=np.int64)
        return Labelled(stack(read[name]), labels)

    return Pairs(
        clean=labelled("train"),
        protected=stack(noisy),
        validation=labelled("validation"),
        test=labelled("test"),
        patients=_patients(parts["test"]),
        classes=classes,
        split=split,
        left_out=left_out,
    )


def _read_table(labels_csv: Path) -> list[_Row]:
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, strict=True)
            names = set(table.fieldnames or ())
            if not {"file", "label"} <= names <= COLUMNS:
                raise ConfigError(
                    "The labels file needs the columns file, label; patient, split may follow."
                )
            rows = [
                _Row(
                    row["file"] or "",
                    row["label"] or "",
                    row.get("patient") or "",
                    row.get("split") or "",
                    table.line_num,
                )
                for row in table
            ]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ConfigError("The labels file cannot be read as a CSV table in UTF-8.") from None
    for row in rows:
        if not row.file or not row.label or (row.split and row.split not in SPLITS):
            raise ConfigError(
                f"Line {row.line} of the labels file lacks a file or a label, or its split is "
                "none of train, validation, test."
            )
    return rows


def _part(rows: list[_Row], seed: int) -> tuple[dict[str, list[_Row]], str]:
    """Part the rows: as given, else by patient, else by image, so that each class is in each."""
    if all(row.split for row in rows):
        parts = {name: [row for row in rows if row.split == name] for name in SPLITS}
        _refuse_shared_patients(parts)
        split = "given"
    else:
        known = all(row.patient for row in rows)
        parts, split = _draw(rows, seed, known), "patient-wise" if known else "by image"
    if not all(parts.values()):
        raise ConfigError("Too few images: training, validation and test each need some.")
    return parts, split


def _draw(rows: list[_Row], seed: int, by_patient: bool) -> dict[str, list[_Row]]:
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.patient if by_patient else row.file, []).append(row)
    strata: dict[str, list[list[_Row]]] = {}
    for group in groups.values():
        strata.setdefault(group[0].label, []).append(group)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[_Row]] = {name: [] for name in SPLITS}
    for label in sorted(strata):
        order = rng.permutation(len(strata[label]))
        ends = np.cumsum(np.array(SHARES) * len(order)).round()
        for place, index in enumerate(order):
            name = SPLITS[int(np.searchsorted(ends, place, side="right"))]
            parts[name] += strata[label][index]
    return parts


def _refuse_shared_patients(parts: dict[str, list[_Row]]) -> None:
    seen: dict[str, str] = {}
    for name, rows in parts.items():
        for row in rows:
            if row.patient and seen.setdefault(row.patient, name) != name:
                raise ConfigError(
                    f"The patient in line {row.line} of the labels file is in two parts of the "
                    "split: what is learned of a patient would be tested on the same."
                )


def _patients(rows: list[_Row]) -> NDArray[np.int64] | None:
    if not all(row.patient for row in rows):
        return None
    names = sorted({row.patient for row in rows})
    return np.array([names.index(row.patient) for row in rows], dtype=np.int64)


def _find_protected(protected: Path, rows: list[_Row]) -> tuple[list[tuple[_Row, str]], int]:
    """Return the rows whose image is in OUT, with its name there, and the number of others."""
    named = [(row, _protected_name(protected, row)) for row in rows]
    there = [(row, name) for row, name in named if name is not None]
    missing = [row.line for row, name in named if name is None]
    if len(missing) > len(there):
        raise ConfigError(
            f"{len(missing)} of {len(rows)} images for training are not among the protected ones, "
            f"that in line {missing[0]} of the labels file first: are these of another export?"
        )
    return there, len(missing)


def _protected_name(protected: Path, row: _Row) -> str | None:
    """Return the name in OUT: a lossy image went out lossless, under a longer name."""
    names = (row.file, f"{row.file}.png")
    return next((name for name in names if (protected / name).is_file()), None)


def _read(folder: Path, row: _Row, name: str, size: int, window: Window | None) -> Images:
    path = folder / name
    try:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise OSError
        images = list(formats.open_file(read_content(path)).images())
        if len(images) != 1:
            raise ConfigError(
                f"The file in line {row.line} of the labels file holds several images; an audit "
                "takes one a file."
            )
    except (OSError, InputError) as error:
        reason = error.slug if isinstance(error, MedprotectError) else "unreadable"
        raise ConfigError(
            f"The file in line {row.line} of the labels file cannot be audited: {reason}."
        ) from None
    seen = view(images[0])
    if window is not None:
        seen = replace(seen, windows=(window,))
    presented = np.ascontiguousarray(present(seen))
    tensor = shrink(torch.from_numpy(presented).permute(2, 0, 1)[None], size)
    result: Images = (tensor[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return result


def _to_square(image: Images, side: int) -> Images:
    height, width = image.shape[:2]
    plane = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    padded = functional.pad(plane, (0, side - width, 0, side - height), mode="replicate")
    result: Images = padded[0].permute(1, 2, 0).byte().numpy()
    return result
