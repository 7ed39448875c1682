"""MGH images of FreeSurfer, plain (``.mgh``) or gzipped (``.mgz``).

A header of fixed size, the voxels, then scan parameters and tags. The module keeps the contract
`medprotect.imaging.image.VolumeFormat`. What it changes besides the voxels is
`DOCUMENTED_CHANGES`: of header, parameters and tags, nothing.
"""

import struct
from functools import partial
from io import BytesIO
from typing import BinaryIO

import numpy as np

from medprotect.errors import CorruptImageError, NotAnImageError, UnsupportedImageError
from medprotect.imaging.image import Content, Description, ImageFile, Pair, Role
from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.volume.differences import compare_around, compare_gzip, inflate
from medprotect.imaging.volume.file import Meaning, VolumeFile, describe_image
from medprotect.imaging.volume.grid import Grid, make_grid
from medprotect.imaging.volume.labels import is_label_map
from medprotect.imaging.volume.streams import FEWER, Packing, Source, is_gzip, packing_of

__all__ = [
    "DOCUMENTED_CHANGES",
    "changed_elements",
    "describe",
    "open_file",
    "undocumented_changes",
]

DOCUMENTED_CHANGES: frozenset[str] = frozenset({"GzipExtraField"})
"""Names of what a protected file may differ in, as in ``docs/reference/metaimage-nrrd-mgh.md``."""

_HEADER_BYTES = 284
_FIELDS = {"version": (0, 4), "size": (4, 20), "type": (20, 24), "dof": (24, 28), "RAS": (28, 90)}
_DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_UNSUPPORTED = {2: "64-bit integers", 5: "one bit per voxel", 6: "tensors"}
_LEAST_COPY_BYTES = 4096


def describe(
    stream: BinaryIO, voxels: BinaryIO | None = None, *, finds_masks: bool = True
) -> Description:
    """Read the header, and voxels only until they are known to be no label map.

    As `medprotect.imaging.image.VolumeFormat` says; `voxels` is never given.
    """
    source = Source(stream)
    grid = _parse(source.read_up_to(_HEADER_BYTES))
    _check_size(source, grid)
    if finds_masks and is_label_map(source, grid, has_tags=True):
        return Description(Role.OTHER, "mgh label map")
    return describe_image("mgh", grid, Meaning(), source.codec)


def _parse(head: bytes) -> Grid:
    """Return what the header says, checked before anything is allocated for the voxels."""
    if len(head) < _HEADER_BYTES:
        raise CorruptImageError("the MGH header is cut short")
    version, *sizes, kind = struct.unpack_from(">6i", head)
    if version != 1:
        raise NotAnImageError("not an MGH file of a known version")
    if min(sizes) < 1:
        raise CorruptImageError("the MGH header states impossible dimensions")
    if kind in _UNSUPPORTED:
        raise UnsupportedImageError(f"{_UNSUPPORTED[kind]}; voxels of this type are not protected")
    if kind not in _DTYPES:
        raise CorruptImageError("the MGH header states an unknown data type")
    return make_grid(np.dtype(_DTYPES[kind]), sizes)


def _check_size(source: Source, grid: Grid) -> None:
    if _HEADER_BYTES + grid.data_bytes > source.most_bytes:
        raise CorruptImageError(FEWER)


def open_file(data: Content) -> ImageFile:
    """Open an MGH file whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    if isinstance(data, Pair):
        raise UnsupportedImageError("an MGH file has its voxels in it, not in another file")
    source = Source(BytesIO(data))
    head = source.read_up_to(_HEADER_BYTES)
    grid = _parse(head)
    _check_size(source, grid)
    block = source.read_block(grid.data_bytes)
    tail = source.read_tail()
    if _count_filled(tail) >= max(_count_filled(block), _LEAST_COPY_BYTES):
        raise UnsupportedImageError(
            "more data behind the voxels than tags take: it may be a copy of them; cut it off"
        )
    if holds_picture(tail):
        raise UnsupportedImageError("a tag holds a picture; remove the tag, then run again")
    rebuild = partial(_rebuild, packing_of(data, source.codec), head, tail)
    description = describe_image("mgh", grid, Meaning(), source.codec)
    return VolumeFile(description, grid, Meaning(), block, rebuild)


def _count_filled(data: bytes | bytearray) -> int:
    """Return how many bytes are not zero: tags have much empty space in them."""
    return len(data) - data.count(0)


def _rebuild(packing: Packing, head: bytes, tail: bytes, block: bytearray) -> bytes:
    return packing.pack((head, block, tail))


def changed_elements(original: Content, protected: Content) -> list[str]:
    """Name everything in which the two files differ but the voxels.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.

    Returns
    -------
    list of str
        Parts of the header; ``TrailingData`` for parameters and tags, ``size`` where the voxels
        are more or fewer; ``GzipHeader`` and ``GzipExtraField``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    if isinstance(original, Pair) or isinstance(protected, Pair):
        return ["size"]
    names = compare_gzip(original, protected)
    before, after = (inflate(d, "gzip" if is_gzip(d) else "none") for d in (original, protected))
    grid = _parse(before[:_HEADER_BYTES])
    names += [name for name, (a, z) in _FIELDS.items() if before[a:z] != after[a:z]]
    if before[90:_HEADER_BYTES] != after[90:_HEADER_BYTES]:
        names.append("unused")
    start = _HEADER_BYTES
    return names + compare_around(before[start:], after[start:], 0, grid.data_bytes, "")


def undocumented_changes(original: Content, protected: Content) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.
    """
    found = changed_elements(original, protected)
    return [name for name in found if name not in DOCUMENTED_CHANGES]
