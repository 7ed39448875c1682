"""Pictures embedded in metadata: one clean copy of the image would undo the protection."""

import re

_PICTURE = re.compile(
    rb"\x89PNG\r\n\x1a\n"
    rb"|\xff\xd8\xff[\xc0-\xfe]"  # JPEG
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51\0"  # JPEG 2000
    rb"|GIF8[79]a"
    rb"|\xe0\x7f\x10\x00|\x7f\xe0\x00\x10"  # DICOM Pixel Data
    rb"|\A(?:II[*+]\0|MM\0[*+])"
    # Base64 of JPEG, PNG and GIF, as in XMP.
    rb"|/9j/[2-4][A-Za-z0-9+/]{32}|iVBORw0KGgo|R0lGODdh|R0lGODlh"
)


def holds_picture(data: bytes) -> bool:
    """Whether bytes are, or hold, a PNG, JPEG, JPEG 2000, GIF, TIFF or DICOM image."""
    return _PICTURE.search(data) is not None
