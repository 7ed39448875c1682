"""The NRRD header: lines of ``field: text`` up to an empty one (teem.sourceforge.net/nrrd)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.volume.file import Meaning
from medprotect.imaging.volume.grid import Grid, make_grid
from medprotect.imaging.volume.streams import check_file_name, check_header_end

_READ = frozenset(
    {
        *("type", "dimension", "sizes", "encoding", "endian", "kinds", "space directions"),
        *("data file", "line skip", "byte skip", "block size"),
    }
)
"""Fields that the voxels are read by. What others say is kept, not read."""

_ALIASES = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "blocksize": "block size",
}

FIELDS = (
    _READ
    | _ALIASES.keys()
    | {
        *("space", "space dimension", "space units", "space origin", "measurement frame"),
        *("content", "number", "min", "max", "old min", "oldmin", "old max", "oldmax"),
        *("spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs"),
        *("centers", "centerings", "labels", "units", "sample units", "sampleunits"),
    }
)
"""Fields that may be told of."""

_TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "f4": "float",
    "f8": "double",
}
_DTYPES = {name: dtype for dtype, names in _TYPES.items() for name in names.split("|")}
_CODECS = {"raw": "none", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}

_SPATIAL = frozenset({"domain", "space", "???", "none"})
_BESIDE = frozenset({"time", "list", "point", "stub", "scalar"})
_DWI = re.compile(rb"^modality:=[ \t]*DWMRI", re.MULTILINE)
_SEGMENTATION = re.compile(rb"^Segment0_ID:=", re.MULTILINE)
_MOST_AXES = 16


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
        Bytes of the header, with the empty line.
    codec : str
        As `medprotect.imaging.volume.streams.Source` takes it.
    file : str
        Name of the file that holds the voxels; "" where they follow the header.
    skip : int
        Bytes of the uncompressed data before the voxels; -1 where these are the last.
    labels : bool
        Whether the header says that the voxels are segments (3D Slicer).
    """

    grid: Grid
    meaning: Meaning
    size: int
    codec: str
    file: str
    skip: int
    labels: bool


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
    if not re.match(rb"NRRD000[1-5]\r?\n", head):
        raise CorruptImageError("not a NRRD file of a known version, or cut short")
    fields, size, is_ended = read_fields(head)
    text = head[:size]
    if holds_picture(text):
        raise UnsupportedImageError("the header holds a picture; remove it, then run again")
    file = fields.get("data file", "")
    if file:
        check_file_name(file)
        check_header_end(head, size)
    elif not is_ended:
        if len(head) > limits.TEXT_HEADER_BYTES:
            raise ImageTooLargeError("the header is longer than medprotect.limits allows")
        raise CorruptImageError("the NRRD header is cut short")
    codec = _read_codec(fields)
    sizes = _read_sizes(fields)
    return Header(
        grid=make_grid(_read_dtype(fields), sizes, _read_axes(fields, sizes, text)),
        meaning=Meaning(),
        size=size,
        codec=codec,
        file=file,
        skip=_read_skip(fields, codec),
        labels=bool(_SEGMENTATION.search(text)),
    )


def read_fields(head: bytes) -> tuple[dict[str, str], int, bool]:
    """Return texts by field, the size of the header, and whether an empty line ends it.

    Raises
    ------
    CorruptImageError
        A line is none of NRRD's, or a field comes twice.
    """
    fields: dict[str, str] = {}
    at = head.find(b"\n") + 1
    while at < len(head):
        end = head.find(b"\n", at)
        line = head[at : end if end >= 0 else len(head)].removesuffix(b"\r")
        at = end + 1 if end >= 0 else len(head)
        if not line:
            return fields, at, True
        raw_name, separator, raw = line.partition(b":")
        if line.startswith(b"#") or raw.startswith(b"="):  # a comment, or a key and its value
            continue
        name = raw_name.decode("ascii", "replace").strip().lower()
        name = _ALIASES.get(name, name)
        if not separator:
            raise CorruptImageError("a line of the NRRD header is neither field nor key")
        if name in _READ:
            if name in fields:
                raise CorruptImageError("the NRRD header states one thing twice")
            fields[name] = _text(raw)
    return fields, at, False


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise CorruptImageError("the NRRD header is no text") from None


def _read_codec(fields: Mapping[str, str]) -> str:
    encoding = fields.get("encoding", "").lower()
    if encoding in ("text", "txt", "ascii", "hex"):
        raise UnsupportedImageError("voxels written as text; write the image again in raw or gzip")
    if encoding not in _CODECS:
        raise CorruptImageError("the NRRD header states an unknown encoding")
    return _CODECS[encoding]


def _read_dtype(fields: Mapping[str, str]) -> np.dtype[np.generic]:
    name = fields.get("type", "").lower()
    if name == "block":
        raise UnsupportedImageError("voxels of no number type are not protected")
    if "long" in name or "64" in name:
        raise UnsupportedImageError(
            "64-bit integers; save as int; voxels of this type are not protected"
        )
    if name not in _DTYPES:
        raise CorruptImageError("the NRRD header states an unknown data type")
    endian = fields.get("endian", "").lower()
    dtype = np.dtype(_DTYPES[name])
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise CorruptImageError("the NRRD header states no byte order")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _read_sizes(fields: Mapping[str, str]) -> list[int]:
    sizes = [_integer(word) for word in fields.get("sizes", "").split()]
    count = _integer(fields.get("dimension", "0"))
    if not 1 <= count <= _MOST_AXES or len(sizes) != count or min(sizes) < 1:
        raise CorruptImageError("the NRRD header states impossible dimensions")
    return sizes


def _read_axes(fields: Mapping[str, str], sizes: list[int], text: bytes) -> frozenset[int]:
    """Return the axes that are none of space; refuse those of colours, vectors and matrices."""
    kinds = fields.get("kinds", "").split()
    if kinds and len(kinds) != len(sizes):
        raise CorruptImageError("the NRRD header states kinds of another number of axes")
    beside = set()
    for axis, kind in enumerate(kinds):
        name = kind.lower()
        is_dwi = name == "vector" and _DWI.search(text) is not None
        if name in _BESIDE or is_dwi:
            beside.add(axis)
        elif name not in _SPATIAL and sizes[axis] > 1:
            raise UnsupportedImageError(
                "colour, complex, vector or matrix voxels are not protected; save the channels "
                "as scalars"
            )
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", "").lower())
    if len(directions) == len(sizes):
        beside |= {axis for axis, each in enumerate(directions) if each == "none"}
    is_said = bool(kinds) and kinds[0] not in ("???", "none")
    if not is_said and sizes[0] in (2, 3, 4) and len(sizes) > 2:
        raise UnsupportedImageError(
            "the first axis may be one of colours, as the header does not state its kind; state "
            "it, then run again"
        )
    return frozenset(beside)


def _read_skip(fields: Mapping[str, str], codec: str) -> int:
    if _integer(fields.get("line skip", "0")) != 0:
        raise UnsupportedImageError(
            "voxels behind a header of another format; write the image again as NRRD"
        )
    skip = _integer(fields.get("byte skip", "0"))
    if skip < -1 or (skip == -1 and codec != "none"):
        raise CorruptImageError("the NRRD header puts the voxels at an impossible place")
    return skip


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise CorruptImageError("the NRRD header states no whole number where one must be")
    return int(text)
