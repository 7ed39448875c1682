"""Labelled stacks of neighbouring slices: of volumes, or of slices put into order by likeness.

Parted as `medprotect.audit.halves` parts images, whole volumes at a time.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medprotect.audit.halves import Labelled, read_halves
from medprotect.errors import ConfigError
from medprotect.imaging import formats
from medprotect.intensity.windows import present, view

VOLUMES, CHAINS = "slices of one volume", "single slices of one class, chained by likeness"


@dataclass(frozen=True, slots=True)
class Stacks:
    """Stacks with labels.

    Attributes
    ----------
    slices : NDArray of uint8
        (N, D, H, W, C), C 1 or 3; neighbours along D are neighbours along z.
    labels : NDArray of int64
        (N,).
    """

    slices: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> "Stacks":
        """Return some of them, in the order asked for."""
        return Stacks(self.slices[chosen], self.labels[chosen])


@dataclass(frozen=True, slots=True)
class StackedParts:
    """Half B of a data set, which no generator saw, and what victims are tested on.

    Attributes
    ----------
    made_of : str
        `VOLUMES` or `CHAINS`.
    """

    b: Stacks
    validation: Stacks
    test: Stacks
    classes: tuple[str, ...]
    made_of: str


def read_stacks(source: Path, depth: int, side: int = 28) -> StackedParts:
    """Read stacks of `depth` slices.

    Parameters
    ----------
    source : Path
        A MedMNIST file (npz) of volumes (N, D, H, W), or of images, which are chained by likeness
        within their class; or a folder with one folder of volumes a class.
    depth : int
        D; what is left over at a volume's end, or of a class, is left out.
    side : int
        Height and width that the slices of files are brought to; arrays stay as they are.

    Raises
    ------
    ConfigError
        The source is none of them.
    InputError
        A file of the folder is no image.
    """
    if source.is_dir():
        return _read_folder(source, depth, side)
    halves = read_halves(source)
    are_volumes = halves.b.images.shape[3] > 3
    make = cut if are_volumes else chain
    return StackedParts(
        b=make(halves.b, depth),
        validation=make(halves.validation, depth),
        test=make(halves.test, depth),
        classes=halves.classes,
        made_of=VOLUMES if are_volumes else CHAINS,
    )


def cut(volumes: Labelled, depth: int) -> Stacks:
    """Cut volumes (N, Z, H, W) into stacks of neighbouring slices."""
    count, height = volumes.images.shape[1] // depth, volumes.images.shape[2:]
    slices = volumes.images[:, : count * depth].reshape(-1, depth, *height, 1)
    return Stacks(slices, np.repeat(volumes.labels, count))


def chain(part: Labelled, depth: int) -> Stacks:
    """Put slices into stacks: of each class, one after the other that is most like the last.

    Where neighbouring slices of an organ are there in any order, they come together so, mostly.
    """
    chosen: list[list[int]] = []
    for label in np.unique(part.labels):
        members = np.flatnonzero(part.labels == label)
        features = _features(part.images[members])
        alike = features @ features.T
        free = np.ones(len(members), bool)
        for _ in range(len(members) // depth):
            at = int(np.argmax(free))
            links = []
            for _ in range(depth):
                free[at] = False
                links.append(int(members[at]))
                at = int(np.where(free, alike[at], -np.inf).argmax())
            chosen.append(links)
    order = np.array(chosen, dtype=np.int64).reshape(-1, depth)
    return Stacks(part.images[order], part.labels[order[:, 0]])


def likeness(slices: NDArray[np.integer]) -> float:
    """Return the mean correlation of neighbouring slices of stacks (N, D, H, W, C)."""
    features = _features(slices.reshape(-1, *slices.shape[2:])).reshape(*slices.shape[:2], -1)
    return round(float((features[:, 1:] * features[:, :-1]).sum(-1).mean()), 4)


def _features(images: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return images as rows of mean 0 and length 1: their products are correlations."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return rows


def _read_folder(folder: Path, depth: int, side: int) -> StackedParts:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise ConfigError(f"{folder} holds no folders, one a class.")
    files = [(file, label) for label, path in enumerate(classes) for file in sorted(path.iterdir())]
    read = [_read_volume(file, label, depth, side) for file, label in files]
    return StackedParts(
        b=_join([stacks for at in (1, 3, 5, 7) for stacks in read[at::10]]),
        validation=_join(read[8::10]),
        test=_join(read[9::10]),
        classes=tuple(path.name for path in classes),
        made_of=VOLUMES,
    )


def _read_volume(file: Path, label: int, depth: int, side: int) -> Stacks:
    images = formats.open_file(file.read_bytes()).images()
    shown = np.stack([present(view(image)) for image in images])  # (N, H, W, C) in 0..1
    tensor = torch.from_numpy(shown).permute(0, 3, 1, 2)
    size = (side, side)
    small = functional.interpolate(tensor, size, mode="bilinear", antialias=True)
    pixels = (small.permute(0, 2, 3, 1).numpy() * 255).round().clip(0, 255).astype(np.uint8)
    count = len(pixels) // depth
    slices = pixels[: count * depth].reshape(count, depth, *pixels.shape[1:])
    return Stacks(slices, np.full(count, label, np.int64))


def _join(stacks: list[Stacks]) -> Stacks:
    if not any(len(each) for each in stacks):
        raise ConfigError("There are too few volumes, or too few slices in them, for a stack.")
    return Stacks(
        np.concatenate([each.slices for each in stacks]),
        np.concatenate([each.labels for each in stacks]),
    )
