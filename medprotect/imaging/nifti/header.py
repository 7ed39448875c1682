"""The NIfTI header: where the voxels lie and what they mean (nifti1.h, nifti2.h)."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from nibabel.nifti1 import header_dtype as nifti1_dtype
from nibabel.nifti2 import header_dtype as nifti2_dtype

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging.volume.file import Meaning
from medprotect.imaging.volume.grid import Grid, make_grid

HEADER_BYTES = 540
"""Most bytes of a header, without extensions."""

_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
}
_UNSUPPORTED = {
    1: "one bit per voxel",
    32: "complex voxels",
    128: "RGB voxels; save the channels as scalars",
    1024: "64-bit integers; save as int32",
    1280: "64-bit integers; save as uint32",
    1536: "128-bit floats; save as float64",
    1792: "complex voxels",
    2048: "complex voxels",
    2304: "RGBA voxels; save the channels as scalars",
}

_MAGICS = (b"n+1", b"n+2", b"ni1", b"ni2")
_PAIR_MAGICS = _MAGICS[2:]

_INTENT_LABELS = frozenset({1002, 1003})
_INTENT_CIFTI = range(3000, 3100)
# Statistics, estimates, matrices, vectors, points: measurements rather than pictures.
_INTENT_QUANTITATIVE = frozenset({*range(2, 25), 1001, *range(1004, 1011)})


@dataclass(frozen=True, slots=True)
class Header:
    """What of the header counts for reading and writing voxels.

    Attributes
    ----------
    grid : Grid
        Of the voxels. The axes longer than one: the first is columns, the second rows, all others
        are images.
    meaning : Meaning
        Of their values; slope 1 and intercept 0 where the file states none.
    offset : int
        Where the voxels begin, in bytes of the uncompressed file that holds them.
    is_pair : bool
        Whether they lie in another file.
    labels : bool
        What the intent code says.
    """

    grid: Grid
    meaning: Meaning
    offset: int
    is_pair: bool
    labels: bool


def parse_fields(head: bytes) -> np.ndarray[Any, Any]:
    """Return the header as a structured scalar array with the names of nifti1.h or nifti2.h.

    Raises
    ------
    NotAnImageError
        No header of a NIfTI file.
    CorruptImageError
        It is cut short.
    """
    for dtype, size, at in ((nifti1_dtype, 348, 344), (nifti2_dtype, 540, 4)):
        if head[at : at + 3] not in _MAGICS:
            continue
        if len(head) < size:
            raise CorruptImageError("the NIfTI header is cut short")
        for ordered in (dtype.newbyteorder("<"), dtype.newbyteorder(">")):
            fields = np.frombuffer(head, ordered, 1).reshape(())
            if int(fields["sizeof_hdr"]) == size:
                return fields
        raise CorruptImageError("the NIfTI header does not state its own size")
    raise NotAnImageError("not a NIfTI file")


def parse_header(head: bytes) -> Header:
    """Read and check a header, before anything is allocated for the voxels.

    Parameters
    ----------
    head : bytes
        The first `HEADER_BYTES` bytes of the uncompressed file, or all of it.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    fields = parse_fields(head)
    sizes = _read_sizes(fields)
    slope, intercept = _read_scaling(fields)
    intent = int(fields["intent_code"])
    if intent in _INTENT_CIFTI:
        raise NotAnImageError("a CIFTI file: values on surfaces, no image")
    is_pair = bytes(fields["magic"])[:3] in _PAIR_MAGICS
    return Header(
        grid=make_grid(_read_dtype(fields), sizes),
        meaning=Meaning(
            slope,
            intercept,
            (float(fields["cal_min"]), float(fields["cal_max"])),
            quantitative=intent in _INTENT_QUANTITATIVE,
        ),
        offset=_read_offset(fields, is_pair=is_pair),
        is_pair=is_pair,
        labels=intent in _INTENT_LABELS,
    )


def _read_sizes(fields: np.ndarray[Any, Any]) -> list[int]:
    dims = [int(dim) for dim in fields["dim"]]
    rank = dims[0]
    if not 1 <= rank <= 7 or any(dim < 1 for dim in dims[1 : rank + 1]):
        raise CorruptImageError("the NIfTI header states impossible dimensions")
    return dims[1 : rank + 1]


def _read_dtype(fields: np.ndarray[Any, Any]) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code in _UNSUPPORTED:
        raise UnsupportedImageError(f"{_UNSUPPORTED[code]}; voxels of this type are not protected")
    if code not in _DTYPES:
        raise CorruptImageError("the NIfTI header states an unknown data type")
    is_big = fields["dim"].dtype.newbyteorder(">") == fields["dim"].dtype
    return np.dtype(_DTYPES[code]).newbyteorder(">" if is_big else "<")


def _read_offset(fields: np.ndarray[Any, Any], *, is_pair: bool) -> int:
    offset = float(fields["vox_offset"])
    least = 0 if is_pair else int(fields["sizeof_hdr"]) + 4
    if not isfinite(offset) or offset != int(offset) or offset < least:
        raise CorruptImageError("the NIfTI header puts the voxels at an impossible place")
    if offset > limits.HEADER_BYTES:
        raise ImageTooLargeError("header extensions are larger than medprotect.limits allows")
    return int(offset)


def _read_scaling(fields: np.ndarray[Any, Any]) -> tuple[float, float]:
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if not isfinite(slope) or slope == 0:
        return 1.0, 0.0
    if not isfinite(intercept):
        raise CorruptImageError("the NIfTI header states a slope without an intercept")
    return slope, intercept
