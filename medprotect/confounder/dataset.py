"""Images and labels of a folder, as training sees them: presented values on one grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medprotect.confounder.assigning import Progress
from medprotect.confounder.labels import read_labels
from medprotect.confounder.noise import shrink
from medprotect.confounder.samples import Samples
from medprotect.errors import ConfigError, InputError, MedprotectError
from medprotect.imaging import formats
from medprotect.imaging.image import Image
from medprotect.imaging.pairs import read_content
from medprotect.intensity.budget import budget_presented
from medprotect.intensity.windows import present, view
from medprotect.scan.walk import walk

STAGE = "reading images"
"""For progress."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Images to train on, without labels, on one square grid.

    Attributes
    ----------
    presented : Tensor
        float32 (N, C, side, side), 0..1.
    budget : Tensor
        float32 (N, 1, side, side); see `medprotect.confounder.samples.Samples`.
    files : Tensor
        int64 (N,), of which of the files each is a frame.
    modalities : frozenset of str
        What the images state as their modality; "" where one states none.
    """

    presented: Tensor
    budget: Tensor
    files: Tensor
    modalities: frozenset[str]


def read_samples(
    images: Path,
    labels_csv: Path,
    size: int,
    strength: str = "standard",
    progress: Progress = lambda *_: None,
) -> tuple[Samples, frozenset[str]]:
    """Read labelled images: DICOM, NIfTI, PNG, TIFF or JPEG; of several frames, all.

    Parameters
    ----------
    images : Path
        Folder that the files of the table are relative to.
    labels_csv : Path
        See `read_labels`.
    size : int
        See `read_frames`.
    strength, progress
        See `read_frames`.

    Returns
    -------
    samples : Samples
        Every image, in the table's order.
    modalities : frozenset of str
        See `Frames`.

    Raises
    ------
    ConfigError
        The table is none, a file is missing or no image, or grey and colour are mixed.
    """
    table = read_labels(labels_csv)
    classes = tuple(sorted(set(table.values())))
    frames = read_frames(images, list(table), size, strength, progress)
    labels = torch.tensor([classes.index(label) for label in table.values()])
    samples = Samples(frames.presented, frames.budget, labels[frames.files], classes)
    return samples, frames.modalities


def read_frames(
    images: Path,
    files: Sequence[str],
    size: int,
    strength: str = "standard",
    progress: Progress = lambda *_: None,
) -> Frames:
    """Read the images of files, of several frames all.

    Parameters
    ----------
    images : Path
        Folder that the files are relative to.
    files : sequence of str
        In the order of a labels file.
    size : int
        Pixels of the long side at most. All are brought to one square grid, no larger than the
        largest image; what an image leaves free repeats its edge, with a budget of 0.
    strength : str
        That the budget is of, one of `medprotect.intensity.budget.STRENGTHS`.
    progress : callable, optional
        Told after each file.

    Raises
    ------
    ConfigError
        A file is missing or no image, grey and colour are mixed, or there is none.
    """
    read: list[list[_Frame]] = []
    for line, file in enumerate(files, start=2):
        try:
            read.append(_read(images, file, size, strength))
        except (OSError, InputError) as error:
            reason = error.slug if isinstance(error, MedprotectError) else "unreadable"
            raise ConfigError(
                f"The file in line {line} of the labels file cannot be trained on: {reason}."
            ) from None
        progress(STAGE, len(read), len(files), {})
    return _join(read)


def find_frames(
    images: Path, size: int, strength: str = "standard", progress: Progress = lambda *_: None
) -> tuple[Frames, int]:
    """Read all images of a folder, and count the files that are none or cannot be read.

    Raises
    ------
    ConfigError
        Grey and colour are mixed, or there is no image.
    """
    read: list[list[_Frame]] = []
    others = 0
    everything = list(walk(images))
    for found in everything:
        try:
            read.append([] if found.unsafe else _read(images, found.path, size, strength))
        except (OSError, InputError):
            read.append([])
        others += not read[-1]
        progress(STAGE, len(read), len(everything), {})
    return _join(read), others


@dataclass(frozen=True, slots=True)
class _Frame:
    """Presented values (1, C, h, w') and budget (1, 1, h, w') of a frame."""

    presented: Tensor
    budget: Tensor
    modality: str


def _read(images: Path, file: str, size: int, strength: str) -> list[_Frame]:
    return [_present(image, size, strength) for image in _open(images, file)]


def _join(read: Sequence[Sequence[_Frame]]) -> Frames:
    frames = [frame for file in read for frame in file]
    if not frames:
        raise ConfigError("There is no image to train on.")
    if len({frame.presented.shape[1] for frame in frames}) > 1:
        raise ConfigError("Grey and colour images are mixed; train a pipeline for each.")
    side = max(max(frame.presented.shape[-2:]) for frame in frames)
    return Frames(
        torch.cat([_to_square(frame.presented, side, "replicate") for frame in frames]),
        torch.cat([_to_square(frame.budget, side, "constant") for frame in frames]),
        torch.tensor([number for number, file in enumerate(read) for _ in file]),
        frozenset(frame.modality for frame in frames),
    )


def _open(images: Path, file: str) -> Iterator[Image]:
    path = images / file
    if Path(file).is_absolute() or ".." in Path(file).parts or not path.is_file():
        raise OSError
    yield from formats.open_file(read_content(path)).images()


def _present(image: Image, size: int, strength: str) -> _Frame:
    seen = view(image)
    presented = torch.from_numpy(np.ascontiguousarray(present(seen))).permute(2, 0, 1)[None]
    bound: NDArray[np.float32] = budget_presented(seen, strength)
    budget = torch.from_numpy(np.ascontiguousarray(bound))[None, None]
    return _Frame(shrink(presented, size), shrink(budget, size), image.modality)


def _to_square(plane: Tensor, side: int, mode: str) -> Tensor:
    height, width = plane.shape[-2:]
    return functional.pad(plane, (0, side - width, 0, side - height), mode=mode)
