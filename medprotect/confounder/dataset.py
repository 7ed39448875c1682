"""Images and labels of a folder, as training sees them: presented values on one grid."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medprotect.confounder.labels import read_labels
from medprotect.confounder.noise import shrink
from medprotect.confounder.samples import Samples
from medprotect.errors import ConfigError, InputError, MedprotectError
from medprotect.imaging import formats
from medprotect.imaging.image import Image
from medprotect.imaging.pairs import read_content
from medprotect.intensity.budget import budget_presented
from medprotect.intensity.windows import present, view


def read_samples(images: Path, labels_csv: Path, size: int) -> tuple[Samples, frozenset[str]]:
    """Read labelled images: DICOM, NIfTI, PNG, TIFF or JPEG; of several frames, all.

    Parameters
    ----------
    images : Path
        Folder that the files of the table are relative to.
    labels_csv : Path
        See `read_labels`.
    size : int
        Pixels of the long side at most. All are brought to one square grid, no larger than the
        largest image; what an image leaves free repeats its edge, with a budget of 0.

    Returns
    -------
    samples : Samples
        Every image, in the table's order.
    modalities : frozenset of str
        What the images state as their modality; "" where one states none.

    Raises
    ------
    ConfigError
        The table is none, a file is missing or no image, or grey and colour are mixed.
    """
    table = read_labels(labels_csv)
    classes = tuple(sorted(set(table.values())))
    pairs: list[tuple[Tensor, Tensor]] = []
    labels: list[int] = []
    seen: set[str] = set()
    for line, (file, label) in enumerate(table.items(), start=2):
        try:
            for image in _open(images, file):
                pairs.append(_present(image, size))
                seen.add(image.modality)
                labels.append(classes.index(label))
        except (OSError, InputError) as error:
            reason = error.slug if isinstance(error, MedprotectError) else "unreadable"
            raise ConfigError(
                f"The file in line {line} of the labels file cannot be trained on: {reason}."
            ) from None
    if len({presented.shape[1] for presented, _ in pairs}) > 1:
        raise ConfigError("Grey and colour images are mixed; train a pipeline for each.")
    side = max((max(presented.shape[-2:]) for presented, _ in pairs), default=0)
    samples = Samples(
        torch.cat([_to_square(presented, side, "replicate") for presented, _ in pairs]),
        torch.cat([_to_square(budget, side, "constant") for _, budget in pairs]),
        torch.tensor(labels),
        classes,
    )
    return samples, frozenset(seen)


def _open(images: Path, file: str) -> Iterator[Image]:
    path = images / file
    if Path(file).is_absolute() or ".." in Path(file).parts or not path.is_file():
        raise OSError
    yield from formats.open_file(read_content(path)).images()


def _present(image: Image, size: int) -> tuple[Tensor, Tensor]:
    """Return presented values (1, C, h, w') and budget (1, 1, h, w')."""
    seen = view(image)
    presented = torch.from_numpy(np.ascontiguousarray(present(seen))).permute(2, 0, 1)[None]
    bound: NDArray[np.float32] = budget_presented(seen, "standard")
    budget = torch.from_numpy(np.ascontiguousarray(bound))[None, None]
    return shrink(presented, size), shrink(budget, size)


def _to_square(plane: Tensor, side: int, mode: str) -> Tensor:
    height, width = plane.shape[-2:]
    return functional.pad(plane, (0, side - width, 0, side - height), mode=mode)
