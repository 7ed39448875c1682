"""Pictures elsewhere in a header: one clean copy of the image would undo the protection."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from medprotect.imaging.dicom.dictionary import name_of
from medprotect.imaging.dicom.elements import (
    PIXEL_DATA,
    PIXEL_TAGS,
    DataSet,
    Element,
    find,
)
from medprotect.imaging.dicom.layout import PixelLayout

ICON_IMAGE_SEQUENCE = 0x00880200

_LEAST_PIXELS = 256
_MAGIC_AT_START = (b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_MAGIC_ANYWHERE = re.compile(
    rb"\x89PNG\r\n\x1a\n"
    rb"|\xff\xd8\xff\xe0..JFIF\0|\xff\xd8\xff\xe1..Exif\0|\xff\xd8\xff\xee..Adobe"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    re.DOTALL,
)
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True, slots=True)
class Picture:
    """An element that holds a picture, and its path such as ``IconImageSequence``."""

    path: str
    element: Element


def find_pictures(data_set: DataSet, layout: PixelLayout | None) -> Iterator[Picture]:
    """Yield every element that holds a picture besides the pixels of the image itself.

    That is: any sequence with pixel data in its items (Icon Image Sequence, PS3.3 section
    C.7.6.1.1.6, and private ones), any pixel element beside Pixel Data, and private elements whose
    value is a PNG, JPEG, JPEG 2000, TIFF, BMP or GIF file or has just the size of the pixels.

    Parameters
    ----------
    data_set : DataSet
        A whole data set.
    layout : PixelLayout or None
        Of its image, if it is one.
    """
    sizes = _picture_sizes(layout) if layout else frozenset()
    for element in data_set.elements:
        if element.tag != PIXEL_DATA:
            yield from _find_in(data_set, element, sizes, "")


def _find_in(
    data_set: DataSet, element: Element, sizes: frozenset[int], path: str
) -> Iterator[Picture]:
    path += name_of(element.tag)
    items = element.items or ()
    is_picture = (
        element.tag == ICON_IMAGE_SEQUENCE
        or _is_pixel_element(element.tag)
        or any(find(item.elements, PIXEL_DATA) for item in items)
        or _is_private_picture(data_set, element, sizes)
    )
    if is_picture:
        yield Picture(path, element)
        return
    for index, item in enumerate(items):
        for child in item.elements:
            yield from _find_in(data_set, child, sizes, f"{path}[{index}].")


def _is_pixel_element(tag: int) -> bool:
    """Whether an element is Pixel Data of another kind, or Variable Pixel Data (7Fxx,0010)."""
    is_variable = tag & 0xFF01FFFF == 0x7F000010
    return tag in PIXEL_TAGS or is_variable


def _picture_sizes(layout: PixelLayout) -> frozenset[int]:
    """Return the lengths in bytes at which a private value is taken for a copy of the pixels."""
    matrix = layout.rows * layout.columns
    if matrix < _LEAST_PIXELS:
        return frozenset()
    sizes = {matrix * count * width for count in (1, layout.frames) for width in (1, 2, 3, 4)}
    return frozenset(size + size % 2 for size in sizes)


def _is_private_picture(data_set: DataSet, element: Element, sizes: frozenset[int]) -> bool:
    is_private = element.tag >> 16 & 1
    if not is_private or element.items is not None or element.vr not in ("OB", "OW", "UN"):
        return False
    value = data_set.value(element)
    if len(value) in sizes or element.undefined:
        return True
    if value.startswith(_ITEM_TAG) and _PIXEL_DATA_TAG in value:
        return True
    return len(value) >= _LEAST_PIXELS and _holds_file(value)


def _holds_file(value: bytes) -> bool:
    """Whether a value is a picture file, or holds one."""
    is_bitmap = value[:2] == b"BM" and int.from_bytes(value[2:6], "little") <= len(value)
    return (
        value.startswith(_MAGIC_AT_START)
        or (is_bitmap and value[6:10] == b"\0\0\0\0")
        or _MAGIC_ANYWHERE.search(value) is not None
    )
