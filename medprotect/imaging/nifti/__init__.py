"""NIfTI-1 and NIfTI-2 images in one file, plain or gzipped.

The module keeps the contract `medprotect.imaging.image.ImageFormat`. What it changes besides the
voxels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/nifti.md``: of the header, nothing.
"""

from medprotect.imaging.image import ImageFile
from medprotect.imaging.nifti.changes import (
    DOCUMENTED_CHANGES,
    changed_elements,
    undocumented_changes,
)
from medprotect.imaging.nifti.file import NiftiFile, describe

__all__ = [
    "DOCUMENTED_CHANGES",
    "changed_elements",
    "describe",
    "open_file",
    "undocumented_changes",
]


def open_file(data: bytes) -> ImageFile:
    """Open a NIfTI file whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return NiftiFile(data)
