"""Where an image has nothing to show: padding, and constant background that reaches its edge."""

import numpy as np
from numpy.typing import NDArray

from medprotect.imaging.image import Image


def masked(image: Image) -> NDArray[np.bool_]:
    """Return where nothing may change, whatever the windows.

    That is what the format locks (padding), what is no number, and background: pixels at the
    lowest or at the highest value of the image that are joined to its edge by their like, as
    outside a reconstruction circle, in saturated collimation, or around a cut-out.

    Returns
    -------
    NDArray of bool
        (H, W).
    """
    stored = image.stored
    result = np.zeros(stored.shape[:2], dtype=bool)
    if image.locked is not None:
        result |= image.locked
    if stored.dtype.kind == "f":
        finite = np.isfinite(stored)
        result |= ~(finite if stored.ndim == 2 else finite.all(-1))
    free = stored[~result]
    if free.size == 0:
        return result
    for extreme in {free.min(), free.max()}:
        at = stored == extreme if stored.ndim == 2 else (stored == extreme).all(-1)
        result |= _joined_to_edge(at)
    return result


def _joined_to_edge(at: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the part of `at` that is connected, by sides, to the border of the array."""
    edges = np.concatenate([at[0], at[-1], at[:, 0], at[:, -1]])
    if not edges.any():
        return np.zeros_like(at)
    from scipy import ndimage

    labels, count = ndimage.label(at)
    reached = np.zeros(count + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        reached[edge] = True
    reached[0] = False
    joined: NDArray[np.bool_] = reached[labels]
    return joined
