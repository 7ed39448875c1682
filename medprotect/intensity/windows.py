"""Clinical windows: in which ranges of modality values an image is looked at, and how it looks.

A window maps modality values to presented values, 0 (black) to 1 (white). Noise is made for what
is presented, and a change is judged by what it does there.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.imaging.image import Image, Stored, Window
from medprotect.intensity.mask import masked

_PERCENTILES = (0.5, 99.5)
_LEAST_STORED = 64
_STEP = 1e-6
"""Width, in modality values, of a window that jumps from black to white."""

_BRAIN = Window(40, 80)
_SUBDURAL = Window(75, 215)
_SOFT_TISSUE = Window(40, 400)
_LUNG = Window(-600, 1500)
_LIVER = Window(60, 160)
_BONE = Window(400, 1800)
_TEMPORAL_BONE = Window(600, 2800)

STANDARD_NAMES: dict[Window, str] = {
    _BRAIN: "brain",
    _SUBDURAL: "subdural",
    _SOFT_TISSUE: "soft tissue",
    _LUNG: "lung",
    _LIVER: "liver",
    _BONE: "bone",
    _TEMPORAL_BONE: "temporal bone",
}
"""What the standard windows of CT are called."""

_HEAD = (_BRAIN, _SUBDURAL, _TEMPORAL_BONE)
_TRUNK = (_SOFT_TISSUE, _LUNG, _BONE)
_ABDOMEN = (_SOFT_TISSUE, _LIVER, _LUNG, _BONE)

CT_WINDOWS: dict[str, tuple[Window, ...]] = {
    **dict.fromkeys(("HEAD", "BRAIN", "SKULL"), _HEAD),
    **dict.fromkeys(("ABDOMEN", "LIVER", "KIDNEY", "PANCREAS"), _ABDOMEN),
    **dict.fromkeys(("ABDOMENPELVIS", "CHESTABDOMEN", "CHESTABDPELVIS"), _ABDOMEN),
}
"""Windows in HU by Body Part Examined (PS3.16 annex L); the first is how the part is shown.

Any other part, or none, is looked at as soft tissue, lung and bone.
"""

# ITU-R BT.601 as in PS3.3 section C.7.6.3.1.2, full range.
YBR_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], dtype=np.float32
)
RGB_FROM_YBR = np.array(
    [
        [1, 0, 1.402],
        [1, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587],
        [1, 1.772, 0],
    ]
)
"""The way back as readers go it, Cb and Cr counted from the middle of their range."""


def slope_width(window: Window) -> float:
    """Return the width, in modality values, over which a window would go from black to white.

    By its steepest slope: a sigmoid is at its centre as steep as the exact line of its width; the
    plain linear function is one unit narrower (PS3.3 sections C.11.2.1.2 and C.11.2.1.3).
    """
    if window.lut is not None:
        return 1 / float(np.abs(np.diff(window.lut.values)).max())
    return max(window.width - 1, 0.0) if window.function == "LINEAR" else window.width


def visible_range(window: Window) -> tuple[float, float]:
    """Return the closed range of modality values that a window does not show black or white.

    Of a LUT: where it is not as at its ends.
    """
    if window.lut is not None:
        moving = np.flatnonzero(np.diff(window.lut.values))
        return float(window.lut.first + moving[0]), float(window.lut.first + moving[-1] + 1)
    if window.function == "SIGMOID":
        reach = window.width / 4 * np.log(509)  # half of one of 255 steps from black or white
        return window.center - reach, window.center + reach
    if window.function == "LINEAR":
        half = (window.width - 1) / 2
        return window.center - 0.5 - half, window.center - 0.5 + half
    return window.lower, window.upper


@dataclass(frozen=True, slots=True)
class View:
    """An image, and how it is looked at.

    Attributes
    ----------
    image : Image
        As read from a file.
    mask : NDArray of bool
        (H, W); True where nothing may change, see `medprotect.intensity.mask.masked`.
    windows : tuple of Window
        The clinical windows, in modality values; at least one, the first is how the image is
        presented. A width of 0 means that the image shows nothing.
    """

    image: Image
    mask: NDArray[np.bool_]
    windows: tuple[Window, ...]

    def with_stored(self, stored: Stored) -> "View":
        """Return another image, of the same shape, looked at in the same way."""
        return replace(self, image=replace(self.image, stored=stored))

    @property
    def is_colour(self) -> bool:
        """Whether the image has three channels."""
        return self.image.stored.ndim == 3

    @property
    def has_lut(self) -> bool:
        """Whether presented values come out of a look-up table, of modality or VOI."""
        return self.image.lut is not None or any(window.lut for window in self.windows)

    @property
    def is_floating(self) -> bool:
        """Whether the stored values are floating point."""
        return self.image.stored.dtype.kind == "f"


def view(image: Image) -> View:
    """Find the windows in which an image is looked at, and where it has nothing to show.

    Of a CT: those of the header and those of its body part. Of another image that is more than
    8-bit values for the screen: those of the header, and the range from percentile 0.5 to 99.5,
    because who finds a header window too wide sets it to what is there. Where the header has
    windows, that range counts as at least 64 stored values wide: the first and last slices of a
    series hold next to nothing, and noise there must not round away.
    """
    mask = masked(image)
    return View(image, mask, _clinical_windows(image, mask))


def _clinical_windows(image: Image, mask: NDArray[np.bool_]) -> tuple[Window, ...]:
    colour = image.stored.ndim == 3
    if image.modality == "CT" and not colour:
        return image.windows + CT_WINDOWS.get(image.body_part, _TRUNK)
    if not image.windows and image.highest <= 255 and (not image.modality or colour):
        return (_screen_range(image),)
    robust = _robust_range(image, mask)
    if image.windows and image.stored.dtype.kind != "f":
        robust = replace(robust, width=max(robust.width, _LEAST_STORED * abs(image.slope)))
    return (*image.windows, robust)


def without_modality_lut(view: View) -> View:
    """Return an image as who leaves its modality LUT out looks at it."""
    image = replace(view.image, lut=None, slope=1.0, intercept=0.0)
    return replace(view, image=image, windows=_clinical_windows(image, view.mask))


def modality_values(image: Image, stored: NDArray[Any]) -> NDArray[np.float64]:
    """Return modality values of stored values of an image, same shape."""
    if image.lut is not None:
        return image.lut.map(stored)
    return np.asarray(stored, dtype=np.float64) * image.slope + image.intercept


def shown_by(window: Window, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a window shows of modality values, 0..1, same shape."""
    if window.lut is not None:
        return window.lut.map(values)
    width = max(slope_width(window), _STEP)
    if window.function == "SIGMOID":
        steps = np.clip((values - window.center) * (-4 / width), -80, 80)
        return np.asarray(1 / (1 + np.exp(steps)))
    lower, _ = visible_range(window)
    return np.clip((values - lower) / width, 0, 1)


