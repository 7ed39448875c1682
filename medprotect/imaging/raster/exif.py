"""EXIF and XMP: taking the pictures out of them, and comparing what they say."""

import re
import struct
import warnings
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image

from medprotect.imaging.raster.segments import find_end

_THUMBNAIL_DATA = {0x0201: 0x0202, 0x0111: 0x0117}
"""Tags of an IFD that say where a thumbnail lies, and those that say how long it is."""

_JPEG = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
_XMP_PICTURE = re.compile(
    rb"(?:/9j/|iVBORw0KGgo|R0lGOD|SUkqA|TU0AK)(?:&#(?:[xX][AaDd]|10|13);|[A-Za-z0-9+/=\s]){16,}"
)
_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
_POINTERS = frozenset({ifd.value for ifd in ExifTags.IFD})


def remove_exif_pictures(exif: bytes) -> bytes:
    """Return EXIF without thumbnail and previews, of the same length, all other tags unchanged.

    Parameters
    ----------
    exif : bytes
        A TIFF structure, without a leading ``Exif``. The thumbnail's directory (IFD1) is unlinked
        and it and all JPEG streams, also those in maker notes, are overwritten with zeros.
    """
    blanked = bytearray(exif)
    with suppress(struct.error):  # damaged: what can be a picture in it is found below
        _blank_thumbnail(blanked)
    end = 0
    while match := _JPEG.search(blanked, end):
        start = match.start()
        end = find_end(blanked, start)
        blanked[start:end] = bytes(end - start)
    return bytes(blanked)


def _blank_thumbnail(exif: bytearray) -> None:
    order = {b"II": "<", b"MM": ">"}.get(bytes(exif[:2]), "")
    if not order:
        return
    (first,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, first)
    link = first + 2 + 12 * count
    (second,) = struct.unpack_from(order + "I", exif, link)
    if not second:
        return
    (count,) = struct.unpack_from(order + "H", exif, second)
    tags = {}
    for at in range(second + 2, second + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", exif, at)
        (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, at + 8)
    for where, length in _THUMBNAIL_DATA.items():
        start = tags.get(where, 0)
        end = min(start + tags.get(length, 0), len(exif))
        if 8 <= start < end:
            exif[start:end] = bytes(end - start)
    end = min(second + 2 + 12 * count, len(exif))
    exif[second:end] = bytes(end - second)
    exif[link : link + 4] = bytes(4)


def remove_xmp_pictures(xmp: bytes) -> bytes:
    """Return an XMP packet without the base64 of pictures (xmpGImg:image, GImage:Data ...)."""
    return _XMP_PICTURE.sub(b"", xmp)


def read_exif_tags(exif: bytes) -> dict[str, Any]:
    """Return the values of all tags but the thumbnail's, by name such as ``EXIF:ExposureTime``.

    Read by Pillow, which knows nothing of how pictures were removed. Damaged EXIF is one tag.
    """
    if not exif:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = Image.Exif()
            loaded.load(exif)
            tags = {f"EXIF:{ExifTags.TAGS.get(tag, tag)}": loaded[tag] for tag in loaded}
            for ifd in _IFDS:
                for tag, value in loaded.get_ifd(ifd).items():
                    tags[f"EXIF:{ifd.name}.{ExifTags.TAGS.get(tag, tag)}"] = value
    except Exception:
        return {"EXIF:damaged": exif.replace(b"\0", b"")}
    return {name: value for name, value in tags.items() if not _is_blankable(value)}


def _is_blankable(value: Any) -> bool:
    """Whether a value holds a picture, or zeros that may be one blanked."""
    if not isinstance(value, bytes) or len(value) < 64:
        return False
    return _JPEG.search(value) is not None or bytes(64) in value


def compare_tags(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Name the tags that differ, or that only one has."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if repr(before.get(name)) != repr(after.get(name))]
