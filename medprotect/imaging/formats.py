"""The formats that are protected, each a module that is imported when it is first used."""

import importlib
from io import BytesIO
from typing import BinaryIO, cast

from medprotect.errors import NotAnImageError, UnsupportedImageError
from medprotect.imaging.image import (
    Content,
    Description,
    ImageFile,
    ImageFormat,
    Pair,
    Role,
    VolumeFormat,
)
from medprotect.scan.sniff import sniff

_MODULES = {
    "dicom": "medprotect.imaging.dicom",
    "nifti": "medprotect.imaging.nifti",
    "metaimage": "medprotect.imaging.metaimage",
    "nrrd": "medprotect.imaging.nrrd",
    "mgh": "medprotect.imaging.mgh",
    "png": "medprotect.imaging.raster.png",
    "tiff": "medprotect.imaging.raster.tiff",
    "jpeg": "medprotect.imaging.raster.jpeg",
}

VOLUMES = frozenset({"nifti", "metaimage", "nrrd", "mgh"})
"""Formats whose voxels may be labels, or lie in another file than the header."""

FORMATS = tuple(_MODULES)
"""Names of the formats, as `medprotect.scan.sniff.sniff` gives them."""

_OTHERS = frozenset({"text", "pdf"})

_REASONS = {
    "archive": "an archive; unpack it before the run",
    "empty": "the file is empty; get it again from its source, or leave it out",
    "unknown": "neither an image of a known format nor text; leave it out, or convert it",
}
_UNSUPPORTED = {
    "compressed": (
        "compressed data that is no image of a known format: maybe voxels whose header lies in "
        "another file, as AFNI writes them; unpack it, or convert the image"
    ),
    "other-image": "an image or film of a format that is not protected; convert it to one that is",
}


def load_format(name: str) -> ImageFormat:
    """Return the module that handles a format.

    Parameters
    ----------
    name : str
        One of `FORMATS`.

    Raises
    ------
    KeyError
        `name` is none of them.
    """
    return cast(ImageFormat, importlib.import_module(_MODULES[name]))


def describe(
    stream: BinaryIO, voxels: BinaryIO | None = None, *, finds_masks: bool = True
) -> Description:
    """Say what a file is, from its content, and what its header says.

    Parameters
    ----------
    stream : binary file
        Seekable; read from its beginning.
    voxels : binary file, optional
        The file that holds the voxels, where the description without it says that one does.
    finds_masks : bool
        Whether volumes that are label maps or masks are told from images.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason: also where it is an archive, empty, unknown, or
        an image of another format.
    """
    name = sniff(stream)
    if name in _OTHERS:
        return Description(Role.OTHER, name)
    image_format = _format_of(name)
    stream.seek(0)
    if name in VOLUMES:
        return cast(VolumeFormat, image_format).describe(stream, voxels, finds_masks=finds_masks)
    return image_format.describe(stream)


def open_file(data: Content) -> ImageFile:
    """Open an image file of any format, known by its content.

    Parameters
    ----------
    data : bytes or Pair
        The whole file, or both of an image in two.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        As `describe`; ``NotAnImageError`` for text and documents too.
    """
    name = sniff(BytesIO(data.header if isinstance(data, Pair) else data))
    if isinstance(data, Pair) and name not in VOLUMES:
        raise NotAnImageError("no header of voxels in another file")
    return _format_of(name).open_file(data)


def _format_of(name: str) -> ImageFormat:
    if name in _MODULES:
        return load_format(name)
    if name in _UNSUPPORTED:
        raise UnsupportedImageError(_UNSUPPORTED[name])
    raise NotAnImageError(_REASONS.get(name, "a document without pixels of its own"))
