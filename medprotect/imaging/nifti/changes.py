"""In what two NIfTI files, or pairs of files, differ besides their voxels."""

from medprotect.errors import CorruptImageError
from medprotect.imaging.image import Content, Pair
from medprotect.imaging.nifti.header import HEADER_BYTES, parse_fields, parse_header
from medprotect.imaging.volume.differences import (
    compare_around,
    compare_gzip,
    inflate,
    is_tail_removed,
)
from medprotect.imaging.volume.streams import is_gzip

DOCUMENTED_CHANGES: frozenset[str] = frozenset({"GzipExtraField", "TrailingData"})
"""Names of what a protected file may differ in, as in ``docs/reference/nifti.md``."""


def changed_elements(original: Content, protected: Content) -> list[str]:
    """Name everything in which the two files differ but the voxels.

    Parameters
    ----------
    original, protected : bytes or Pair
        Two whole files, or pairs of files.

    Returns
    -------
    list of str
        Header fields as in nifti1.h and nifti2.h; ``extension`` for the bytes up to the voxels,
        ``TrailingData`` for those behind them, ``size`` where the voxels are more or fewer;
        ``HeaderFile`` for whatever else differs in the header file of a pair; ``GzipHeader`` and
        ``GzipExtraField``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    (head, before), (other_head, after) = _parts(original), _parts(protected)
    names = compare_gzip(*(_packed(each) for each in (original, protected)))
    one, other = parse_fields(head[:HEADER_BYTES]), parse_fields(other_head[:HEADER_BYTES])
    if one.dtype != other.dtype:
        return [*names, "magic"]
    names += [
        name for name in one.dtype.names or () if one[name].tobytes() != other[name].tobytes()
    ]
    header, size = parse_header(head[:HEADER_BYTES]), one.dtype.itemsize
    if isinstance(original, Pair) != isinstance(protected, Pair):
        return [*names, "HeaderFile"]
    if isinstance(original, Pair) and isinstance(protected, Pair):
        if head[size:] != other_head[size:]:
            names.append("extension")
        if original.header != protected.header and head == other_head:
            names.append("HeaderFile")
        start = 0
    else:
        start = size
    around = compare_around(
        before[start:], after[start:], header.offset - start, header.grid.data_bytes, "extension"
    )
    return names + [name for name in around if name not in names]


def undocumented_changes(original: Content, protected: Content) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes or Pair
        Two whole files, or pairs of files.
    """
    found = [name for name in changed_elements(original, protected) if name != "GzipExtraField"]
    if "TrailingData" in found and _is_tail_removed(original, protected):
        found.remove("TrailingData")
    return found


def _is_tail_removed(original: Content, protected: Content) -> bool:
    (head, before), (_, after) = _parts(original), _parts(protected)
    header = parse_header(head[:HEADER_BYTES])
    return is_tail_removed(before, after, header.offset + header.grid.data_bytes)


def _packed(data: Content) -> bytes:
    return data.voxels if isinstance(data, Pair) else data


def _parts(data: Content) -> tuple[bytes, bytes]:
    """Return what holds the header and what holds the voxels, inflated; the same of one file."""
    voxels = _inflate(_packed(data))
    return (_inflate(data.header), voxels) if isinstance(data, Pair) else (voxels, voxels)


def _inflate(data: bytes) -> bytes:
    if not data:
        raise CorruptImageError("the file is empty")
    return inflate(data, "gzip" if is_gzip(data) else "none")
