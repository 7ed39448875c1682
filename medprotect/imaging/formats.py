"""The formats that are protected, each a module that is imported when it is first used."""

import importlib
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO, cast

from medprotect.errors import InputError, NotAnImageError, UnsupportedImageError
from medprotect.imaging.image import (
    Content,
    Description,
    ImageFile,
    ImageFormat,
    Pair,
    Readable,
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
    "other-image": (
        "an image or film of a format that is not protected; save it as DICOM, NIfTI, PNG, TIFF or "
        "JPEG"
    ),
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


def find_references(stream: BinaryIO) -> tuple[str, ...]:
    """Return the names of the UIDs that a file refers to; () where its format has none.

    Parameters
    ----------
    stream : binary file
        Seekable.

    Raises
    ------
    InputError
        It cannot be read.
    """
    if sniff(stream) != "dicom":
        return ()
    from medprotect.imaging.dicom import references

    return references.find_references(read_without_pixels(stream, "dicom"))


def find_new_uids(original: BinaryIO, protected: BinaryIO) -> dict[str, str]:
    """Return the new UIDs of a protected file by the names of the old; {} in other formats.

    Raises
    ------
    InputError
        One of the files cannot be read.
    """
    if sniff(original) != "dicom":
        return {}
    from medprotect.imaging.dicom import references

    contents = [read_without_pixels(stream, "dicom") for stream in (original, protected)]
    return references.find_new_uids(contents[0], contents[1])


def open_stream(stream: Readable) -> ImageFile:
    """Open an image file of any format; of DICOM, no more than a frame is in memory at a time.

    Parameters
    ----------
    stream : binary file or Pair
        Seekable; stays open as long as the result is used.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        As `open_file`.
    """
    if isinstance(stream, Pair):
        return open_file(stream)
    if sniff(stream) == "dicom":
        from medprotect.imaging import dicom

        return dicom.open_stream(stream)
    stream.seek(0)
    return open_file(stream.read())


def undocumented_changes(
    original: Readable, protected: Readable, uids: Mapping[str, str] | None = None
) -> list[str]:
    """Name the header elements that differ and that the documentation does not list.

    As `ImageFormat.undocumented_changes` of the original's format, from seekable streams.

    Parameters
    ----------
    original, protected : binary file or Pair
        Seekable.
    uids : mapping of str to str, optional
        The new UIDs of all protected files of the export, by the names of the old.
    """
    name = sniff(BytesIO(original.header) if isinstance(original, Pair) else original)
    before, after = (
        each if isinstance(each, Pair) else read_without_pixels(each, name)
        for each in (original, protected)
    )
    if name == "dicom" and isinstance(before, bytes) and isinstance(after, bytes):
        from medprotect.imaging import dicom

        return dicom.undocumented_changes(before, after, uids)
    return load_format(name).undocumented_changes(before, after)


def read_without_pixels(stream: BinaryIO, name: str) -> bytes:
    """Return a file, of DICOM all but the value of its Pixel Data, which may be large."""
    if name == "dicom":
        from medprotect.imaging import dicom

        with suppress(InputError):  # a report, say, has no pixels, and is read as a whole
            outline = dicom.read_outline(stream)
            if not outline.header.is_deflated:
                return outline.data
    stream.seek(0)
    return stream.read()


def _format_of(name: str) -> ImageFormat:
    if name in _MODULES:
        return load_format(name)
    if name in _UNSUPPORTED:
        raise UnsupportedImageError(_UNSUPPORTED[name])
    raise NotAnImageError(_REASONS.get(name, "a document without pixels of its own"))
