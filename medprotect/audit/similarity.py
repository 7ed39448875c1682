"""How alike two images are to the eye: SSIM, MS-SSIM and VIF, of values in 0..255."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""One image (H, W, C), 0..255, where the eye's constants below hold."""

SSIM_SIDE = 7
"""Side of the window of SSIM, scikit-image's default."""

_MS_SSIM_SIDE, _MS_SSIM_SIGMA = 11, 1.5
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LUMINANCE, _CONTRAST = (0.01 * 255) ** 2, (0.03 * 255) ** 2

_VIF_WINDOWS = ((17, 9, 5, 3), (9, 5, 3), (5, 3))
"""Sides of the windows from fine to coarse: as published, and without the widest."""
_EYE_NOISE = 2.0
_NONE = 1e-10


def ssim(clean: Values, changed: Values) -> float | None:
    """Return SSIM by scikit-image, the mean over channels; None below 7 pixels a side."""
    from skimage.metrics import structural_similarity

    if min(clean.shape[:2]) < SSIM_SIDE:
        return None
    return float(structural_similarity(clean, changed, channel_axis=2, data_range=255))


def ms_ssim(clean: Values, changed: Values) -> float | None:
    """Return SSIM over scales, each half as fine as the last; None below 11 pixels a side.

    Five scales need 176 pixels a side. Smaller images get as many as fit, their weights made to sum
    to one. The mean over channels. Z. Wang, E. P. Simoncelli, A. C. Bovik. *Multiscale structural
    similarity for image quality assessment.* Asilomar 2003.
    """
    side = min(clean.shape[:2])
    if side < _MS_SSIM_SIDE:
        return None
    scales = min(int(np.log2(side / _MS_SSIM_SIDE)) + 1, len(_MS_SSIM_WEIGHTS))
    weights = np.array(_MS_SSIM_WEIGHTS[:scales]) / sum(_MS_SSIM_WEIGHTS[:scales])
    window = _gaussian(_MS_SSIM_SIDE, _MS_SSIM_SIGMA)
    likeness = np.ones(clean.shape[2])
    for scale, weight in enumerate(weights):
        mean, mean_changed, variance, variance_changed, shared = _moments(clean, changed, window)
        like = (2 * shared + _CONTRAST) / (variance + variance_changed + _CONTRAST)
        if scale == scales - 1:
            like *= (2 * mean * mean_changed + _LUMINANCE) / (
                mean**2 + mean_changed**2 + _LUMINANCE
            )
        # Contrast turned upside down is as unlike as can be, and has no root.
        likeness *= like.mean((0, 1)).clip(0) ** weight
        clean, changed = _halved(clean), _halved(changed)
    return float(likeness.mean())


def vif(clean: Values, changed: Values) -> float | None:
    """Return visual information fidelity in the pixel domain (VIFp); None below 7 pixels a side.

    The share of what the eye could tell from the clean image that it can tell from the other; over
    one where contrast was raised. Four scales need 41 pixels a side; from 17 the windows are 9, 5
    and 3 pixels, below that 5 and 3. Channels are added up. H. R. Sheikh, A. C. Bovik. *Image
    information and visual quality.* IEEE Transactions on Image Processing 15, 2006.
    """
    sides = next((each for each in _VIF_WINDOWS if _fits(min(clean.shape[:2]), each)), None)
    if sides is None:
        return None
    if np.array_equal(clean, changed):
        return 1.0
    kept = there = 0.0
    for scale, side in enumerate(sides):
        window = _gaussian(side, side / 5)
        if scale:
            clean, changed = (_filtered(each, window)[::2, ::2] for each in (clean, changed))
        _, _, variance, variance_changed, shared = _moments(clean, changed, window)
        both = (variance > _NONE) & (variance_changed > _NONE)
        gain = np.where(both, shared / (variance + _NONE), 0).clip(0)
        noise = np.maximum(
            np.where(gain > 0, variance_changed - gain * shared, variance_changed), 0
        )
        kept += float(np.log2(1 + gain**2 * variance / (noise + _EYE_NOISE)).sum())
        there += float(np.log2(1 + variance / _EYE_NOISE).sum())
    return kept / there if there > _NONE else None


def _fits(side: int, windows: tuple[int, ...]) -> bool:
    """Whether each scale leaves at least one place for its window."""
    for scale, window in enumerate(windows):
        if scale:
            side = (side - window + 2) // 2
        if side < window:
            return False
    return True


def _gaussian(side: int, sigma: float) -> Values:
    place = np.arange(side) - (side - 1) / 2
    heights = np.exp(-(place**2) / (2 * sigma**2))
    window: Values = heights / heights.sum()
    return window


def _filtered(image: Values, window: Values) -> Values:
    """Return the weighted means at all places where the window lies within the image."""
    from scipy.ndimage import correlate1d

    reach = len(window) // 2
    rows: Values = correlate1d(image, window, axis=0)[reach : len(image) - reach]
    whole: Values = correlate1d(rows, window, axis=1)[:, reach : image.shape[1] - reach]
    return whole


def _moments(clean: Values, changed: Values, window: Values) -> tuple[Values, ...]:
    """Return, at each place, both means, both variances, and the covariance."""
    mean, mean_changed = _filtered(clean, window), _filtered(changed, window)
    variance = (_filtered(clean**2, window) - mean**2).clip(0)
    variance_changed = (_filtered(changed**2, window) - mean_changed**2).clip(0)
    shared = _filtered(clean * changed, window) - mean * mean_changed
    return mean, mean_changed, variance, variance_changed, shared


def _halved(image: Values) -> Values:
    """Return the means of 2 x 2 pixels; an odd last row or column falls away."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    even = image[:height, :width]
    parts: Values = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return parts
