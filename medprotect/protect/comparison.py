"""A protected file beside its original, read twice: by what wrote it, and by other libraries."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import VerificationError
from medprotect.imaging import formats
from medprotect.imaging.image import Image, ImageFile, Readable, Stored
from medprotect.imaging.second_reading import Samples, read_again
from medprotect.intensity.apply import share_of_budget
from medprotect.intensity.budget import BUSY_SHARE, STRENGTHS, budget_lsb
from medprotect.intensity.windows import (
    View,
    modality_values,
    shown_by,
    slope_width,
    view,
    visible_range,
    without_modality_lut,
)
from medprotect.protect.protectable import FileCheck

_ROUNDING = 1e-6
_OTHER_NUMBER = "another library reads another number of images"
_FEW, _LEAST_FREE = 64, 0.5
"""An image of which more pixels, and this share, could change is unprotected where none did."""


def compare_files(
    original: Readable,
    protected: Readable,
    strength: str,
    uids: Mapping[str, str] | None = None,
    *,
    checks_bound: bool = True,
) -> tuple[FileCheck, bool]:
    """Compare a protected file with its original; name the first difference that may not be.

    Each image of both files is read twice, by two libraries, and the readings must agree. No
    pixel may change by more than its budget, nor be shown changed by more than the strength in any
    clinical window. No image that could change may be as it was. Alpha stays. The header may
    differ as documented; its references have to name protected images by their new UIDs.

    Parameters
    ----------
    original, protected : binary file or Pair
        Seekable. Frames of DICOM are read one at a time.
    strength : str
        ``low``, ``standard`` or ``high``.
    uids : mapping of str to str, optional
        The new UIDs of all protected files of the export, by the names of the old.
    checks_bound : bool
        Whether changes are compared with their bound; without, the largest share of it counts as 0.

    Returns
    -------
    tuple of FileCheck and bool
        What was found, and whether both files could be read twice.

    Raises
    ------
    VerificationError
        Something does not hold.
    InputError
        One of the files cannot be read.
    """
    before, after = formats.open_stream(original), formats.open_stream(protected)
    readings = [_second_reading(before, original), _second_reading(after, protected)]
    share, changed, pixels, count = 0.0, 0, 0, 0
    for index, (image, other) in enumerate(zip_longest(before.images(), after.images())):
        if image is None or other is None:
            raise VerificationError("the protected file holds another number of images")
        seen = [None if reading is None else _next(reading) for reading in readings]
        _check_reading(image.stored, seen[0], index, "the original")
        _check_reading(other.stored, seen[1], index, "the protected file")
        _check_alpha(seen)
        differs, worst = _check_pixels(
            image, other.stored, strength, index, checks_bound=checks_bound
        )
        share, changed, pixels = max(share, worst), changed + differs, pixels + _area(image)
        count += 1
    if changed == 0:
        raise VerificationError("no pixel of the file changed: it is not protected")
    if any(reading is not None and next(reading, None) is not None for reading in readings):
        raise VerificationError(_OTHER_NUMBER)
    found = formats.undocumented_changes(original, protected, uids)
    if found:
        raise VerificationError(f"{found[0]} differs from the original, and may not")
    return FileCheck(count, share, changed / pixels), None not in readings


def _second_reading(file: ImageFile, stream: Readable) -> Iterator[Samples] | None:
    """Begin to read a file with another library."""
    traits = file.description.traits
    if traits is None:
        raise VerificationError("a file that is no image")
    return read_again(stream, traits.format)


def _next(reading: Iterator[Samples]) -> Samples:
    samples = next(reading, None)
    if samples is None:
        raise VerificationError(_OTHER_NUMBER)
    return samples


def _area(image: Image) -> int:
    rows, columns = image.stored.shape[:2]
    return int(rows * columns)


def _check_alpha(seen: Sequence[Samples | None]) -> None:
    alpha = [None if samples is None else _alpha(samples) for samples in seen]
    if any(samples is None for samples in seen) or (alpha[0] is None and alpha[1] is None):
        return
    if alpha[0] is None or alpha[1] is None or not np.array_equal(alpha[0], alpha[1]):
        raise VerificationError("the alpha channel differs from the original")


def _alpha(samples: Samples) -> Samples | None:
    return samples[..., -1] if samples.ndim == 3 and samples.shape[2] in (2, 4) else None


def _check_reading(stored: Stored, other: Samples | None, index: int, whose: str) -> None:
    """Check that both readings of an image agree."""
    if other is None:
        return
    if stored.ndim == 3 and other.ndim == 3:
        other = other[..., : stored.shape[2]]
    elif other.ndim == 3 and other.shape[2] == 2:
        other = other[..., 0]
    is_same = other.shape == stored.shape and np.array_equal(
        other, stored, equal_nan=stored.dtype.kind == "f"
    )
    if not is_same:
        raise VerificationError(
            f"another library reads other pixels in image {index + 1} of {whose}"
        )


def _check_pixels(
    image: Image, after: Stored, strength: str, index: int, *, checks_bound: bool
) -> tuple[int, float]:
    """Check the pixels of one image; return how many changed, and the largest share of a budget."""
    seen = view(image)
    budget = budget_lsb(seen, strength)
    if after.shape != image.stored.shape or after.dtype != image.stored.dtype:
        raise VerificationError(f"image {index + 1} has another size or type of pixels")
    share = _check_bound(seen, after, budget, strength, index) if checks_bound else 0.0
    same = (after == image.stored) | ((after != after) & (image.stored != image.stored))
    differs = ~(same if same.ndim == 2 else same.all(-1))
    free, shown = int((budget > 0).sum()), int((~seen.mask).sum())
    if free > max(_LEAST_FREE * shown, _FEW) and not differs.any():
        raise VerificationError(f"image {index + 1} is as it was: it is not protected")
    return int(differs.sum()), share


def _check_bound(
    seen: View, after: Stored, budget: NDArray[np.float64], strength: str, index: int
) -> float:
    share = share_of_budget(seen.image, after, budget)
    if share > 1:
        at = _first_over(seen.image.stored, after, budget)
        raise VerificationError(
            f"image {index + 1}, row {at[0]}, column {at[1]} changed by more than its budget"
        )
    most = BUSY_SHARE * STRENGTHS[strength] / 255
    if not seen.is_colour and _largest_shown(seen, after) > most + _ROUNDING:
        raise VerificationError(f"image {index + 1} is shown changed by more than its strength")
    return share


def _first_over(before: Stored, after: Stored, budget: NDArray[np.float64]) -> tuple[int, int]:
    with np.errstate(invalid="ignore"):
        change = np.abs(after.astype(np.float64) - before.astype(np.float64))
    change = np.nan_to_num(change.max(-1) if change.ndim == 3 else change, nan=np.inf)
    rows, columns = np.nonzero(change > budget)
    return (int(rows[0]), int(columns[0])) if rows.size else (0, 0)


def _largest_shown(seen: View, after: Stored) -> float:
    """Return the largest change that any window or look-up table shows, of 0..1.

    What is shown black or white counts from where it no longer is; and an image with a modality
    LUT is also looked at without it, as its budget is.
    """
    image, largest = seen.image, 0.0
    finite = np.isfinite(image.stored) if seen.is_floating else np.s_[...]
    values = [modality_values(image, stored[finite]) for stored in (image.stored, after)]
    for window in seen.windows:
        lower, upper = visible_range(window)
        if slope_width(window) > 0 and values[0].size:
            before, shown = (shown_by(window, np.clip(value, lower, upper)) for value in values)
            largest = max(largest, float(np.abs(shown - before).max()))
    if image.lut is not None:
        largest = max(largest, _largest_shown(without_modality_lut(seen), after))
    return largest
