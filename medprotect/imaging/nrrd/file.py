"""NRRD files read and written: the header's text is kept, the block of voxels replaced."""

from functools import partial
from io import BytesIO
from typing import BinaryIO

from medprotect.errors import UnsupportedImageError
from medprotect.imaging.image import Content, Description, Detached, Pair, Role
from medprotect.imaging.nrrd.header import Header, parse_header
from medprotect.imaging.volume.block import Block, Place, is_mask, read_block
from medprotect.imaging.volume.file import VolumeFile, describe_image
from medprotect.imaging.volume.streams import read_text_header


def describe(
    stream: BinaryIO, voxels: BinaryIO | None = None, *, finds_masks: bool = True
) -> Description:
    """Read the header, and voxels only until they are known to be no label map.

    As `medprotect.imaging.image.VolumeFormat` says.
    """
    header = parse_header(read_text_header(stream))
    if header.file:
        if voxels is None:
            return Description(Role.IMAGE, "nrrd header", detached=Detached(header.file))
        stream = voxels
    if finds_masks and (header.labels or is_mask(stream, _place(header), header.grid)):
        return Description(Role.OTHER, "nrrd label map")
    return describe_image("nrrd", header.grid, header.meaning, header.codec)


def _place(header: Header) -> Place:
    return Place(header.codec, 0 if header.file else header.size, header.skip)


def open_file(data: Content) -> VolumeFile:
    """Open a NRRD file, or header and voxels.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    header_file = data.header if isinstance(data, Pair) else data
    header = parse_header(read_text_header(BytesIO(header_file)))
    if bool(header.file) != isinstance(data, Pair):
        raise UnsupportedImageError("a NRRD header whose voxels lie in another file")
    packed = data.voxels if isinstance(data, Pair) else data
    block = read_block(packed, _place(header), header.grid)
    text = header_file if header.file else header_file[: header.size]
    rebuild = partial(_rebuild, text, bool(header.file), block)
    notes = ("trailing_data_removed",) if block.is_followed else ()
    description = describe_image("nrrd", header.grid, header.meaning, header.codec)
    return VolumeFile(description, header.grid, header.meaning, block.voxels, rebuild, notes)


def _rebuild(text: bytes, is_pair: bool, block: Block, voxels: bytearray) -> Content:
    packed = block.pack(voxels)
    return Pair(text, packed) if is_pair else text + packed
