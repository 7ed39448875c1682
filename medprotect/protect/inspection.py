"""One file under the lens: what it is, how it is looked at, how much of it may change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import BudgetBelowOneError, OutputError
from medprotect.imaging.image import Content, Description, Image, Window
from medprotect.intensity.budget import budget_lsb
from medprotect.intensity.windows import present, view
from medprotect.protect.protectable import Noise, add_noise, find_reach, read_protectable

AMPLIFIED = 16
"""By how much the noise is amplified in a comparison."""

_GAP = 4


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `medprotect inspect` shows of a file.

    Attributes
    ----------
    description : Description
        What the header says, and whether colour that is stored is all grey.
    windows : tuple of Window
        Clinical windows of the image in the middle of the file, in modality values.
    budget_lsb : tuple of float
        Least, median and largest budget of its pixels that may change, in stored values.
    slope : float
        Modality values a stored value.
    masked, free : float
        Share of its pixels that are masked, and that may change.
    refusal : str
        Why a run rejects the file whatever the pipeline; "" where it does not.
    """

    description: Description
    windows: tuple[Window, ...]
    budget_lsb: tuple[float, float, float]
    slope: float
    masked: float
    free: float
    refusal: str = ""


def inspect_file(data: Content, strength: str) -> Inspection:
    """Look at a file.

    Raises
    ------
    InputError
        It is no image that can be read.
    """
    protectable = read_protectable(data)
    seen = view(protectable.images[len(protectable.images) // 2])
    budget = budget_lsb(seen, strength)
    free = budget[budget > 0]
    levels = (0.0, 0.0, 0.0)
    if free.size:
        levels = (float(free.min()), float(np.median(free)), float(free.max()))
    description = protectable.file.description
    traits = description.traits and replace(description.traits, shows_grey=protectable.is_grey)
    return Inspection(
        description=replace(description, traits=traits),
        windows=seen.windows,
        budget_lsb=levels,
        slope=seen.image.slope,
        masked=float(seen.mask.mean()),
        free=float((budget > 0).mean()),
        refusal=_refusal(protectable.images, strength),
    )


def _refusal(images: Sequence[Image], strength: str) -> str:
    try:
        find_reach(images, strength)[0].check()
    except BudgetBelowOneError as error:
        return f"{error.slug}: {error}"
    return ""


def draw_comparison(data: Content, noise: Noise, strength: str) -> bytes:
    """Return a PNG: the image in the middle of a file before, after, and the noise times 16.

    Raises
    ------
    InputError
        It is no image that can be read, or that can be protected.
    """
    from PIL import Image as Picture

    images = read_protectable(data).images
    changed = add_noise(images, noise, strength)
    middle = len(images) // 2
    before = view(images[middle])
    after = present(before.with_stored(changed[middle]))
    clean = present(before)
    amplified = np.clip(0.5 + AMPLIFIED * (after - clean), 0, 1)
    panels = [_to_pixels(panel) for panel in (clean, after, amplified)]
    gap = np.full((panels[0].shape[0], _GAP, panels[0].shape[2]), 255, dtype=np.uint8)
    row = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
    stream = BytesIO()
    Picture.fromarray(row.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def _to_pixels(presented: NDArray[np.float32]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.rint(presented * 255).astype(np.uint8)
    return pixels


def check_picture_folder(folder: Path) -> None:
    """Refuse a folder in an OUT: a picture of before beside after is a leak.

    Raises
    ------
    OutputError
        The folder lies in one.
    """
    for place in (folder.resolve(), *folder.resolve().parents):
        if place.name and place.with_name(place.name + ".medprotect").is_dir():
            raise OutputError(
                "The folder is in an OUT, and clean images must not leave the house. Name another "
                "folder."
            )
