"""MetaImage files read and written: the header's text is kept, the block of voxels replaced."""

from functools import partial
from io import BytesIO
from typing import BinaryIO

from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging.image import Content, Description, Detached, Pair, Role
from medprotect.imaging.metaimage.header import Header, parse_header
from medprotect.imaging.volume.block import Block, Place, is_mask, read_block
from medprotect.imaging.volume.file import VolumeFile, describe_image
from medprotect.imaging.volume.streams import is_gzip, read_text_header


def describe(
    stream: BinaryIO, voxels: BinaryIO | None = None, *, finds_masks: bool = True
) -> Description:
    """Read the header, and voxels only until they are known to be no label map.

    As `medprotect.imaging.image.VolumeFormat` says.
    """
    header = parse_header(read_text_header(stream))
    if header.file:
        if voxels is None:
            return Description(Role.IMAGE, "metaimage header", detached=Detached(header.file))
        stream = voxels
    place = _place(stream, header)
    if finds_masks and is_mask(stream, place, header.grid):
        return Description(Role.OTHER, "metaimage label map")
    return describe_image("metaimage", header.grid, header.meaning, place.codec)


def _place(stream: BinaryIO, header: Header) -> Place:
    start = 0 if header.file else header.size
    if not header.compressed:
        return Place(start=start)
    stream.seek(start)
    return Place("gzip" if is_gzip(stream.read(2)) else "zlib", start)


def open_file(data: Content) -> VolumeFile:
    """Open a MetaImage file, or header and voxels.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    header_file = data.header if isinstance(data, Pair) else data
    header = parse_header(read_text_header(BytesIO(header_file)))
    if bool(header.file) != isinstance(data, Pair):
        raise UnsupportedImageError("a MetaImage header whose voxels lie in another file")
    packed = data.voxels if isinstance(data, Pair) else data
    place = _place(BytesIO(packed), header)
    stated = header.packed_size
    if header.compressed and stated and stated != len(packed) - place.start:
        raise CorruptImageError("the compressed voxels are not as long as the header says")
    block = read_block(packed, place, header.grid)
    text = header_file if header.file else header_file[: header.size]
    rebuild = partial(_rebuild, text, header, block)
    notes = ("trailing_data_removed",) if block.is_followed else ()
    description = describe_image("metaimage", header.grid, header.meaning, place.codec)
    return VolumeFile(description, header.grid, header.meaning, block.voxels, rebuild, notes)


def _rebuild(text: bytes, header: Header, block: Block, voxels: bytearray) -> Content:
    packed = block.pack(voxels)
    if header.compressed and header.packed_size:
        start, end = header.packed_size_at
        text = text[:start] + str(len(packed)).encode() + text[end:]
    return Pair(text, packed) if header.file else text + packed
