"""How much each pixel may change, so that a reader sees no difference in any clinical window."""

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import BudgetBelowOneError
from medprotect.intensity.texture import texture_spread
from medprotect.intensity.windows import (
    View,
    modality_values,
    shown_by,
    slope_width,
    visible_range,
    without_modality_lut,
)

STRENGTHS = {"low": 4, "standard": 8, "high": 16}
"""How strong noise is, in 255ths of what a window presents, from black to white."""

BUDGET_RULE = 2
"""Number of the rule by which a budget follows from an image: `verify` names it where a run had
another. Runs that name none had the first."""

_STRONGEST = "high"

BUSY_SHARE = 2.0
"""Of the strength, the largest change, where texture hides it: at `standard`, 16 of 255."""

SMOOTH_SHARE = 0.25
"""Of the strength, the largest change where an image is smooth: at `standard`, 2 of 255."""

_TEXTURE_SHARE = 2.0
"""Of the spread of the texture, the largest change at `standard`. Grain of four fifths of that
spares brain MR, chest radiographs and chest CT about as JPEG 50 does, by VIF and MS-SSIM."""

_LEAST_SHARE = 0.5
"""Share of a file's unmasked pixels that must be free to change by one stored unit."""

_USUAL_SHARE = STRENGTHS["standard"] / 255

_LARGEST_TABLE = 1 << 20
_ROUNDING = 1e-9
_ROOM = 1e-6
"""By how much a bound may miss a whole number that it would be, but for floating point."""


def name_strength(share: float) -> str:
    """Return the strength whose largest change is nearest to a share of black to white."""
    return min(STRENGTHS, key=lambda name: abs(STRENGTHS[name] / 255 - share))


def budget_lsb(view: View, strength: str) -> NDArray[np.float64]:
    """Return the largest change of each pixel, in stored values.

    In every clinical window the change shows as at most a share ``s``, which is `BUSY_SHARE` of
    `strength`: a pixel at a distance ``d`` outside a window of width ``w`` may change by
    ``s * w + d``, because only what reaches into the window is seen there. The least of these over
    all windows holds, divided by |slope| and rounded down to whole stored values (floating point:
    not rounded). Pixels that are masked, or that no window shows, have none.

    That much is allowed where the image has texture that hides it. Where it is smoother, noise may
    be in proportion to the texture, and in a window at least `SMOOTH_SHARE` of the strength, or one
    stored value.

    Where a look-up table takes part there is no width to go by: then a pixel may change as far as,
    on the whole way there in either direction, no window shows more than `strength`. With a
    modality LUT that holds of the stored values without it, too: there are viewers, and there is
    training, that leave it out, and of some angiography they have to.

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
    smooth, busy = _bounds(view, share)
    budget = _texture(view) * (_TEXTURE_SHARE * share / _USUAL_SHARE)
    np.clip(budget, smooth, busy, out=budget)
    if not view.is_floating:
        budget += _ROOM
        np.floor(budget, out=budget)
    budget[view.mask] = 0
    if image.lut is not None:
        np.minimum(budget, budget_lsb(without_modality_lut(view), strength), out=budget)
    return budget


def may_change(view: View, strength: str) -> NDArray[np.bool_]:
    """Return which pixels have a budget at all, (H, W): those where `budget_lsb` is above 0.

    Texture makes a budget larger, never none of one, so it is not looked for: that is faster.
    """
    _, busy = _bounds(view, STRENGTHS[strength] / 255)
    free: NDArray[np.bool_] = (busy > 0 if view.is_floating else busy + _ROOM >= 1) & ~view.mask
    if view.image.lut is not None:
        free &= may_change(without_modality_lut(view), strength)
    return free


def _texture(view: View) -> NDArray[np.float64]:
    """Return the spread of the texture in stored values; of colour, that of its brightness."""
    stored = view.image.stored
    if view.is_colour:
        is_ybr = view.image.photometric.startswith("YBR")
        stored = stored[..., 0] if is_ybr else stored.mean(axis=2, dtype=np.float64)
    return texture_spread(stored)


def _bounds(view: View, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what all windows together allow where the image is smooth, and where it is busy."""
    stored = view.image.stored
    if not (view.has_lut or view.is_colour or view.is_floating):
        lowest, highest = int(stored.min()), int(stored.max())
        if highest - lowest <= _LARGEST_TABLE:  # of the values that occur: far fewer than pixels
            table = np.arange(lowest, highest + 1, dtype=np.int64)
            at = stored.astype(np.intp) - lowest
            smooth, busy = _bounds_of(view.with_stored(table), share)
            return smooth[at], busy[at]
    return _bounds_of(view, share)


