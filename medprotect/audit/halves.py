"""Labelled images in four parts: half A trains a pipeline, half B is protected, the rest tests.

The generator never sees half B, and victims learn from half B alone.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.confounder.labels import (
    TABLE,
    LabelledFile,
    name_classes,
    number_groups,
    part_by_split,
    part_in_halves,
    read_table,
)
from medprotect.errors import ConfigError

COLUMNS = ("file", "label", "split", "group")
"""That a table needs, from which halves are made."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images with labels.

    Attributes
    ----------
    images : NDArray of uint8
        (N, H, W, C), C 1 or 3.
    labels : NDArray of int64
        (N,).
    groups : NDArray of int64, optional
        (N,), the patient or the set of near-duplicates that each image is of, where that is known.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, at: NDArray[np.int64] | NDArray[np.bool_]) -> "Labelled":
        """Return those at indices, or where a mask is true."""
        groups = None if self.groups is None else self.groups[at]
        return Labelled(self.images[at], self.labels[at], groups)


@dataclass(frozen=True, slots=True)
class Halves:
    """A data set, parted; half A and half B are of the training set, and share no group."""

    a: Labelled
    b: Labelled
    validation: Labelled
    test: Labelled
    classes: tuple[str, ...]


def draw(part: Labelled, most: int | None) -> Labelled:
    """Return so many images at most: drawn at random, always the same; all where None."""
    return part.take(np.sort(np.random.default_rng(0).permutation(len(part))[:most]))


def read_halves(source: Path, size: int | None = None) -> Halves:
    """Read a MedMNIST file (npz), or a folder of pictures.

    A folder holds one of three things:

    - ``split.csv`` with the columns file, label, split (train, val or test) and group. No group may
      be in two parts, and none is in both halves of the training set. Pictures are grey, unless
      half of them or more have colour. A picture ``a.jpg`` may lie there as ``a.jpg.png``.
    - One folder of pictures a class. Every tenth picture is for validation and every tenth a test.
    - The folders ``train`` and ``test``, each with one folder a class.

    Parameters
    ----------
    source : Path
        The file or folder.
    size : int, optional
        Pixels that the long side of each picture is brought to, antialiased. Only for a folder with
        ``split.csv``.

    Raises
    ------
    ConfigError
        The source is none of these, its table is broken, or a size is asked of another source.
    """
    if (source / TABLE).is_file():
        return _read_table(source, size)
    if size is not None:
        raise ConfigError(f"Only images with a {TABLE} are brought to another size.")
    if source.is_dir():
        return _read_folder(source)
    try:
        # Read whole: of a damaged file numpy leaves the handle open.
        with np.load(BytesIO(source.read_bytes()), allow_pickle=False) as arrays:
            parts = {
                part: _labelled(arrays[f"{part}_images"], arrays[f"{part}_labels"])
                for part in ("train", "val", "test")
            }
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ConfigError(f"{source} is neither a MedMNIST file nor a folder.") from error
    train = parts["train"]
    count = int(max(part.labels.max() for part in parts.values())) + 1
    return Halves(
        a=Labelled(train.images[0::2], train.labels[0::2]),
        b=Labelled(train.images[1::2], train.labels[1::2]),
        validation=parts["val"],
        test=parts["test"],
        classes=tuple(str(label) for label in range(count)),
    )


def _labelled(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> Labelled:
    if images.ndim == 3:
        images = images[..., None]
    return Labelled(images, labels.reshape(-1).astype(np.int64))


def _read_folder(folder: Path) -> Halves:
    given = (folder / "train").is_dir() and (folder / "test").is_dir()
    whole, classes = _read_classes(folder / "train" if given else folder)
    place = np.arange(len(whole)) % 10
    test, test_classes = whole.take(place == 9), classes
    if given:
        test, test_classes = _read_classes(folder / "test")
    if test_classes != classes or test.images.shape[1:] != whole.images.shape[1:]:
        raise ConfigError(f"In {folder}, train and test differ in classes or in size.")
    learned = place < 8
    return Halves(
        a=whole.take(learned & (place % 2 == 0)),
        b=whole.take(learned & (place % 2 == 1)),
        validation=whole.take(place == 8 if not given else ~learned),
        test=test,
        classes=classes,
    )


def _read_classes(folder: Path) -> tuple[Labelled, tuple[str, ...]]:
    """Read pictures in the order of their classes: in colour where any is, else grey."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise ConfigError(f"{folder} holds no folders, one a class.")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, path in enumerate(classes):
        for file in sorted(path.iterdir()):
            images.append(_read_picture(file))
            labels.append(label)
    if any(image.shape[2] == 3 for image in images):
        images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    if len({image.shape for image in images}) != 1:
        raise ConfigError(f"The pictures in {folder} are not all of one size.")
    return _labelled(np.stack(images), np.array(labels)), tuple(path.name for path in classes)


def _read_table(folder: Path, size: int | None) -> Halves:
    rows = read_table(folder / TABLE, COLUMNS)
    classes, groups = name_classes(rows), number_groups(rows)
    parts = part_by_split(rows)
    pictures = [_read_named(folder, row, size) for row in rows]
    coloured = sum(picture.shape[2] == 3 for picture in pictures)
    pictures = [
        _in_channels(picture, 3 if 2 * coloured >= len(rows) else 1) for picture in pictures
    ]
    for row, picture in zip(rows, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise ConfigError(f"The picture in {row.place} is of another size.")
    whole = Labelled(
        np.stack(pictures),
        np.array([classes.index(row.label) for row in rows], np.int64),
        np.array([groups[row.group] for row in rows], np.int64),
    )

    def take(part: list[LabelledFile]) -> Labelled:
        files = {row.file for row in part}
        return whole.take(np.array([row.file in files for row in rows]))

    a, b = part_in_halves(parts["train"])
    return Halves(take(a), take(b), take(parts["validation"]), take(parts["test"]), classes)


def _read_named(folder: Path, row: LabelledFile, size: int | None) -> NDArray[np.uint8]:
    """Return a picture (h, w, 1), or (h, w, 3) where it has colour."""
    place = f"The picture in {row.place}"
    path = folder / row.file
    if not path.exists():
        path = folder / f"{row.file}.png"  # as a run calls the copy of a lossy picture
    try:
        image = _read_picture(path)
    except FileNotFoundError:
        raise ConfigError(f"{place} is missing.") from None
    except (OSError, ValueError, Picture.DecompressionBombError):
        raise ConfigError(f"{place} cannot be read.") from None
    if image.shape[2] == 3 and (image == image[..., :1]).all():
        image = image[..., :1]
    return image if size is None else _bring(image, size)


def _bring(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = (max(1, round(side * size / max(image.shape[:2]))) for side in image.shape[:2])
    picture = Picture.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
    # Pillow widens the filter as it shrinks, which is what is called antialias elsewhere.
    brought = np.asarray(picture.resize((width, height), Picture.Resampling.BILINEAR))
    return brought.reshape(height, width, image.shape[2])


def _in_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if channels == image.shape[2]:
        return image
    if channels == 3:
        return np.broadcast_to(image, (*image.shape[:2], 3))
    return np.asarray(Picture.fromarray(image).convert("L"))[..., None]


def _read_picture(file: Path) -> NDArray[np.uint8]:
    with Picture.open(file) as picture:
        grey = picture.mode in ("1", "L", "LA") or picture.mode.startswith(("I", "F"))
        image = np.asarray(picture.convert("L" if grey else "RGB"))
    return image if image.ndim == 3 else image[..., None]
