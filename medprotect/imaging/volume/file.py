"""An open volume: its images in stored values, and the way back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.imaging.image import (
    Content,
    Derivation,
    Description,
    Encoded,
    Image,
    Role,
    Stored,
    Traits,
    Window,
)
from medprotect.imaging.volume.grid import Grid


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a header says of the voxels' values.

    Attributes
    ----------
    slope, intercept : float
        Rescale to modality values.
    shown : tuple of (float, float)
        Display range in modality values, as stated; none where it is no range.
    quantitative : bool
        Whether they are measurements.
    """

    slope: float = 1.0
    intercept: float = 0.0
    shown: tuple[float, float] = (0.0, 0.0)
    quantitative: bool = False


def describe_image(name: str, grid: Grid, meaning: Meaning, compression: str) -> Description:
    """Return the description of a volume that is an image.

    Parameters
    ----------
    name : str
        Of the format.
    grid : Grid
        Of its voxels.
    meaning : Meaning
        Of their values.
    compression : str
        A codec of `medprotect.imaging.volume.streams.Source`.
    """
    kind = grid.dtype.kind
    traits = Traits(
        format=name,
        bits_stored=grid.dtype.itemsize * 8,
        signed=kind != "u",
        floating=kind == "f",
        rows=grid.rows,
        columns=grid.columns,
        images=grid.images,
        compression=compression,
        quantitative=meaning.quantitative,
    )
    return Description(Role.IMAGE, f"{name} image", traits)


class VolumeFile:
    """One volume, in one file or two.

    Parameters
    ----------
    description : Description
        Of role ``IMAGE``.
    grid : Grid
        Of the voxels.
    meaning : Meaning
        Of their values.
    block : bytes or bytearray
        All voxels, as they lie in the file, uncompressed.
    rebuild : callable
        ``rebuild(block)`` is the file with another block and nothing else changed but what its
        format lists.
    notes : tuple of str
        What `rebuild` does besides.
    """

    def __init__(
        self,
        description: Description,
        grid: Grid,
        meaning: Meaning,
        block: bytes | bytearray,
        rebuild: Callable[[bytearray], Content],
        notes: tuple[str, ...] = (),
    ) -> None:
        self._description = description
        self._grid, self._meaning, self._block = grid, meaning, block
        self._rebuild, self._notes = rebuild, notes

    @property
    def description(self) -> Description:
        """What the header says."""
        return self._description

    def images(self) -> Iterator[Image]:
        """Decode the planes in order: along the slowest axis last."""
        windows = self._windows()
        native = self._grid.dtype.newbyteorder("=")
        limits = np.finfo(native) if native.kind == "f" else np.iinfo(native)
        for plane in self._grid.planes(self._block):
            stored = plane.astype(native)
            finite = np.isfinite(stored)
            yield Image(
                stored=stored,
                lowest=float(limits.min),
                highest=float(limits.max),
                slope=self._meaning.slope,
                intercept=self._meaning.intercept,
                windows=windows,
                locked=None if finite.all() else ~finite,
            )

    def _windows(self) -> tuple[Window, ...]:
        """Return the display range, if it shows anything of the image."""
        lower, upper = self._meaning.shown
        width = upper - lower
        if not np.isfinite([lower, upper, width]).all() or width <= 0:
            return ()
        voxels = np.frombuffer(self._block, self._grid.dtype)
        with np.errstate(invalid="ignore"):
            ends = [np.nanmin(voxels), np.nanmax(voxels)] if not _is_all_nan(voxels) else [0, 0]
        values = sorted(float(end) * self._meaning.slope + self._meaning.intercept for end in ends)
        if values[1] <= lower or values[0] >= upper:
            return ()
        return (Window(lower + width / 2, width, "LINEAR_EXACT"),)

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return the file with other voxels; every byte before and behind them is the source's.

        Parameters
        ----------
        changed : sequence of Stored
            One array per image, in the order of `images`, same shapes and dtypes.
        derivation : Derivation
            Not stated in the file: the header stays as it is.

        Raises
        ------
        ValueError
            Another number of arrays, another shape or dtype.
        """
        if len(changed) != self._grid.images:
            raise ValueError(f"{len(changed)} arrays for {self._grid.images} slices")
        block = bytearray(self._block)
        for plane, stored in zip(self._grid.planes(block), changed, strict=True):
            if stored.shape != plane.shape or stored.dtype != self._grid.dtype.newbyteorder("="):
                raise ValueError(f"a slice of {stored.shape} {stored.dtype}, not {plane.shape}")
            plane[...] = stored
        return Encoded(self._rebuild(block), self._notes)


def _is_all_nan(voxels: NDArray[Any]) -> bool:
    return voxels.dtype.kind == "f" and bool(np.isnan(voxels).all())
