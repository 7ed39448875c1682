"""MetaImage: a header of text, with its voxels behind it (``.mha``) or in a file (``.mhd``).

The module keeps the contract `medprotect.imaging.image.VolumeFormat`. What it changes besides the
voxels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/metaimage-nrrd-mgh.md``.
"""

from medprotect.imaging.metaimage.changes import (
    DOCUMENTED_CHANGES,
    changed_elements,
    undocumented_changes,
)
from medprotect.imaging.metaimage.file import describe, open_file

__all__ = [
    "DOCUMENTED_CHANGES",
    "changed_elements",
    "describe",
    "open_file",
    "undocumented_changes",
]
