"""In what two MetaImage files differ besides their voxels."""

import re

from medprotect.errors import CorruptImageError
from medprotect.imaging.image import Content, Pair
from medprotect.imaging.metaimage.header import (
    LAST_KEY,
    NAMED_KEYS,
    SIZE_KEY,
    Header,
    parse_header,
)
from medprotect.imaging.volume.differences import (
    compare_around,
    compare_gzip,
    compare_text,
    inflate,
    is_tail_removed,
)

DOCUMENTED_CHANGES: frozenset[str] = frozenset({SIZE_KEY, "GzipExtraField", "TrailingData"})
"""Names of what a protected file may differ in, as in ``docs/reference/metaimage-nrrd-mgh.md``."""

_LAST_LINE = re.compile(rb"^[ \t]*%b[ \t]*=[^\n]*\n" % LAST_KEY.encode(), re.MULTILINE)


def changed_elements(original: Content, protected: Content) -> list[str]:
    """Name everything in which the two files differ but the voxels.

    Parameters
    ----------
    original, protected : bytes or Pair
        Two whole files, or headers with their voxels.

    Returns
    -------
    list of str
        Keys of the header, ``header`` for what is none of MetaIO's; ``TrailingData`` for bytes
        behind the voxels, ``size`` where the voxels are more or fewer; ``GzipHeader`` and
        ``GzipExtraField``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    (text, packed), (other_text, other_packed) = _split(original), _split(protected)
    names = compare_text(text, other_text, b"=", NAMED_KEYS)
    header, other = parse_header(text), parse_header(other_text)
    if header.compressed != other.compressed:
        return [*names, "size"]
    if header.compressed:
        names += compare_gzip(packed, other_packed)
    before, after = _inflate(packed, header), _inflate(other_packed, other)
    return names + compare_around(before, after, 0, header.grid.data_bytes, "")


def undocumented_changes(original: Content, protected: Content) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes or Pair
        Two whole files, or headers with their voxels.
    """
    found = [name for name in changed_elements(original, protected) if name != "GzipExtraField"]
    (text, packed), (other_text, other_packed) = _split(original), _split(protected)
    header, other = parse_header(text), parse_header(other_text)
    documented = {
        SIZE_KEY: header.compressed
        and other.packed_size == len(other_packed)
        and _is_only_size(text, header, other_text, other),
        "TrailingData": not header.compressed
        and is_tail_removed(packed, other_packed, header.grid.data_bytes),
    }
    return [name for name in found if not documented.get(name, False)]


def _split(data: Content) -> tuple[bytes, bytes]:
    """Return the header's text and the data, as they lie in the file or files."""
    if isinstance(data, Pair):
        return data.header, data.voxels
    last = _LAST_LINE.search(data)
    if last is None:
        raise CorruptImageError("the MetaImage header is cut short")
    return data[: last.end()], data[last.end() :]


def _is_only_size(text: bytes, header: Header, other_text: bytes, other: Header) -> bool:
    """Whether of the line of the compressed size only the digits differ."""
    lines = []
    for each, one in ((text, header), (other_text, other)):
        start, end = one.packed_size_at
        lines.append((each[:start].rpartition(b"\n")[2], each[end:].partition(b"\n")[0]))
    return lines[0] == lines[1]


def _inflate(packed: bytes, header: Header) -> bytes:
    if not header.compressed:
        return packed
    return inflate(packed, "gzip" if packed.startswith(b"\x1f\x8b") else "zlib")
