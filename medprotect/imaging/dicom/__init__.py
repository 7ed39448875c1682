"""DICOM images: read in stored values, written with new pixels and hardly anything else.

The module keeps the contract `medprotect.imaging.image.ImageFormat`. What it changes in a header
is `DOCUMENTED_CHANGES`, explained in ``docs/reference/dicom.md``.
"""

import logging
from io import BytesIO
from typing import BinaryIO

from medprotect.imaging.dicom.changes import (
    DOCUMENTED_CHANGES,
    changed_elements,
    references_of,
    undocumented_changes,
    undocumented_copy_changes,
)
from medprotect.imaging.dicom.describe import describe
from medprotect.imaging.dicom.document import is_dicom
from medprotect.imaging.dicom.file import DicomFile
from medprotect.imaging.dicom.outline import read_outline
from medprotect.imaging.image import ImageFile

# What pydicom logs may quote values of patients; without any handler it would go to stderr.
logging.getLogger("pydicom").addHandler(logging.NullHandler())

__all__ = [
    "DOCUMENTED_CHANGES",
    "changed_elements",
    "describe",
    "is_dicom",
    "open_file",
    "open_stream",
    "read_outline",
    "references_of",
    "undocumented_changes",
    "undocumented_copy_changes",
]


def open_file(data: bytes) -> ImageFile:
    """Open a DICOM file whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return DicomFile(BytesIO(data))


def open_stream(stream: BinaryIO) -> DicomFile:
    """Open a DICOM file from a seekable stream, from which its frames are read one at a time.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return DicomFile(stream)
