"""In what two TIFF files differ besides their pixels; read by tifffile, not by what writes."""

import logging
from io import BytesIO
from typing import Any

import tifffile

from medprotect.errors import CorruptImageError
from medprotect.imaging.raster.space import clean_value

DOCUMENTED_CHANGES: frozenset[str] = frozenset(
    {
        *("StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts"),
        *("Compression", "PhotometricInterpretation", "JPEGTables", "YCbCrCoefficients"),
        *("YCbCrSubSampling", "YCbCrPositioning", "ReferenceBlackWhite"),
        *("SubIFDs", "ImageSourceData", "XMP", "ImageResources", "ReducedPage", "PictureTag"),
    }
)
"""Names of what a protected file may differ in, as in ``docs/reference/png-tiff-jpeg.md``."""

_LOCATIONS = frozenset({273, 279, 324, 325})
_JPEG_REMOVED = frozenset({347, 529, 530, 531, 532})
_JPEG, _DEFLATE, _YCBCR, _RGB = 7, 8, 6, 2
_SUB_IFDS, _LAYERS = 330, 37724

# What tifffile logs may quote values of the file.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False


def changed_elements(original: bytes, protected: bytes) -> list[str]:
    """Name everything in which the two files differ but the pixels.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.

    Returns
    -------
    list of str
        Names of tags as tifffile has them, ``PictureTag`` for one of any other name in which a
        picture was overwritten, ``ReducedPage`` for a page of reduced resolution that
        went, ``pages`` where there are more or fewer others.

    Raises
    ------
    CorruptImageError
        One of the files cannot be read.
    """
    return list(_differences(original, protected))


def undocumented_changes(original: bytes, protected: bytes) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.
    """
    found = _differences(original, protected)
    return [name for name, documented in found.items() if not documented]


def _differences(original: bytes, protected: bytes) -> dict[str, bool]:
    """Return the names of differences, and whether all of that name are documented."""
    try:
        with (
            tifffile.TiffFile(BytesIO(original)) as one,
            tifffile.TiffFile(BytesIO(protected)) as other,
        ):
            return _compare_files(one, original, other, protected)
    except Exception as error:
        raise CorruptImageError("the TIFF directories cannot be read") from error


def _compare_files(
    one: tifffile.TiffFile, before: bytes, other: tifffile.TiffFile, after: bytes
) -> dict[str, bool]:
    found: dict[str, bool] = {}
    pages = [page for page in one.pages if not _is_reduced(page)]
    if len(pages) < len(one.pages):
        found["ReducedPage"] = True
    if len(pages) != len(other.pages):
        found["pages"] = False
    if (one.byteorder, one.is_bigtiff) != (other.byteorder, other.is_bigtiff):
        found["header"] = False
    for page, new in zip(pages, other.pages, strict=False):
        tags, new_tags = _raw_tags(page, before), _raw_tags(new, after)
        is_jpeg = tags.get(259, ("", 0, b"", 0))[3] == _JPEG
        for code in sorted(tags.keys() | new_tags.keys()):
            old_tag, new_tag = tags.get(code), new_tags.get(code)
            if old_tag == new_tag:
                continue
            name = (old_tag or new_tag or ("", 0, b"", 0))[0]
            documented = _is_documented(code, old_tag, new_tag, is_jpeg)
            if documented and name not in DOCUMENTED_CHANGES:
                name = "PictureTag"
            found[name] = found.get(name, True) and documented
    return found


def _is_reduced(page: Any) -> bool:
    return bool(page.tags.valueof(254, 0) & 1) or page.tags.valueof(255, 0) == 2


_Tag = tuple[str, int, bytes, Any]


def _raw_tags(page: Any, data: bytes) -> dict[int, _Tag]:
    """Return name, type, bytes and value of each tag of a page."""
    tags = {}
    for tag in page.tags:
        raw = data[tag.valueoffset : tag.valueoffset + tag.valuebytecount]
        value = tag.value if isinstance(tag.value, int | dict) else None
        tags[tag.code] = (tag.name, int(tag.dtype), raw, _plain(value))
    return tags


def _plain(value: Any) -> Any:
    """Return EXIF and GPS values without what holds pictures, so that they compare."""
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if not isinstance(item, bytes)}


def _is_documented(code: int, old: _Tag | None, new: _Tag | None, is_jpeg: bool) -> bool:
    if old is None:
        return False
    if new is None:
        return code in (_SUB_IFDS, _LAYERS) or (is_jpeg and code in _JPEG_REMOVED)
    if code in _LOCATIONS:
        return True
    if is_jpeg and code in (259, 262):
        return (code, new[3]) in ((259, _DEFLATE), (262, _RGB))
    return old[1] == new[1] and new[2] == clean_value(code, old[2])
