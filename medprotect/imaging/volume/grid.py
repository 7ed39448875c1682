"""How the voxels of a volume lie in their block, and which of its planes are images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect import limits
from medprotect.errors import ImageTooLargeError, NotAnImageError


@dataclass(frozen=True, slots=True)
class Grid:
    """The voxels of a volume.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the voxels, in the file's byte order.
    sizes : tuple of int
        Of all axes, the fastest first.
    plane : tuple of (int, int)
        Which axes are the columns and the rows of an image; every position along the others is
        one image.
    """

    dtype: np.dtype[Any]
    sizes: tuple[int, ...]
    plane: tuple[int, int]

    @property
    def columns(self) -> int:
        """Columns of an image."""
        return self.sizes[self.plane[0]]

    @property
    def rows(self) -> int:
        """Rows of an image."""
        return self.sizes[self.plane[1]]

    @property
    def images(self) -> int:
        """How many images there are."""
        return prod(self.sizes) // (self.rows * self.columns)

    @property
    def data_bytes(self) -> int:
        """Size of all voxels."""
        return prod(self.sizes) * self.dtype.itemsize

    def planes(self, block: bytes | bytearray) -> list[NDArray[Any]]:
        """Return the images (rows, columns) of a block, as views, the fastest axis last."""
        count = len(self.sizes)
        voxels = np.frombuffer(block, self.dtype, prod(self.sizes)).reshape(self.sizes[::-1])
        others = [axis for axis in reversed(range(count)) if axis not in self.plane]
        order = [count - 1 - axis for axis in (*others, self.plane[1], self.plane[0])]
        moved = voxels.transpose(order)
        return [moved[at] for at in np.ndindex(*moved.shape[: count - 2])]


def make_grid(
    dtype: np.dtype[Any], sizes: Sequence[int], beside: frozenset[int] = frozenset()
) -> Grid:
    """Return the grid of a volume, before anything is allocated for it.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the voxels.
    sizes : sequence of int
        Of all axes, the fastest first, each at least one.
    beside : frozenset of int
        Axes that are none of space; the plane lies across them only where no two others do.

    Raises
    ------
    NotAnImageError
        Fewer than two axes are longer than one.
    ImageTooLargeError
        Over a limit of `medprotect.limits`.
    """
    long = [axis for axis, size in enumerate(sizes) if size > 1]
    spatial = [axis for axis in long if axis not in beside]
    plane = spatial if len(spatial) >= 2 else long
    if len(plane) < 2:
        raise NotAnImageError("a list of values, not an image")
    grid = Grid(dtype, tuple(sizes), (plane[0], plane[1]))
    if (
        grid.data_bytes > limits.DECODED_BYTES
        or grid.rows * grid.columns > limits.IMAGE_PIXELS
        or grid.images > limits.IMAGES_PER_FILE
    ):
        raise ImageTooLargeError("more voxels than medprotect.limits allows; split the file")
    return grid
