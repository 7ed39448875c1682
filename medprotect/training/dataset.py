"""Images and labels of a folder, as training sees them: presented values on one grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medprotect.confounder.labels import LabelledFile, number_groups
from medprotect.confounder.noise import UNET_SHARE, shrink
from medprotect.errors import ConfigError, InputError, MedprotectError
from medprotect.imaging import formats
from medprotect.imaging.image import Image
from medprotect.imaging.pairs import read_content
from medprotect.intensity.budget import budget_presented
from medprotect.intensity.windows import YBR_FROM_RGB, present, view
from medprotect.scan.walk import walk
from medprotect.training.assigning import Progress
from medprotect.training.samples import Samples

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
        float32 (N, 1, side, side); see `medprotect.training.samples.Samples`.
    files : Tensor
        int64 (N,), of which of the files each is a frame.
    modalities : frozenset of str
        What the images state as their modality; "" where one states none.
    """

    presented: Tensor
    budget: Tensor
    files: Tensor
    modalities: frozenset[str]

    def groups_of(self, rows: Sequence[LabelledFile]) -> Tensor | None:
        """Return the group of each image (N,), int64, of rows as many as files, where known."""
        numbers = number_groups(rows)
        if not numbers:
            return None
        return torch.tensor([numbers[row.group] for row in rows])[self.files]


def read_samples(
    images: Path,
    rows: Sequence[LabelledFile],
    size: int,
    strength: str = "standard",
    progress: Progress = lambda *_: None,
    *,
    grey: bool = False,
) -> tuple[Samples, frozenset[str]]:
    """Read labelled images: DICOM, NIfTI, PNG, TIFF or JPEG; of several frames, all.

    Parameters
    ----------
    images : Path
        Folder that the files are relative to.
    rows : sequence of LabelledFile
        Of a table of labels.
    size, strength, progress, grey
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
        A file is missing or no image, or grey and colour are mixed.
    """
    classes = tuple(sorted({row.label for row in rows}))
    frames = read_frames(images, rows, size, strength, progress, grey=grey)
    labels = torch.tensor([classes.index(row.label) for row in rows])[frames.files]
    groups = frames.groups_of(rows)
    samples = Samples(frames.presented, frames.budget, labels, classes, groups)
    return samples, frames.modalities


def read_frames(
    images: Path,
    rows: Sequence[LabelledFile],
    size: int,
    strength: str = "standard",
    progress: Progress = lambda *_: None,
    *,
    grey: bool = False,
) -> Frames:
    """Read the images of files, of several frames all.

    Parameters
    ----------
    images : Path
        Folder that the files are relative to.
    rows : sequence of LabelledFile
        Of a table of labels.
    size : int
        Pixels of the long side at most. All are brought to one square grid, no larger than the
        largest image; what an image leaves free repeats its edge, with a budget of 0.
    strength : str
        That the budget is of, one of `medprotect.intensity.budget.STRENGTHS`.
    progress : callable, optional
        Told after each file.
    grey : bool
        Whether colour images are read as grey ones, of 8 bits.

    Raises
    ------
    ConfigError
        A file is missing or no image, grey and colour are mixed, or there is none.
    """
    read: list[list[_Frame]] = []
    for row in rows:
        try:
            read.append(_read(images, row.file, size, strength, grey))
        except (OSError, InputError) as error:
            reason = error.slug if isinstance(error, MedprotectError) else "unreadable"
            raise ConfigError(f"The file in {row.place} cannot be trained on: {reason}.") from None
        progress(STAGE, len(read), len(rows), {})
    return _join(read)


def find_frames(
    images: Path,
    size: int,
    strength: str = "standard",
    progress: Progress = lambda *_: None,
    *,
    grey: bool = False,
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
            read.append([] if found.unsafe else _read(images, found.path, size, strength, grey))
        except (OSError, InputError):
            read.append([])
        others += not read[-1]
        progress(STAGE, len(read), len(everything), {})
    return _join(read), others


@dataclass(frozen=True, slots=True)
class _Frame:
    """Presented values (1, C, h, w') and budget (1, 1, h, w') of a frame; whether all is grey."""

    presented: Tensor
    budget: Tensor
    modality: str
    is_grey: bool


def _read(images: Path, file: str, size: int, strength: str, grey: bool) -> list[_Frame]:
    read = _open(images, file)
    return [_present(_as_grey(image) if grey else image, size, strength) for image in read]


def _join(read: Sequence[Sequence[_Frame]]) -> Frames:
    frames = [frame for file in read for frame in file]
    if not frames:
        raise ConfigError("There is no image to train on.")
    if all(frame.is_grey for frame in frames):  # however they are stored
        frames = [replace(frame, presented=frame.presented[:, :1]) for frame in frames]
    if len({frame.presented.shape[1] for frame in frames}) > 1:
        raise ConfigError(
            "Grey and colour images are mixed; train a pipeline for each, or one for grey images "
            "with --grey."
        )
    side = max(max(frame.presented.shape[-2:]) for frame in frames)
    return Frames(
        torch.cat([_to_square(frame.presented, side, "replicate") for frame in frames]),
        torch.cat([_to_square(frame.budget, side, "constant") for frame in frames]),
        torch.tensor([number for number, file in enumerate(read) for _ in file]),
        frozenset(frame.modality for frame in frames),
    )


def _open(images: Path, file: str) -> Iterator[Image]:
    path = images / file
    if not path.is_file():
        raise OSError
    yield from formats.open_file(read_content(path)).images()


def _as_grey(image: Image) -> Image:
    """Return an image in colour as a grey picture of what is shown."""
    seen = view(image)
    if not seen.is_colour:
        return image
    shades = (present(seen) @ YBR_FROM_RGB[0] * 255).round().astype(np.uint8)
    return Image(shades, lowest=0, highest=255, photometric="MONOCHROME2", modality=image.modality)


def _present(image: Image, size: int, strength: str) -> _Frame:
    seen = view(image)
    presented = torch.from_numpy(np.ascontiguousarray(present(seen))).permute(2, 0, 1)[None]
    bound: NDArray[np.float32] = UNET_SHARE * budget_presented(seen, strength)
    budget = torch.from_numpy(np.ascontiguousarray(bound))[None, None]
    return _Frame(shrink(presented, size), shrink(budget, size), image.modality, image.is_grey)


def _to_square(plane: Tensor, side: int, mode: str) -> Tensor:
    height, width = plane.shape[-2:]
    return functional.pad(plane, (0, side - width, 0, side - height), mode=mode)
