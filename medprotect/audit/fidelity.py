"""How alike clean and protected images are, beside JPEG at quality 50 of the same clean images.

JPEG 50 is the yardstick because physicians could not tell radiographs, CT and MR saved so from the
originals. It is a yardstick for the eye, not for measuring in images.
"""

import math
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.audit.report_schema import Beside
from medprotect.audit.similarity import Values, ms_ssim, ssim, vif

Stored = NDArray[np.integer[Any] | np.floating[Any]]
"""Images (N, H, W, C) of stored values."""
Range = tuple[float, float]
"""Values shown as black and as white."""

YARDSTICK_QUALITY = 50
_MOST = 200
"""Images that the slow figures are measured on."""
_BATCH_VALUES = 1 << 20
_LEVELS = 32
"""Grey levels of entropy and texture: few enough that small images fill them."""
_MOMENTS = ("mean", "sd", "skewness", "kurtosis", "entropy")
_TEXTURES = ("contrast", "homogeneity", "energy", "correlation")


def fidelity(
    clean: Stored, protected: Stored, *, data_range: Range | None = None
) -> dict[str, Beside]:
    """Return each figure of `compare`, for the protected images and for JPEG 50 of the clean ones.

    As JSON takes it: what is not measured, or infinite because nothing changed, is None.

    Raises
    ------
    ValueError
        As `compare`.
    """
    at = _range(clean, data_range)
    there = compare(clean, protected, data_range=at)
    compressed = compare(clean, jpeg(clean, at), data_range=at)
    return {
        name: {"protected": _finite(figure), "jpeg_50": _finite(compressed[name])}
        for name, figure in there.items()
    }


def compare(
    clean: Stored, changed: Stored, *, data_range: Range | None = None
) -> dict[str, float | None]:
    """Return how much images were changed.

    Changes are of all images, the rest of up to 200 of them, evenly spread.

    Parameters
    ----------
    clean, changed : Stored
        (N, H, W, C) of the same shape, stored values.
    data_range : Range, optional
        Values shown as black and white; by default 0 and 255 for uint8, else the least and the
        greatest clean value.

    Returns
    -------
    dict
        ``psnr_db``: mean over the images that changed; infinite if none did.
        ``ssim``, ``ms_ssim``, ``vif``: means over images, None where images are too small.
        ``max_change``, ``rms_change``: over all pixels, in stored units.
        ``disc_shift``: the most that the mean of any disc moved, an eighth of the side across.
        ``max_change_percent`` and so on: the last three as percent of the range.
        ``first_order_*_percent``: the change of a feature of the grey values (`_MOMENTS`), mean
        over images, as percent of its mean on clean images. A normal distribution has kurtosis 3.
        ``texture_*_percent``: so of features of how grey levels of neighbours occur together, of
        32 levels, mean over four directions.

    Raises
    ------
    ValueError
        Shapes differ, there are no images, or the range is empty.
    """
    at = _range(clean, data_range)
    if clean.shape != changed.shape or clean.ndim != 4 or not len(clean):
        raise ValueError(f"images (N, H, W, C) of one shape are needed, not {changed.shape}")
    some = _spread(len(clean))
    return {
        **_changes(clean, changed, at),
        **_likeness(clean[some], changed[some], at),
        **_features(clean[some], changed[some], at),
    }


def jpeg(images: Stored, data_range: Range, quality: int = YARDSTICK_QUALITY) -> Stored:
    """Return images as they come back from 8-bit JPEG, in stored units.

    Three channels are saved as colour, any other number each by itself.
    """
    lowest, highest = data_range
    shown = ((images.astype(np.float64) - lowest) * (255 / (highest - lowest))).clip(0, 255)
    eight = shown.round().astype(np.uint8)
    colour = images.shape[3] == 3
    apart = list(eight) if colour else list(np.moveaxis(eight, 3, 1).reshape(-1, *eight.shape[1:3]))
    back = np.stack([_saved(picture, quality) for picture in apart])
    if not colour:
        back = np.moveaxis(back.reshape(len(images), -1, *images.shape[1:3]), 1, 3)
    values = back * ((highest - lowest) / 255) + lowest
    if np.issubdtype(images.dtype, np.integer):
        values = values.round()
    stored: Stored = values.astype(images.dtype)
    return stored


def _saved(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    stream = BytesIO()
    Picture.fromarray(picture).save(stream, "JPEG", quality=quality)
    with Picture.open(stream) as opened:
        return np.asarray(opened)


def _range(clean: Stored, given: Range | None) -> Range:
    if given is None and clean.dtype == np.uint8:
        return 0.0, 255.0
    lowest, highest = given or (float(clean.min()), float(clean.max()))
    if not lowest < highest:
        raise ValueError("the range of the values is empty")
    return lowest, highest


def _spread(count: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, _MOST)).round().astype(np.int64)


