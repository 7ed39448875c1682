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

from medprotect.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images with labels.

    Attributes
    ----------
    images : NDArray of uint8
        (N, H, W, C), C 1 or 3.
    labels : NDArray of int64
        (N,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Halves:
    """A data set, parted; half A and half B are every second image of the training set."""

    a: Labelled
    b: Labelled
    validation: Labelled
    test: Labelled
    classes: tuple[str, ...]


def draw(part: Labelled, most: int | None) -> Labelled:
    """Return so many images at most: drawn at random, always the same; all where None."""
    at = np.sort(np.random.default_rng(0).permutation(len(part))[:most])
    return Labelled(part.images[at], part.labels[at])


def read_halves(source: Path) -> Halves:
    """Read a MedMNIST file (npz), or a folder with one folder of pictures a class.

    Of such a folder every tenth picture is for validation and every tenth a test; a folder may hold
    the folders ``train`` and ``test`` instead, each with one a class: then those are the tests.

    Raises
    ------
    ConfigError
        The source is neither.
    """
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
    test, test_classes = _take(whole, place == 9), classes
    if given:
        test, test_classes = _read_classes(folder / "test")
    if test_classes != classes or test.images.shape[1:] != whole.images.shape[1:]:
        raise ConfigError(f"In {folder}, train and test differ in classes or in size.")
    learned = place < 8
    return Halves(
        a=_take(whole, learned & (place % 2 == 0)),
        b=_take(whole, learned & (place % 2 == 1)),
        validation=_take(whole, place == 8 if not given else ~learned),
        test=test,
        classes=classes,
    )


def _take(part: Labelled, chosen: NDArray[np.bool_]) -> Labelled:
    return Labelled(part.images[chosen], part.labels[chosen])


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


def _read_picture(file: Path) -> NDArray[np.uint8]:
    with Picture.open(file) as picture:
        grey = picture.mode in ("1", "L", "LA") or picture.mode.startswith(("I", "F"))
        image = np.asarray(picture.convert("L" if grey else "RGB"))
    return image if image.ndim == 3 else image[..., None]
