"""In what two NIfTI files differ besides their voxels."""

import gzip
import zlib

import numpy as np

from medprotect.errors import CorruptImageError
from medprotect.imaging.nifti.compression import is_gzip
from medprotect.imaging.nifti.header import HEADER_BYTES, parse_fields, parse_header

DOCUMENTED_CHANGES: frozenset[str] = frozenset({"GzipExtraField", "TrailingData"})
"""Names of what a protected file may differ in, as in ``docs/reference/nifti.md``."""

_FEXTRA, _FHCRC = 4, 2


def changed_elements(original: bytes, protected: bytes) -> list[str]:
    """Name everything in which the two files differ but the voxels.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.

    Returns
    -------
    list of str
        Header fields as in nifti1.h and nifti2.h; ``extension`` for the bytes up to the voxels,
        ``TrailingData`` for those behind them, ``size`` where the voxels are more or fewer;
        ``GzipHeader`` and ``GzipExtraField``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    names = _compare_gzip(original, protected)
    before, after = _inflate(original), _inflate(protected)
    one, other = parse_fields(before[:HEADER_BYTES]), parse_fields(after[:HEADER_BYTES])
    if one.dtype != other.dtype:
        return [*names, "magic"]
    names += [
        name for name in one.dtype.names or () if one[name].tobytes() != other[name].tobytes()
    ]
    header = parse_header(before[:HEADER_BYTES])
    end = header.offset + header.data_bytes
    size = one.dtype.itemsize
    if before[size : header.offset] != after[size : header.offset]:
        names.append("extension")
    if len(before) < end or len(after) < end:
        names.append("size")
    if before[end:] != after[end:]:
        names.append("TrailingData")
    return names


def undocumented_changes(original: bytes, protected: bytes) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.
    """
    found = [name for name in changed_elements(original, protected) if name != "GzipExtraField"]
    if "TrailingData" in found and _is_tail_removed(original, protected):
        found.remove("TrailingData")
    return found


def _is_tail_removed(original: bytes, protected: bytes) -> bool:
    before, after = _inflate(original), _inflate(protected)
    header = parse_header(before[:HEADER_BYTES])
    end = header.offset + header.data_bytes
    return len(after) == end and bool(np.frombuffer(before[end:], np.uint8).any())


def _inflate(data: bytes) -> bytes:
    if not is_gzip(data):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptImageError("the gzip file is cut short or damaged") from error


def _compare_gzip(original: bytes, protected: bytes) -> list[str]:
    if is_gzip(original) != is_gzip(protected):
        return ["GzipHeader"]
    if not is_gzip(original):
        return []
    (one, extra), (other, other_extra) = _gzip_fields(original), _gzip_fields(protected)
    names = ["GzipHeader"] if one != other else []
    return names + (["GzipExtraField"] if extra != other_extra else [])


def _gzip_fields(data: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """Return what a gzip header states (RFC 1952 section 2.3), and its extra field."""
    flags, at, extra = data[3], 10, b""
    if flags & _FEXTRA:
        at += 2 + int.from_bytes(data[10:12], "little")
        extra = data[10:at]
    names = []
    for flag in (8, 16):
        if flags & flag:
            name, _, _ = data[at:].partition(b"\0")
            names.append(name)
            at += len(name) + 1
    return (bytes([flags & ~(_FEXTRA | _FHCRC)]), data[4:10], *names), extra
