"""How the stored values of a file lie in its pixel data (PS3.3 section C.7.6.3)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprotect.imaging.image import Stored

Container = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]
"""(H, W) or (H, W, 3): whole cells of Bits Allocated, unused bits included, unsigned."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """The Image Pixel module, checked.

    Attributes
    ----------
    rows, columns, frames : int
        Matrix and Number of Frames.
    samples : int
        Samples per Pixel, 1 or 3.
    bits_allocated, bits_stored, high_bit : int
        8, 16 or 32; 2 to 32; `bits_stored` - 1 to `bits_allocated` - 1.
    signed : bool
        Pixel Representation.
    planar : bool
        Whether a native frame holds its samples plane by plane (Planar Configuration 1).
    photometric : str
        Photometric Interpretation as the header states it.
    halved_chroma : bool
        Whether two neighbours in a row of a native frame share Cb and Cr (YBR_FULL_422).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool
    photometric: str
    halved_chroma: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame in memory: (H, W) or (H, W, 3)."""
        matrix = (self.rows, self.columns)
        return matrix if self.samples == 1 else (*matrix, self.samples)

    @property
    def frame_bytes(self) -> int:
        """Size of a native frame in bytes."""
        samples = 2 if self.halved_chroma else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    @property
    def pixel_bytes(self) -> int:
        """Size of all native frames in bytes, without padding."""
        return self.frame_bytes * self.frames

    @property
    def shift(self) -> int:
        """Unused bits below the stored value."""
        return self.high_bit + 1 - self.bits_stored

    @property
    def lowest(self) -> int:
        """Smallest stored value that the bits can hold."""
        return -(1 << self.bits_stored - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest stored value that the bits can hold."""
        return (1 << self.bits_stored - int(self.signed)) - 1


def sign_extend(values: NDArray[np.unsignedinteger], bits: int) -> NDArray[np.signedinteger]:
    """Return the lowest `bits` of each value, read as two's complement; same shape and size."""
    width = values.dtype.itemsize * 8
    signed = values.view(f"i{values.dtype.itemsize}")
    unused = width - bits
    return np.asarray((signed << unused) >> unused)


def stored_values(container: Container, layout: PixelLayout) -> Stored:
    """Return the stored values in cells: unused bits removed, signs extended.

    Parameters
    ----------
    container : Container
        (H, W) or (H, W, 3), uint8, uint16 or uint32.
    layout : PixelLayout
        Which bits count.

    Returns
    -------
    Stored
        Same shape and size, signed where the layout is.
    """
    values = container >> layout.shift if layout.shift else container
    if layout.signed:
        return sign_extend(np.ascontiguousarray(values), layout.bits_stored)
    if layout.bits_stored == layout.bits_allocated:
        return values.copy()
    return np.asarray(values & container.dtype.type((1 << layout.bits_stored) - 1))


def fill_container(container: Container, stored: Stored, layout: PixelLayout) -> Container:
    """Return the cells with other stored values, all other bits as they were.

    Embedded overlays and whatever else lies in unused bits stay. Where the unused high bits of
    every cell merely repeat the sign, they go on doing so.

    Parameters
    ----------
    container : Container
        The cells as the file holds them, (H, W) or (H, W, 3).
    stored : Stored
        The new values, same shape.
    layout : PixelLayout
        Which bits count.
    """
    dtype = container.dtype
    values = stored.astype(f"i{dtype.itemsize}" if layout.signed else dtype).view(dtype)
    repeats_sign = layout.signed and layout.shift == 0
    if repeats_sign and np.array_equal(stored_values(container, layout).view(dtype), container):
        return values
    mask = dtype.type(((1 << layout.bits_stored) - 1) << layout.shift)
    return np.asarray((container & ~mask) | ((values << layout.shift) & mask))


def expand_chroma(cells: Container, layout: PixelLayout) -> Container:
    """Return (H, W, 3) cells of a frame whose neighbours share Cb and Cr: Y1 Y2 Cb Cr, and so on.

    PS3.3 section C.7.6.3.1.2: both pixels are shown with the chroma that they share.
    """
    fours = cells.reshape(layout.rows, layout.columns // 2, 4)
    expanded = np.empty(layout.shape, cells.dtype)
    expanded[..., 0] = fours[..., :2].reshape(layout.rows, layout.columns)
    expanded[..., 1:] = np.repeat(fours[..., 2:], 2, axis=1)
    return expanded


def halve_chroma(cells: Container) -> Container:
    """Return the cells that `expand_chroma` expanded, in their order in the file.

    Raises
    ------
    ValueError
        Two neighbours have another Cb or Cr.
    """
    if not np.array_equal(cells[:, ::2, 1:], cells[:, 1::2, 1:]):
        raise ValueError("two pixels that share their chroma have another one each")
    luma = cells[..., 0].reshape(len(cells), -1, 2)
    return np.concatenate([luma, cells[:, ::2, 1:]], axis=2)
