"""In what two files differ around their voxels, whatever the format."""

import bz2
import gzip
import zlib
from collections.abc import Set
from itertools import zip_longest

import numpy as np

from medprotect.errors import CorruptImageError

_FEXTRA, _FHCRC = 4, 2


def inflate(data: bytes, codec: str) -> bytes:
    """Return what was compressed, all of it.

    Parameters
    ----------
    data : bytes
        Compressed data to its end; whatever follows one zlib stream is left out.
    codec : str
        ``none``, ``gzip``, ``zlib`` or ``bzip2``.

    Raises
    ------
    CorruptImageError
        It is cut short or damaged.
    """
    try:
        if codec == "gzip":
            return gzip.decompress(data)
        if codec == "bzip2":
            return bz2.decompress(data)
        if codec == "zlib":
            inflater = zlib.decompressobj()
            plain = inflater.decompress(data)
            if not inflater.eof:
                raise EOFError
            return plain + inflater.unused_data
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CorruptImageError(f"the {codec} data is cut short or damaged") from error
    return data


def compare_text(before: bytes, after: bytes, separators: bytes, known: Set[str]) -> list[str]:
    """Name the fields in which two headers of text differ, line by line.

    Parameters
    ----------
    before, after : bytes
        The headers.
    separators : bytes
        Characters of which the first in a line ends the field's name.
    known : set of str
        Names that may be told; any other is ``header``, as it may say anything.
    """
    names = []
    for one, other in zip_longest(before.split(b"\n"), after.split(b"\n"), fillvalue=b""):
        if one == other:
            continue
        end = min((at for each in separators if (at := one.find(each)) >= 0), default=0)
        name = one[:end].decode("ascii", "replace").strip()
        names.append(name if name in known else "header")
    return list(dict.fromkeys(names))


def compare_around(before: bytes, after: bytes, start: int, size: int, leading: str) -> list[str]:
    """Name what differs around a block of voxels: `leading`, ``size``, ``TrailingData``.

    Parameters
    ----------
    before, after : bytes
        What holds the voxels, uncompressed.
    start, size : int
        Where the block lies in both.
    leading : str
        What to call the bytes before the block.
    """
    end = start + size
    names = [leading] if before[:start] != after[:start] else []
    if len(before) < end or len(after) < end:
        names.append("size")
    if before[end:] != after[end:]:
        names.append("TrailingData")
    return names


def is_tail_removed(before: bytes, after: bytes, end: int) -> bool:
    """Whether data that was more than padding has gone from behind the voxels."""
    return len(after) == end and bool(np.frombuffer(before[end:], np.uint8).any())


def compare_gzip(original: bytes, protected: bytes) -> list[str]:
    """Name what differs in the headers of two files that may be gzipped."""
    gzipped = [data.startswith(b"\x1f\x8b") for data in (original, protected)]
    if gzipped[0] != gzipped[1]:
        return ["GzipHeader"]
    if not gzipped[0]:
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
