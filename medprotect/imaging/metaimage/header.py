"""The MetaImage header: lines of ``Key = Value`` up to the place of the voxels (MetaIO)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.volume.file import Meaning
from medprotect.imaging.volume.grid import Grid, make_grid
from medprotect.imaging.volume.streams import check_file_name, check_header_end

LAST_KEY = "ElementDataFile"
SIZE_KEY = "CompressedDataSize"

KEYS = frozenset(
    {
        *("ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels"),
        *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData"),
        *(SIZE_KEY, LAST_KEY, "HeaderSize", "HeaderSizePerSlice"),
        *("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"),
    }
)
"""Keys that the voxels are read by; each may come once. What others say is kept, not read."""

NAMED_KEYS = KEYS | {
    *("Offset", "Position", "Origin", "TransformMatrix", "Rotation", "Orientation"),
    *("CenterOfRotation", "AnatomicalOrientation", "ElementSpacing", "ElementSize"),
    *("Modality", "ElementMin", "ElementMax", "Comment", "Name", "ID", "ParentID", "Color"),
}
"""Keys that may be told of."""

_DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_UNSUPPORTED = {
    "MET_LONG": "voxels whose size is not the same on all systems; save as MET_INT",
    "MET_ULONG": "voxels whose size is not the same on all systems; save as MET_UINT",
    "MET_LONG_LONG": "64-bit integers; save as MET_INT",
    "MET_ULONG_LONG": "64-bit integers; save as MET_UINT",
}
_MOST_AXES = 10


@dataclass(frozen=True, slots=True)
class Header:
    """What of the header counts for reading and writing voxels.

    Attributes
    ----------
    grid : Grid
        Of the voxels.
    meaning : Meaning
        Of their values.
    size : int
        Bytes of the header.
    compressed : bool
        Whether the voxels are.
    file : str
        Name of the file that holds the voxels; "" where they follow the header.
    packed_size : int or None
        Bytes of the compressed voxels, where the header states them.
    packed_size_at : tuple of (int, int)
        Where in the header these digits stand.
    """

    grid: Grid
    meaning: Meaning
    size: int
    compressed: bool
    file: str
    packed_size: int | None
    packed_size_at: tuple[int, int]


def parse_header(head: bytes) -> Header:
    """Read and check a header, before anything is allocated for the voxels.

    Parameters
    ----------
    head : bytes
        The beginning of the file, from `read_text_header`.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    fields, places, size = _read_lines(head)
    if fields.get("ObjectType", "Image") != "Image":
        raise NotAnImageError("a MetaImage file of an object that is no image")
    if holds_picture(head[:size]):
        raise UnsupportedImageError("the header holds a picture; remove it, then run again")
    _check_supported(fields)
    file = fields[LAST_KEY]
    if file.upper() != "LOCAL":
        check_file_name(file)
        check_header_end(head, size)
    packed = fields.get(SIZE_KEY)
    return Header(
        grid=make_grid(_read_dtype(fields), _read_sizes(fields)),
        meaning=_read_meaning(fields),
        size=size,
        compressed=_flag(fields, "CompressedData"),
        file="" if file.upper() == "LOCAL" else file,
        packed_size=None if packed is None else _integer(packed),
        packed_size_at=places.get(SIZE_KEY, (0, 0)),
    )


def _read_lines(head: bytes) -> tuple[dict[str, str], dict[str, tuple[int, int]], int]:
    """Return values by key, where they stand, and where the header ends."""
    fields: dict[str, str] = {}
    places: dict[str, tuple[int, int]] = {}
    at = 0
    while LAST_KEY not in fields:
        end = head.find(b"\n", at)
        if end < 0 and len(head) > limits.TEXT_HEADER_BYTES:
            raise ImageTooLargeError("the header is longer than medprotect.limits allows")
        is_cut = end < 0
        line = head[at:] if is_cut else head[at:end]
        raw_key, separator, raw = line.partition(b"=")
        key = raw_key.strip().decode("ascii", "replace")
        if is_cut and not (separator and key == LAST_KEY and raw.strip()):
            raise CorruptImageError("the MetaImage header is cut short")
        if line.strip() and not separator:
            raise CorruptImageError("a line of the MetaImage header is none of Key = Value")
        if key in KEYS and key in fields:
            raise CorruptImageError("the MetaImage header states one thing twice")
        value = raw.strip()
        start = at + line.find(value, len(raw_key) + 1) if value else at
        fields[key] = _text(value) if key in KEYS else ""
        places[key] = (start, start + len(value))
        at = len(head) if is_cut else end + 1
    return fields, places, at


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise CorruptImageError("the MetaImage header is no text") from None


def _check_supported(fields: Mapping[str, str]) -> None:
    if not _flag(fields, "BinaryData", default=True):
        raise UnsupportedImageError("voxels written as text; write the image again in binary")
    channels = fields.get("ElementNumberOfChannels", "1")
    if _integer(channels) != 1:
        raise UnsupportedImageError(
            "colour, complex or vector voxels are not protected; save the channels as scalars"
        )
    for key in ("HeaderSize", "HeaderSizePerSlice"):
        if _integer(fields.get(key, "0")) != 0:
            raise UnsupportedImageError(
                "voxels behind a header of another format; write the image again as MetaImage"
            )


def _read_dtype(fields: Mapping[str, str]) -> np.dtype[np.generic]:
    name = fields.get("ElementType", "")
    if name in _UNSUPPORTED:
        raise UnsupportedImageError(f"{_UNSUPPORTED[name]}; voxels of this type are not protected")
    if name.startswith("MET_") and name.endswith("_ARRAY"):
        raise UnsupportedImageError("vector voxels are not protected; save them as scalars")
    if name not in _DTYPES:
        raise CorruptImageError("the MetaImage header states an unknown data type")
    keys = [k for k in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB") if k in fields]
    is_big = {_flag(fields, key) for key in keys} or {False}
    if len(is_big) > 1:
        raise CorruptImageError("the MetaImage header states two byte orders")
    return np.dtype(_DTYPES[name]).newbyteorder(">" if is_big.pop() else "<")


def _read_sizes(fields: Mapping[str, str]) -> list[int]:
    sizes = [_integer(word) for word in fields.get("DimSize", "").split()]
    count = _integer(fields.get("NDims", "0"))
    if not 1 <= count <= _MOST_AXES or len(sizes) != count or min(sizes) < 1:
        raise CorruptImageError("the MetaImage header states impossible dimensions")
    return sizes


def _read_meaning(fields: Mapping[str, str]) -> Meaning:
    names = ("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")
    try:
        slope, intercept = (float(fields.get(name, end)) for name, end in zip(names, "10"))  # noqa: B905
    except ValueError:
        raise CorruptImageError("the MetaImage header states an impossible scaling") from None
    if not isfinite(slope) or not isfinite(intercept) or slope == 0:
        raise CorruptImageError("the MetaImage header states an impossible scaling")
    return Meaning(slope, intercept)


def _flag(fields: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    value = fields.get(key, str(default)).lower()
    if value in ("true", "t", "1"):
        return True
    if value in ("false", "f", "0"):
        return False
    raise CorruptImageError("the MetaImage header states neither true nor false")


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise CorruptImageError("the MetaImage header states no whole number where one must be")
    return int(text)
