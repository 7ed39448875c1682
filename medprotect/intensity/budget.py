"""How much each pixel may change, so that a reader sees no difference in any clinical window."""

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import BudgetBelowOneError
from medprotect.intensity.windows import View, slope_width, visible_range

STRENGTHS = {"low": 4, "standard": 8, "high": 16}
"""Largest change of what a window presents, in 255ths of the way from black to white."""

_LEAST_SHARE = 0.5
"""Share of a file's unmasked pixels that must be free to change by one stored unit."""

_LARGEST_TABLE = 1 << 20


def budget_lsb(view: View, strength: str) -> NDArray[np.float64]:
    """Return the largest change of each pixel, in stored values.

    In every clinical window the change shows as at most `strength`: a pixel at a distance ``d``
    outside a window of width ``w`` may change by ``strength * w + d``, because only what reaches
    into the window is seen there. The least of these over all windows holds, divided by |slope|
    and rounded down to whole stored values (floating point: not rounded). Pixels that are masked,
    or that no window shows, have none.

    Parameters
    ----------
    view : View
        Of the image as read from the export.
    strength : str
        One of `STRENGTHS`.

    Returns
    -------
    NDArray of float64
        (H, W), >= 0; in colour the bound of every channel.
    """
    share = STRENGTHS[strength] / 255
    image = view.image
    if view.is_colour:
        width = min(slope_width(window) for window in view.windows)
        budget = np.full(image.stored.shape[:2], width * share)
    else:
        budget = _least_over_windows(view, share)
    budget /= abs(image.slope)
    if not view.is_floating:
        budget = np.floor(budget + 1e-6)
    budget[view.mask] = 0
    return budget


def _least_over_windows(view: View, share: float) -> NDArray[np.float64]:
    stored, image = view.image.stored, view.image
    lowest, highest = stored.min(), stored.max()
    if view.is_floating or int(highest) - int(lowest) > _LARGEST_TABLE:
        values = np.asarray(stored, dtype=np.float64)
        return _least_at(values * image.slope + image.intercept, view, share)
    # A table of the values that occur: far fewer than pixels.
    table = np.arange(int(lowest), int(highest) + 1, dtype=np.float64)
    least = _least_at(table * image.slope + image.intercept, view, share)
    return least[stored.astype(np.int64) - int(lowest)]


def _least_at(values: NDArray[np.float64], view: View, share: float) -> NDArray[np.float64]:
    """Return the bound at modality values, in their unit."""
    least = np.full(values.shape, np.inf)
    visible = np.zeros(values.shape, dtype=bool)
    for window in view.windows:
        lower, upper = visible_range(window)
        outside = np.maximum(np.maximum(lower - values, values - upper), 0)
        visible |= outside == 0
        np.minimum(least, share * slope_width(window) + outside, out=least)
    return np.where(visible, least, 0.0)


def budget_presented(view: View, strength: str) -> NDArray[np.float32]:
    """Return the largest change of each pixel in presented values, (H, W) float32, 0..1."""
    width = slope_width(view.windows[0])
    if width <= 0:
        return np.zeros(view.mask.shape, dtype=np.float32)
    presented = budget_lsb(view, strength) * abs(view.image.slope) / width
    return np.minimum(presented, 1).astype(np.float32)


class Reach:
    """Counts, over the images of a file, the pixels that noise can change."""

    def __init__(self) -> None:
        self._shown = 0
        self._free = 0

    def add(self, view: View, budget: NDArray[np.float64]) -> None:
        """Count the pixels of one image with its budget in stored values."""
        self._shown += int((~view.mask).sum())
        self._free += int((budget > 0).sum())

    def check(self) -> None:
        """Refuse a file in which the noise would round away.

        Raises
        ------
        BudgetBelowOneError
            Under half of the pixels that are not masked may change by one stored unit, or all
            are masked.
        """
        if self._shown == 0:
            raise BudgetBelowOneError("the image is constant; leave it out")
        if self._free < _LEAST_SHARE * self._shown:
            raise BudgetBelowOneError(
                "fewer than half of the pixels could change by one grey level unseen; leave it "
                "out, or try --strength high"
            )