def present(view: View, *, grey: bool = False) -> NDArray[np.float32]:
    """Return presented values, as a display shows them.

    Parameters
    ----------
    view : View
        The image, and its first window.
    grey : bool
        Whether an image stored in colour is known to be grey (`Image.is_grey`): of its three
        channels, which are equal, one is returned.

    Returns
    -------
    NDArray of float32
        (H, W, 1) grey, white is 1 whatever the photometric interpretation; or (H, W, 3) RGB;
        0..1. What is not a number is 0.
    """
    image, window = view.image, view.windows[0]
    if view.is_colour:
        shown = _present_colour(image, window)
        return shown[..., :1] if grey else shown
    if view.has_lut:
        clipped = shown_by(window, modality_values(image, image.stored)).astype(np.float32)
    else:
        clipped = _present_grey(image, window)
    if image.photometric == "MONOCHROME1":
        clipped = 1 - clipped
    return clipped[..., None].astype(np.float32, copy=False)


def _present_grey(image: Image, window: Window) -> NDArray[np.float32]:
    values = image.stored.astype(np.float32) * np.float32(image.slope)
    lower, _ = visible_range(window)
    width = max(slope_width(window), _STEP)
    if window.function == "SIGMOID":
        steps = (values + np.float32(image.intercept - window.center)) * np.float32(-4 / width)
        shown = 1 / (1 + np.exp(np.clip(steps, -80, 80)))
    else:
        shown = (values + np.float32(image.intercept - lower)) / np.float32(width)
    clipped: NDArray[np.float32] = np.clip(np.nan_to_num(shown, nan=0.0), 0, 1)
    return clipped


def _present_colour(image: Image, window: Window) -> NDArray[np.float32]:
    values = image.stored.astype(np.float32)
    if image.photometric.startswith("YBR"):
        values[..., 1:] -= (image.highest + 1) / 2
        values = values @ RGB_FROM_YBR.T.astype(np.float32)
    lower, _ = visible_range(window)
    width = max(slope_width(window), _STEP)
    shown: NDArray[np.float32] = (values - np.float32(lower)) / np.float32(width)
    return np.clip(shown, 0, 1)


def _screen_range(image: Image) -> Window:
    width = image.highest - image.lowest
    return Window(image.lowest + width / 2, width, "LINEAR_EXACT")


def _robust_range(image: Image, mask: NDArray[np.bool_]) -> Window:
    """Return the range between two percentiles of what is not masked; width 0 where it is flat."""
    seen = image.stored[~mask]
    seen = seen[np.isfinite(seen)] if seen.dtype.kind == "f" else seen
    if seen.size == 0:
        return Window(0, 0, "LINEAR_EXACT")
    ends = modality_values(image, np.percentile(seen.astype(np.float64), _PERCENTILES))
    width = float(abs(ends[1] - ends[0]))
    return Window(float(ends.min()) + width / 2, width, "LINEAR_EXACT")
