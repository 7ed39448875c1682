"""In what two NRRD files differ besides their voxels."""

import re

from medprotect.errors import CorruptImageError
from medprotect.imaging.image import Content, Pair
from medprotect.imaging.nrrd.header import FIELDS, Header, parse_header
from medprotect.imaging.volume.differences import (
    compare_around,
    compare_gzip,
    compare_text,
    inflate,
    is_tail_removed,
)

DOCUMENTED_CHANGES: frozenset[str] = frozenset({"GzipExtraField", "TrailingData"})
"""Names of what a protected file may differ in, as in ``docs/reference/metaimage-nrrd-mgh.md``."""

_EMPTY_LINE = re.compile(rb"\n\r?\n")


def changed_elements(original: Content, protected: Content) -> list[str]:
    """Name everything in which the two files differ but the voxels.

    Parameters
    ----------
    original, protected : bytes or Pair
        Two whole files, or headers with their voxels.

    Returns
    -------
    list of str
        Fields of the header, ``header`` for what is none of NRRD's; ``LeadingData`` and
        ``TrailingData`` for bytes around the voxels, ``size`` where these are more or fewer;
        ``GzipHeader`` and ``GzipExtraField``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    (text, packed), (other_text, other_packed) = _split(original), _split(protected)
    names = compare_text(text, other_text, b":", FIELDS)
    header, other = parse_header(text), parse_header(other_text)
    if header.codec != other.codec:
        return [*names, "size"]
    if header.codec == "gzip":
        names += compare_gzip(packed, other_packed)
    before, after = inflate(packed, header.codec), inflate(other_packed, header.codec)
    start = _start(before, header)
    return names + compare_around(before, after, start, header.grid.data_bytes, "LeadingData")


def undocumented_changes(original: Content, protected: Content) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes or Pair
        Two whole files, or headers with their voxels.
    """
    found = [name for name in changed_elements(original, protected) if name != "GzipExtraField"]
    if "TrailingData" in found:
        (text, before), (_, after) = _split(original), _split(protected)
        header = parse_header(text)
        end = _start(before, header) + header.grid.data_bytes
        if header.codec == "none" and is_tail_removed(before, after, end):
            found.remove("TrailingData")
    return found


def _start(data: bytes, header: Header) -> int:
    return header.skip if header.skip >= 0 else max(len(data) - header.grid.data_bytes, 0)


def _split(data: Content) -> tuple[bytes, bytes]:
    """Return the header's text and the data, as they lie in the file or files."""
    if isinstance(data, Pair):
        return data.header, data.voxels
    end = _EMPTY_LINE.search(data)
    if end is None:
        raise CorruptImageError("the NRRD header is cut short")
    return data[: end.end()], data[end.end() :]
