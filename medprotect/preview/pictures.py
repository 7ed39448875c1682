"""Pictures of one image before, after, and of the difference, in every window it is looked at in.

The windows are those that the budget honours (`medprotect.intensity.windows.view`), and the
pictures are computed as the budget computes what a window shows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.imaging.image import Image, Window
from medprotect.intensity.windows import (
    STANDARD_NAMES,
    View,
    present,
    slope_width,
    view,
)
from medprotect.preview.selection import LARGE_SIDE
from medprotect.protect.inspection import AMPLIFIED

LEVELS = 255
"""Steps from black to white that a screen shows."""

_MOST_WINDOWS = 8
_WHOLE_SIDE, _PART_SIDE = 896, 640
"""Of large images, in pixels: of the whole, reduced, and of the part in full size."""

_COLOUR_SIDES = 0.7
"""What these are times of in colour, which takes three times the room."""

Presented = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trio:
    """One image, or a part of it, as PNG.

    Attributes
    ----------
    before, after : bytes
        As a display shows them.
    difference : bytes
        After less before, times `AMPLIFIED`, around grey.
    """

    before: bytes
    after: bytes
    difference: bytes

    @property
    def size(self) -> int:
        """Bytes of all three."""
        return len(self.before) + len(self.after) + len(self.difference)


@dataclass(frozen=True, slots=True)
class InWindow:
    """One image in one window.

    Attributes
    ----------
    name : str
        What the window is called, such as ``brain``; the same in all images of a series.
    level : str
        Its center and width in words, "" where they say nothing.
    whole : Trio
        The whole image; reduced where it is large.
    part : Trio or None
        Of a large image the part in full size that changed most.
    black_to_white : float
        Width of the window in modality values; 0 of a look-up table.
    largest : float
        Largest change that it shows, in `LEVELS`.
    is_flat : bool
        Whether it shows the image all of one shade, as where a header's window does not fit.
    """

    name: str
    level: str
    whole: Trio
    part: Trio | None
    black_to_white: float
    largest: float
    is_flat: bool

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return self.whole.size + (self.part.size if self.part else 0)


@dataclass(frozen=True, slots=True)
class Shown:
    """One image, clean and protected.

    Attributes
    ----------
    rows, columns : int
        Its matrix.
    unit : str
        Of modality values, in words such as ``HU``.
    windows : tuple of InWindow
        At least one; the first is how viewers show it.
    changed : float
        Share of its pixels that changed.
    """

    rows: int
    columns: int
    unit: str
    windows: tuple[InWindow, ...]
    changed: float

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return sum(each.size for each in self.windows)


def show(clean: Image, protected: Image) -> Shown:
    """Draw an image in every window.

    Parameters
    ----------
    clean, protected : Image
        The same image of the export and of OUT.
    """
    seen = view(clean)
    differs = clean.stored != protected.stored
    rows, columns = clean.stored.shape[:2]
    part: tuple[slice, slice] | None = None
    drawn = []
    for name, window in name_windows(seen):
        before = replace(seen, windows=(window,))
        pair = present(before), present(before.with_stored(protected.stored))
        if max(rows, columns) > LARGE_SIDE and part is None:
            part = _find_most_changed(pair[1] - pair[0], _scaled(_PART_SIDE, seen))
        drawn.append(_draw(name, before, pair, part))
    return Shown(
        rows=rows,
        columns=columns,
        unit=_unit(seen),
        windows=tuple(drawn),
        changed=float((differs if differs.ndim == 2 else differs.any(-1)).mean()),
    )


def number(figure: float) -> str:
    """Return a number as people write it: no more digits than matter, and no exponent."""
    size = abs(figure)
    if size >= 100:
        return f"{figure:.0f}"
    return f"{figure:.3g}" if size >= 1e-3 or not size else f"{figure:.1e}"


def _unit(seen: View) -> str:
    if seen.is_colour:
        return "steps of a colour"
    return "HU" if seen.image.modality == "CT" else "grey values"


def name_windows(seen: View) -> Iterator[tuple[str, Window]]:
    """Yield the windows of an image, each once, with names that the images of a series share."""
    of_file = list(dict.fromkeys(seen.image.windows))
    named = []
    for at, window in enumerate(of_file, start=1):
        called = f"file {at}" if len(of_file) > 1 else "file"
        standard = STANDARD_NAMES.get(window) if seen.image.modality == "CT" else None
        named.append((f"{standard} ({called})" if standard else called, window))
    for window in dict.fromkeys(seen.windows[len(seen.image.windows) :]):
        if window in of_file:
            continue
        if window in STANDARD_NAMES:
            named.append((STANDARD_NAMES[window], window))
        elif window.width > 0 or not named:
            is_whole = window.width == seen.image.highest - seen.image.lowest
            named.append(("as stored" if is_whole else "full range", window))
    yield from named[:_MOST_WINDOWS]


def _draw(
    name: str,
    seen: View,
    pair: tuple[Presented, Presented],
    part: tuple[slice, slice] | None,
) -> InWindow:
    before, after = pair
    window = seen.windows[0]
    has_level = window.lut is None and not seen.is_colour and window.width > 0
    return InWindow(
        name=name,
        level=f"{number(window.center)} / {number(window.width)}" if has_level else "",
        whole=_trio(before, after, _scaled(_WHOLE_SIDE, seen) if part else 0),
        part=_trio(before[part], after[part], 0) if part else None,
        black_to_white=slope_width(window) if has_level else 0.0,
        largest=float(np.abs(after - before).max(initial=0)) * LEVELS,
        is_flat=bool(before.min() == before.max()),
    )


def _trio(before: Presented, after: Presented, long_side: int) -> Trio:
    difference = np.clip(0.5 + AMPLIFIED * (after - before), 0, 1)
    panels: tuple[Presented, ...] = (before, after, difference)
    if long_side:
        panels = tuple(_reduce(each, long_side) for each in panels)
    return Trio(*(_png(each) for each in panels))


def _reduce(panel: Presented, long_side: int) -> Presented:
    """Return a smaller picture: each of its pixels is the mean of those that it stands for."""
    rows, columns = panel.shape[:2]
    scale = long_side / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    channels = [
        Picture.fromarray(np.ascontiguousarray(panel[..., at])).resize(size, Picture.Resampling.BOX)
        for at in range(panel.shape[2])
    ]
    return np.stack([np.asarray(each) for each in channels], axis=-1)


def _scaled(side: int, seen: View) -> int:
    return round(side * _COLOUR_SIDES) if seen.is_colour else side


def _find_most_changed(difference: Presented, longest: int) -> tuple[slice, slice]:
    """Return the part, at most so many pixels long, whose pixels change most in the mean."""
    from scipy.ndimage import uniform_filter

    amount = np.abs(difference).max(axis=-1)
    sides = tuple(min(longest, side) for side in amount.shape)
    mean = uniform_filter(amount, size=sides, mode="constant")
    starts = []
    for at, side, whole in zip(
        np.unravel_index(int(mean.argmax()), mean.shape), sides, amount.shape, strict=True
    ):
        starts.append(min(max(0, int(at) - side // 2), whole - side))
    top, left = starts
    return slice(top, top + sides[0]), slice(left, left + sides[1])


def _png(panel: Presented) -> bytes:
    pixels = np.rint(np.clip(panel, 0, 1) * LEVELS).astype(np.uint8)
    stream = BytesIO()
    Picture.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()
