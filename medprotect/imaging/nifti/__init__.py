"""NIfTI-1 and NIfTI-2 images in one file or a pair of files, plain or gzipped.

The module keeps the contract `medprotect.imaging.image.VolumeFormat`. What it changes besides the
voxels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/nifti.md``: of the header, nothing.
"""

from medprotect.imaging.nifti.changes import (
    DOCUMENTED_CHANGES,
    changed_elements,
    undocumented_changes,
)
from medprotect.imaging.nifti.file import describe, open_file

__all__ = [
    "DOCUMENTED_CHANGES",
    "changed_elements",
    "describe",
    "open_file",
    "undocumented_changes",
]
