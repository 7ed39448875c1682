"""Noise onto stored values, within the budget and exact where there is none."""

import numpy as np
from numpy.typing import NDArray

from medprotect.imaging.image import Image, Stored
from medprotect.intensity.windows import RGB_FROM_YBR, YBR_FROM_RGB

_ROUNDING = 1e-9


def apply_noise(image: Image, noise: NDArray[np.float32], budget: NDArray[np.float64]) -> Stored:
    """Return the stored values with noise; no pixel changes by more than its budget.

    Parameters
    ----------
    image : Image
        As read from the export.
    noise : NDArray of float32
        (H, W, C), -1..1, the share of the budget in the direction of brighter presentation; C is 1,
        or 3 (RGB) for colour.
    budget : NDArray of float64
        (H, W), from `medprotect.intensity.budget.budget_lsb`.

    Returns
    -------
    Stored
        Same shape and dtype; unchanged where the budget is 0, within ``lowest..highest``, and with
        no pixel moved into the forbidden range.
    """
    stored = image.stored
    change = _in_stored_direction(image, noise) * (
        budget[..., None] if stored.ndim == 3 else budget
    )
    if stored.dtype.kind == "f":
        changed = _add_float(stored, change, budget)
    elif image.photometric.startswith("YBR"):
        changed = _add_ybr(image, change, budget)
    else:
        # Half to even may not round up beyond a whole budget, and the budget is whole.
        total = stored.astype(np.int64) + np.rint(change).astype(np.int64)
        changed = np.clip(total, int(image.lowest), int(image.highest)).astype(stored.dtype)
    if image.forbidden is not None:
        lower, upper = image.forbidden
        changed = np.where((changed >= lower) & (changed <= upper), stored, changed)
    return changed


def _in_stored_direction(image: Image, noise: NDArray[np.float32]) -> NDArray[np.float64]:
    if image.stored.ndim == 3:
        if noise.shape[2] == 1:
            noise = np.repeat(noise, 3, axis=2)
        if image.photometric.startswith("YBR"):
            noise = np.clip(noise @ YBR_FROM_RGB.T, -1, 1)  # rows sum to 1 in absolute value
        return noise.astype(np.float64)
    inverted = (image.photometric == "MONOCHROME1") != (image.slope < 0)
    voi = image.windows[0].lut if image.windows else None
    inverted ^= voi is not None and voi.mean_slope < 0
    plane: NDArray[np.float64] = noise.mean(axis=2, dtype=np.float64)
    return -plane if inverted else plane


def _add_ybr(image: Image, change: NDArray[np.float64], budget: NDArray[np.float64]) -> Stored:
    """Add so that neither a sample nor what it is in RGB changes by more than the budget.

    Rounded, Y, Cb and Cr may together show more in RGB than each of them is allowed. So chroma is
    rounded first, towards none, and Y takes what room is left; where none is, chroma stays.
    """
    stored = image.stored.astype(np.int64)
    steps = np.trunc(_shared(image, change[..., 1:], budget)).astype(np.int64)
    ends = int(image.lowest) - stored, int(image.highest) - stored
    steps = np.clip(steps, ends[0][..., 1:], ends[1][..., 1:])
    for fewer in (steps - np.sign(steps), np.zeros_like(steps)):
        lower, upper = _luma_room(steps, budget, ends)
        is_full = lower > upper
        if image.halved_chroma:
            is_full = np.repeat(is_full[:, ::2] | is_full[:, 1::2], 2, axis=1)
        steps = np.where(is_full[..., None], fewer, steps)
    lower, upper = _luma_room(steps, budget, ends)
    luma = np.clip(np.rint(change[..., 0]), lower, upper).astype(np.int64)
    added: Stored = stored + np.concatenate([luma[..., None], steps], axis=-1)
    return added.astype(image.stored.dtype)


def _luma_room(
    steps: NDArray[np.int64],
    budget: NDArray[np.float64],
    ends: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far down and up Y may change by whole steps where Cb and Cr change by `steps`."""
    shown = steps @ RGB_FROM_YBR[:, 1:].T
    darkest, brightest = np.minimum(shown.min(axis=-1), 0), np.maximum(shown.max(axis=-1), 0)
    lower = np.ceil(-budget - darkest - _ROUNDING)
    upper = np.floor(budget - brightest + _ROUNDING)
    return np.maximum(lower, ends[0][..., 0]), np.minimum(upper, ends[1][..., 0])


def _shared(
    image: Image, chroma: NDArray[np.float64], budget: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the change of Cb and Cr, one for both neighbours where they share them."""
    if not image.halved_chroma:
        return chroma
    least = np.minimum(budget[:, ::2], budget[:, 1::2])[..., None]
    mean = np.clip((chroma[:, ::2] + chroma[:, 1::2]) / 2, -least, least)
    return np.repeat(mean, 2, axis=1)


def _add_float(stored: Stored, change: NDArray[np.float64], budget: NDArray[np.float64]) -> Stored:
    """Add in double precision, then round towards the original."""
    original = stored.astype(np.float64)
    exact = np.where(change == 0, original, original + np.where(np.isfinite(original), change, 0))
    limits = np.finfo(stored.dtype)
    changed: Stored = np.clip(exact, limits.min, limits.max).astype(stored.dtype)
    changed = np.where(np.isfinite(stored), changed, stored)
    bound = budget[..., None] if stored.ndim == 3 else budget
    with np.errstate(invalid="ignore"):
        over = np.abs(changed.astype(np.float64) - original) > bound
    result: Stored = np.where(over, np.nextafter(changed, stored), changed)
    return result


def share_of_budget(original: Image, protected: Stored, budget: NDArray[np.float64]) -> float:
    """Return the largest change as a share of its pixel's budget; infinite where there is none.

    In YBR a pixel's change is the largest of those of its samples and of their RGB.

    Parameters
    ----------
    original : Image
        As read from the export.
    protected : Stored
        As read again from OUT.
    budget : NDArray of float64
        (H, W), of the original.
    """
    if protected.shape != original.stored.shape or protected.dtype != original.stored.dtype:
        return float("inf")
    if protected.dtype.kind == "f":
        same = (protected == original.stored) | (np.isnan(protected) & np.isnan(original.stored))
        difference = protected.astype(np.float64) - original.stored.astype(np.float64)
        change = np.where(same, 0.0, np.abs(difference))
        change = np.nan_to_num(change, nan=np.inf, posinf=np.inf)
    else:
        difference = (protected.astype(np.int64) - original.stored.astype(np.int64)).astype(float)
        change = np.abs(difference)
        if original.photometric.startswith("YBR"):
            shown = np.round(np.abs(difference @ RGB_FROM_YBR.T), 6)
            change = np.maximum(change, shown.max(axis=2, keepdims=True))
    if change.ndim == 3:
        change = change.max(axis=2)
    at = change > 0
    if not at.any():
        return 0.0
    with np.errstate(divide="ignore"):
        return float((change[at] / budget[at]).max())
