"""The NIfTI header: where the voxels lie and what they mean (nifti1.h, nifti2.h)."""

from dataclasses import dataclass
from math import isfinite, prod
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

_INTENT_LABELS = frozenset({1002, 1003})
_INTENT_CIFTI = range(3000, 3100)
# Statistics, estimates, matrices, vectors, points: measurements rather than pictures.
_INTENT_QUANTITATIVE = frozenset({*range(2, 25), 1001, *range(1004, 1011)})


@dataclass(frozen=True, slots=True)
class Header:
    """What of the header counts for reading and writing voxels.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the voxels, in the file's byte order.
    offset : int
        Where the voxels begin, in bytes of the uncompressed file.
    images, rows, columns : int
        The axes longer than one: the first is columns, the second rows, all others are images.
    slope, intercept : float
        Rescale; 1 and 0 where the file states none.
    cal_min, cal_max : float
        Display range in modality values, as stated.
    labels, quantitative : bool
        What the intent code says.
    """

    dtype: np.dtype[Any]
    offset: int
    images: int
    rows: int
    columns: int
    slope: float
    intercept: float
    cal_min: float
    cal_max: float
    labels: bool
    quantitative: bool

    @property
    def data_bytes(self) -> int:
        """Size of all voxels."""
        return self.images * self.rows * self.columns * self.dtype.itemsize


def parse_fields(head: bytes) -> np.ndarray[Any, Any]:
    """Return the header as a structured scalar array with the names of nifti1.h or nifti2.h.

    Raises
    ------
    NotAnImageError
        No header of a NIfTI file in one piece.
    CorruptImageError
        It is cut short.
    """
    for dtype, size, at in ((nifti1_dtype, 348, 344), (nifti2_dtype, 540, 4)):
        if head[at : at + 3] not in (b"n+1", b"n+2"):
            continue
        if len(head) < size:
            raise CorruptImageError("the NIfTI header is cut short")
        for ordered in (dtype.newbyteorder("<"), dtype.newbyteorder(">")):
            fields = np.frombuffer(head, ordered, 1).reshape(())
            if int(fields["sizeof_hdr"]) == size:
                return fields
        raise CorruptImageError("the NIfTI header does not state its own size")
    raise NotAnImageError("not a NIfTI file in one piece")


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
    columns, rows, images = _read_shape(fields)
    slope, intercept = _read_scaling(fields)
    intent = int(fields["intent_code"])
    if intent in _INTENT_CIFTI:
        raise NotAnImageError("a CIFTI file: values on surfaces, no image")
    header = Header(
        dtype=_read_dtype(fields),
        offset=_read_offset(fields),
        images=images,
        rows=rows,
        columns=columns,
        slope=slope,
        intercept=intercept,
        cal_min=float(fields["cal_min"]),
        cal_max=float(fields["cal_max"]),
        labels=intent in _INTENT_LABELS,
        quantitative=intent in _INTENT_QUANTITATIVE,
    )
    if (
        header.data_bytes > limits.DECODED_BYTES
        or rows * columns > limits.IMAGE_PIXELS
        or images > limits.IMAGES_PER_FILE
    ):
        raise ImageTooLargeError("more voxels than medprotect.limits allows; split the file")
    return header


def _read_shape(fields: np.ndarray[Any, Any]) -> tuple[int, int, int]:
    dims = [int(dim) for dim in fields["dim"]]
    rank = dims[0]
    if not 1 <= rank <= 7 or any(dim < 1 for dim in dims[1 : rank + 1]):
        raise CorruptImageError("the NIfTI header states impossible dimensions")
    axes = [dim for dim in dims[1 : rank + 1] if dim > 1]
    if len(axes) < 2:
        raise NotAnImageError("a list of values, not an image")
    return axes[0], axes[1], prod(axes[2:])


def _read_dtype(fields: np.ndarray[Any, Any]) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code in _UNSUPPORTED:
        raise UnsupportedImageError(f"{_UNSUPPORTED[code]}; voxels of this type are not protected")
    if code not in _DTYPES:
        raise CorruptImageError("the NIfTI header states an unknown data type")
    is_big = fields["dim"].dtype.newbyteorder(">") == fields["dim"].dtype
    return np.dtype(_DTYPES[code]).newbyteorder(">" if is_big else "<")


def _read_offset(fields: np.ndarray[Any, Any]) -> int:
    offset = float(fields["vox_offset"])
    least = int(fields["sizeof_hdr"]) + 4
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