def _bounds_of(view: View, share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    smooth, busy = _least(view, SMOOTH_SHARE * share), _least(view, BUSY_SHARE * share)
    if not view.is_floating:  # one step of the stored values is the least that can be
        smooth = np.maximum(smooth, np.minimum(busy, 1))
    return smooth, busy


def _least(view: View, share: float) -> NDArray[np.float64]:
    """Return the bound that all windows set together, in stored values, not rounded."""
    image = view.image
    if view.has_lut:
        return _least_over_luts(view, share)
    if view.is_colour:
        width = min(slope_width(window) for window in view.windows)
        least = np.full(view.mask.shape, width * share)
    else:
        values = np.asarray(image.stored, dtype=np.float64)
        least = _least_at(values * image.slope + image.intercept, view, share)
    return least / abs(image.slope)


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


def _least_over_luts(view: View, share: float) -> NDArray[np.float64]:
    """Return the bound in whole stored values, by a table of all that the bits can hold."""
    image = view.image
    stored = np.arange(int(image.lowest), int(image.highest) + 1)
    values = modality_values(image, stored)
    least = np.full(stored.shape, np.inf)
    visible = np.zeros(stored.shape, dtype=bool)
    for window in view.windows:
        lower, upper = visible_range(window)
        visible |= (values >= lower) & (values <= upper)
        np.minimum(least, _steps_within(shown_by(window, values), share), out=least)
    least[~(visible & _is_moving(values))] = 0
    found: NDArray[np.float64] = least[image.stored.astype(np.int64) - int(image.lowest)]
    return found


def _steps_within(shown: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return how many steps up and down a table change what is shown by at most `share`.

    By its total variation, so that a table which rises and falls is bounded on the whole way.
    Beyond the ends of the table there are no values, so nothing is bound there.
    """
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(shown)))])
    at = np.arange(len(way))
    up = np.searchsorted(way, way + share + _ROUNDING, side="right") - 1.0 - at
    down = at - np.searchsorted(way, way - share - _ROUNDING, side="left") * 1.0
    up[up + at == len(way) - 1] = np.inf
    down[down == at] = np.inf
    steps: NDArray[np.float64] = np.minimum(np.minimum(up, down), len(way))
    return steps


def _is_moving(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a table is not as at its ends, which show nothing."""
    moving = np.flatnonzero(np.diff(values))
    inside = np.zeros(values.shape, dtype=bool)
    if moving.size:
        inside[moving[0] : moving[-1] + 2] = True
    return inside


def budget_presented(view: View, strength: str) -> NDArray[np.float32]:
    """Return the largest change of each pixel in presented values, (H, W) float32, 0..1."""
    return to_presented(view, budget_lsb(view, strength))


def to_presented(view: View, budget: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a budget in stored values as one in presented values, (H, W) float32, 0..1."""
    width = slope_width(view.windows[0])
    if width <= 0:
        return np.zeros(view.mask.shape, dtype=np.float32)
    return np.minimum(budget * abs(view.image.slope) / width, 1).astype(np.float32)


class Reach:
    """Counts, over the images of a file, the pixels that noise can change.

    Parameters
    ----------
    strength : str
        Of the noise.
    """

    def __init__(self, strength: str) -> None:
        self._strength = strength
        self._shown = 0
        self._free = 0
        self._free_at_most = 0

    def add(self, view: View, free: NDArray[np.bool_]) -> None:
        """Count the pixels of one image, and those of them that may change."""
        shown, count = int((~view.mask).sum()), int(free.sum())
        self._shown += shown
        self._free += count
        if count < _LEAST_SHARE * shown:
            count = int(may_change(view, _STRONGEST).sum())
        self._free_at_most += count

    def check(self) -> None:
        """Refuse a file in which the noise would round away.

        Raises
        ------
        BudgetBelowOneError
            Under half of the pixels that are not masked may change by one stored unit, or all
            are masked.
        """
        if self._shown == 0:
            raise BudgetBelowOneError("the image is constant or all background; leave it out")
        if self._free < _LEAST_SHARE * self._shown:
            helps = self._free_at_most >= _LEAST_SHARE * self._shown
            raise BudgetBelowOneError(
                "fewer than half of the pixels may change by one grey level; leave it out"
                + (f", or run it with --strength {_STRONGEST}" if helps else "")
            )