def _finite(figure: float | None) -> float | None:
    return figure if figure is not None and math.isfinite(figure) else None


def _pairs(clean: Stored, changed: Stored, at: Range) -> Iterator[tuple[Values, Values]]:
    """Yield pairs of images in 0..255, one at a time: all as float64 would fill the memory."""
    scale = 255 / (at[1] - at[0])
    for pair in zip(clean, changed, strict=True):
        before, after = ((image.astype(np.float64) - at[0]) * scale for image in pair)
        yield before, after


def _changes(clean: Stored, changed: Stored, at: Range) -> dict[str, float | None]:
    span, disc = at[1] - at[0], _disc(min(clean.shape[1:3]))
    largest = shift = 0.0
    squares = np.empty(len(clean))
    for part in _batches(clean):
        change = changed[part].astype(np.float64) - clean[part]
        squares[part] = (change**2).mean((1, 2, 3))
        if squares[part].any():
            largest = max(largest, float(np.abs(change).max()))
            shift = max(shift, _shift(change, disc))
    ratios = 10 * np.log10(span**2 / squares[squares > 0])
    rms = math.sqrt(float(squares.mean()))
    figures: dict[str, float | None] = {
        "psnr_db": float(ratios.mean()) if ratios.size else math.inf
    }
    for name, value in {"max_change": largest, "rms_change": rms, "disc_shift": shift}.items():
        figures[name] = value
        figures[f"{name}_percent"] = 100 * value / span
    return figures


def _batches(images: Stored) -> Iterator[slice]:
    """Yield parts that fit into memory as float64, of many small images or a few large ones."""
    step = max(1, _BATCH_VALUES * len(images) // images.size)
    for first in range(0, len(images), step):
        yield slice(first, first + step)


def _disc(side: int) -> Values:
    """Return a disc of weights that sum to one, an eighth of the side across."""
    across = max(1, round(side / 8))
    place = np.arange(across) - (across - 1) / 2
    inside = (place[:, None] ** 2 + place**2 <= (across / 2) ** 2).astype(np.float64)
    weights: Values = inside / inside.sum()
    return weights


def _shift(change: Values, disc: Values) -> float:
    from scipy.signal import oaconvolve

    means = oaconvolve(change, disc[None, :, :, None], mode="valid", axes=(1, 2))
    return float(np.abs(means).max())


def _likeness(clean: Stored, changed: Stored, at: Range) -> dict[str, float | None]:
    measures = {"ssim": ssim, "ms_ssim": ms_ssim, "vif": vif}
    found: dict[str, list[float]] = {name: [] for name in measures}
    for before, after in _pairs(clean, changed, at):
        for name, measure in measures.items():
            figure = measure(before, after)
            if figure is not None:
                found[name].append(figure)
    return {name: float(np.mean(each)) if each else None for name, each in found.items()}


def _features(clean: Stored, changed: Stored, at: Range) -> dict[str, float | None]:
    rows = [(_of(before), _of(after)) for before, after in _pairs(clean, changed, at)]
    before, after = (np.array(each) for each in zip(*rows, strict=True))
    moved, usual = np.abs(after - before).mean(0), np.abs(before).mean(0)
    names = [f"first_order_{name}" for name in _MOMENTS] + [f"texture_{name}" for name in _TEXTURES]
    return {
        f"{name}_percent": 100 * float(move / size) if size else (None if move else 0.0)
        for name, move, size in zip(names, moved, usual, strict=True)
    }


def _of(image: Values) -> list[float]:
    """Return the features of the grey values: `_MOMENTS`, then `_TEXTURES`."""
    from skimage.feature import graycomatrix, graycoprops

    grey = image.mean(2)
    mean, sd = float(grey.mean()), float(grey.std())
    standard = (grey - mean) / sd if sd > 1e-9 else np.zeros_like(grey)
    levels = (grey * (_LEVELS / 256)).clip(0, _LEVELS - 1).astype(np.uint8)
    shares = np.bincount(levels.ravel()) / levels.size
    entropy = -float(np.sum(shares[shares > 0] * np.log2(shares[shares > 0])))
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    together = graycomatrix(levels, [1], angles, levels=_LEVELS, symmetric=True, normed=True)
    textures = [float(graycoprops(together, name).mean()) for name in _TEXTURES]
    return [mean, sd, float((standard**3).mean()), float((standard**4).mean()), entropy, *textures]
