"""How much a run changed the images: measured on a few files of each kind, drawn evenly."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.audit.fidelity import fidelity
from medprotect.audit.report_schema import Beside
from medprotect.imaging.image import Image
from medprotect.intensity.windows import modality_values, present, view
from medprotect.protect.inspection import AMPLIFIED
from medprotect.protect.journal import Entry, Outcome
from medprotect.report.reading import Trees, read_both

SAMPLE = 6
"""Files of a kind that are compared."""

SHOWN = ("psnr_db", "ssim", "vif")
"""Figures of likeness, each in presented values: as on a screen."""

_COMPARED_SIDE = 512
"""Pixels of the part in the middle that likeness is measured on: the whole of a radiograph takes
half a minute."""

_LONG_SIDE = 320
"""Of pictures, in pixels: enough to see by, small enough for a page of many."""


@dataclass(slots=True)
class Change:
    """What was found of one kind.

    Attributes
    ----------
    compared : int
        Images, one of each file.
    likeness : dict of str to Beside
        Medians of `SHOWN`, of the middle part of each; None where it was measured on no image.
    changes : NDArray of float64
        Of single pixels, in modality values (HU where it is CT), at most some thousands an image.
    pictures : tuple of bytes
        Before, after, and the noise times 16, as PNG; of the first image.
    """

    compared: int = 0
    likeness: dict[str, Beside] = field(default_factory=dict)
    changes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    pictures: tuple[bytes, ...] = ()


def measure_changes(export: Path, out: Path, entries: Sequence[Entry]) -> dict[str, Change]:
    """Return what was found, by kind.

    Parameters
    ----------
    export, out : Path
        Of the run.
    entries : sequence of Entry
        Of its journal.

    Raises
    ------
    OutputError
        A file is no more as the run left it.
    """
    trees = Trees.of(export, out, entries)
    kinds: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.outcome is Outcome.PROTECTED and not entry.row.header:
            kinds.setdefault(entry.row.kind, []).append(entry)
    return {kind: _measure(trees, _draw_evenly(of)) for kind, of in sorted(kinds.items())}


def _draw_evenly(entries: list[Entry]) -> list[Entry]:
    step = max(1, len(entries) // SAMPLE)
    return entries[::step][:SAMPLE]


def _measure(trees: Trees, entries: list[Entry]) -> Change:
    found = Change()
    figures: list[dict[str, Beside]] = []
    changes: list[NDArray[np.float64]] = []
    for before, after in (_middle_pair(trees, entry) for entry in entries):
        clean = view(before)
        presented = present(clean), present(clean.with_stored(after.stored))
        pair = [_crop(each)[None].astype(np.float64) for each in presented]
        figures.append(fidelity(*pair, data_range=(0.0, 1.0)))
        with np.errstate(invalid="ignore"):  # infinite less infinite
            changes.append(_thin(modality_values(before, after.stored) - _values(before)))
        found.pictures = found.pictures or _draw(*presented)
    found.compared = len(figures)
    found.likeness = {name: _median([each[name] for each in figures]) for name in SHOWN}
    found.changes = np.concatenate(changes) if changes else found.changes
    return found


def _middle_pair(trees: Trees, entry: Entry) -> tuple[Image, Image]:
    """Return the image in the middle of a file, clean and protected."""
    (both,) = read_both(trees, entry, lambda count: (count // 2,))
    return both


def _crop(presented: NDArray[np.float32]) -> NDArray[np.float32]:
    top, left = (max(0, (side - _COMPARED_SIDE) // 2) for side in presented.shape[:2])
    return presented[top : top + _COMPARED_SIDE, left : left + _COMPARED_SIDE]


def _values(image: Image) -> NDArray[np.float64]:
    return modality_values(image, image.stored)


def _thin(changes: NDArray[np.float64], most: int = 20_000) -> NDArray[np.float64]:
    flat = changes[np.isfinite(changes)]  # of floating point, some pixels hold no number
    return flat[:: max(1, len(flat) // most)]


def _median(figures: list[Beside]) -> Beside:
    return {
        "protected": _median_of([each["protected"] for each in figures]),
        "jpeg_50": _median_of([each["jpeg_50"] for each in figures]),
    }


def _median_of(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return float(np.median(known)) if known else None


def _draw(clean: NDArray[np.float32], changed: NDArray[np.float32]) -> tuple[bytes, ...]:
    noise = np.clip(0.5 + AMPLIFIED * (changed - clean), 0, 1)
    return tuple(_png(each) for each in (clean, changed, noise))


def _png(presented: NDArray[np.float32]) -> bytes:
    picture = Picture.fromarray(np.rint(presented * 255).astype(np.uint8).squeeze())
    picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
    stream = BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
