"""Labelled images in four parts: half A trains a pipeline, half B is protected, the rest tests.

The generator never sees half B, and victims learn from half B alone.
"""

from dataclasses import dataclass
from pathlib import Path

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


def read_halves(source: Path) -> Halves:
    """Read a MedMNIST file (npz), or a folder with one folder of pictures a class.

    Of such a folder every tenth picture is for validation and every tenth a test.

    Raises
    ------
    ConfigError
        The source is neither.
    """
    if source.is_dir():
        return _read_classes(source)
    try:
        with np.load(source, allow_pickle=False) as arrays:
            parts = {
                part: _labelled(arrays[f"{part}_images"], arrays[f"{part}_labels"])
                for part in ("train", "val", "test")
            }
    except (OSError, ValueError, KeyError) as error:
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


def _read_classes(folder: Path) -> Halves:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise ConfigError(f"{folder} holds no folders, one a class.")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, path in enumerate(classes):
        for file in sorted(path.iterdir()):
            with Picture.open(file) as picture:
                images.append(np.asarray(picture.convert("L"))[..., None])
            labels.append(label)
    if len({image.shape for image in images}) != 1:
        raise ConfigError(f"The pictures in {folder} are not all of one size.")
    whole = _labelled(np.stack(images), np.array(labels))
    place = np.arange(len(whole)) % 10
    parts = {"a": place % 2 == 0, "b": place % 2 == 1, "validation": place == 8, "test": place == 9}
    parts["a"] &= place < 8
    parts["b"] &= place < 8
    taken = {name: Labelled(whole.images[at], whole.labels[at]) for name, at in parts.items()}
    return Halves(**taken, classes=tuple(path.name for path in classes))
