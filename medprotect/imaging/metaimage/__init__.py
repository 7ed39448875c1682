"""MetaImage: a header of text, with its voxels behind it (``.mha``) or in a file (``.mhd``).

The module keeps the contract `medprotect.imaging.image.VolumeFormat`. What it changes besides the
voxels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/metaimage-nrrd-mgh.md``.
"""

from medprotect.imaging.image import Content, ImageFile
from medprotect.imaging.metaimage.changes import (
    DOCUMENTED_CHANGES,
    changed_elements,
    undocumented_changes,
)
from medprotect.imaging.metaimage.file import describe, open_volume

__all__ = [
    "DOCUMENTED_CHANGES",
    "changed_elements",
    "describe",
    "open_file",
    "undocumented_changes",
]


def open_file(data: Content) -> ImageFile:
    """Open a MetaImage file, or header and voxels, whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return open_volume(data)
