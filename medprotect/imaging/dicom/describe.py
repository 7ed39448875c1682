"""What a DICOM file is to a run, from its header alone."""

import struct
from typing import BinaryIO

from medprotect.errors import (
    CorruptImageError,
    InputError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging.dicom.codecs import CODECS
from medprotect.imaging.dicom.document import Document, read_header
from medprotect.imaging.dicom.elements import PIXEL_DATA, PIXEL_TAGS
from medprotect.imaging.dicom.header import describe_image, read_layout, series_of
from medprotect.imaging.dicom.layout import PixelLayout
from medprotect.imaging.dicom.sop_classes import is_image_storage, kind_of_other
from medprotect.imaging.dicom.values import text
from medprotect.imaging.image import Description, Role


def describe(stream: BinaryIO) -> Description:
    """Read the header from a seekable stream, without decoding pixels.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    document = read_header(stream)
    try:
        return _describe(document, stream)
    except InputError as error:
        error.series = series_of(document.data_set)
        raise


def _describe(document: Document, stream: BinaryIO) -> Description:
    data_set = document.data_set
    sop_class = text(data_set, data_set.get("SOPClassUID"))
    if not sop_class:
        sop_class = text(document.meta, document.meta.get("MediaStorageSOPClassUID"))
    other = kind_of_other(sop_class)
    if other:
        return Description(Role.OTHER, f"dicom {other}")
    tag = _next_tag(document)
    if tag == PIXEL_DATA:
        layout = read_layout(document)
        description = describe_image(document, layout)
        _check_length(document, layout, stream)
        return description
    if tag in PIXEL_TAGS:
        raise UnsupportedImageError(
            "floating point pixels in DICOM are not protected; save them as NIfTI"
        )
    if is_image_storage(sop_class) or data_set.get("Rows") is not None:
        raise NotAnImageError(
            "the header of an image without its pixels (no Pixel Data); export it again with them,"
            " or leave it out"
        )
    if not sop_class:
        raise NotAnImageError("a DICOM data set without SOP class and without pixels; leave it out")
    return Description(Role.OTHER, "dicom without pixels")


def _next_tag(document: Document) -> int:
    """Return the tag at which reading the header stopped; 0 at the end of the file."""
    data_set = document.data_set
    if len(data_set.data) < data_set.end + 4:
        return 0
    order = data_set.encoding.order
    group, number = struct.unpack_from(order + "HH", data_set.data, data_set.end)
    return int(group) << 16 | int(number)


def _check_length(document: Document, layout: PixelLayout, stream: BinaryIO) -> None:
    """Check that the file is long enough for the native pixels its header declares."""
    if document.transfer_syntax in CODECS or document.is_deflated:
        return
    needed = document.data_set.end + layout.pixel_bytes
    if stream.seek(0, 2) < needed:
        raise CorruptImageError("the file holds fewer pixels than its header says")
