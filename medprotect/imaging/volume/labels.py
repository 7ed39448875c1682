"""Telling label maps from images: both are volumes, and only images are protected."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging.volume.grid import Grid
from medprotect.imaging.volume.streams import FEWER, Source

_CHUNK_BYTES = 4 * 1024 * 1024
_FEW, _MANY = 2, 1024
_FLAT = 0.8
"""Share of labelled neighbours with the same label, at least; measured on images: below 0.4."""
_ENOUGH_PAIRS = 200_000


class LabelCounter:
    """Looks at voxels, chunk by chunk, until they are known to be no label map.

    Labels are integers from 0, few, and lie in pieces: two neighbours that are not background are
    mostly of one label.
    """

    def __init__(self) -> None:
        self._values: set[int] = set()
        self._pairs = 0
        self._equal = 0

    def add(self, voxels: NDArray[Any]) -> bool:
        """Take more voxels (n,); return False as soon as they cannot be labels."""
        if voxels.size == 0:
            return True
        starts = np.flatnonzero(voxels[1:] != voxels[:-1]) + 1
        runs = voxels[np.concatenate(([0], starts))]
        with np.errstate(invalid="ignore"):  # NaN is no label
            is_label = (runs >= 0) & (runs <= 2**31) & (runs == np.floor(runs))
        if not is_label.all():
            return False
        if len(self._values) <= _MANY:
            self._values.update(np.unique(runs).astype(np.int64).tolist())
        inside = (voxels[1:] != 0) & (voxels[:-1] != 0)
        self._pairs += int(np.count_nonzero(inside))
        self._equal += int(np.count_nonzero(inside & (voxels[1:] == voxels[:-1])))
        return len(self._values) <= _FEW or self._may_be_flat()

    def _may_be_flat(self) -> bool:
        if len(self._values) > _MANY:
            return False
        return self._pairs < _ENOUGH_PAIRS or self._equal >= _FLAT * self._pairs

    @property
    def is_label_map(self) -> bool:
        """Whether all voxels together are a mask or a label map."""
        count = len(self._values)
        if count <= _FEW:
            return True  # even a picture of two values has nothing that noise could hide in
        return count <= _MANY and self._pairs > 0 and self._equal >= _FLAT * self._pairs


def is_label_map(source: Source, grid: Grid, first: bytes = b"", *, has_tags: bool = False) -> bool:
    """Read voxels until they are known to be no label map.

    Parameters
    ----------
    source : Source
        At the first voxel that is not in `first`.
    grid : Grid
        Of the voxels.
    first : bytes
        Voxels that have been read already, and maybe what follows them.
    has_tags : bool
        Whether the format puts more than empty space behind the voxels.

    Raises
    ------
    CorruptImageError
        There are fewer voxels than the header says.
    UnsupportedImageError
        Other data follows a label map: it may be an image, and label maps are copied whole.
    """
    counter = LabelCounter()
    width, left, rest = grid.dtype.itemsize, grid.data_bytes, first
    while left > 0:
        more = source.read(_CHUNK_BYTES)
        chunk = rest + more
        if not more and len(chunk) < width:  # the voxels to come could have been an image's
            raise CorruptImageError(FEWER)
        whole = min(len(chunk) // width * width, left)
        voxels = np.frombuffer(chunk[:whole], grid.dtype)
        if not counter.add(voxels.astype(grid.dtype.newbyteorder("="))):
            return False
        rest = chunk[whole:]
        left -= whole
    if not counter.is_label_map:
        return False
    while not has_tags and (rest := rest or source.read(_CHUNK_BYTES)):
        if rest.strip(b"\0"):
            raise UnsupportedImageError("other data follows a label map; cut it off")
        rest = b""
    return True
