"""NIfTI files read and written: header bytes are kept, the block of voxels is replaced."""

from functools import partial
from io import BytesIO
from typing import BinaryIO

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from medprotect.imaging.image import Content, Description, Detached, Pair, Role
from medprotect.imaging.nifti.header import HEADER_BYTES, Header, parse_fields, parse_header
from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.volume.file import VolumeFile, describe_image
from medprotect.imaging.volume.labels import is_label_map
from medprotect.imaging.volume.streams import FEWER, Packing, Source, packing_of

DETACHED = Detached(endings=(".hdr", ".hdr.gz"), others=(".img", ".img.gz"))
"""How the file of a pair is called that holds the voxels (nifti1.h)."""


def describe(
    stream: BinaryIO, voxels: BinaryIO | None = None, *, finds_masks: bool = True
) -> Description:
    """Read the header, and voxels only until they are known to be no label map.

    As `medprotect.imaging.image.VolumeFormat` says.
    """
    source = Source(stream)
    head, header = _read_header(source)
    first = b"" if header.is_pair else head[header.offset :]
    if header.is_pair:
        if voxels is None:
            return Description(Role.IMAGE, "nifti header", detached=DETACHED)
        source = Source(voxels)
        _check_size(source, header)
        _read_leading(source, header)
    if finds_masks and (header.labels or is_label_map(source, header.grid, first)):
        return Description(Role.OTHER, "nifti label map")
    return describe_image("nifti", header.grid, header.meaning, source.codec)


def _read_header(source: Source) -> tuple[bytes, Header]:
    """Read up to the voxels, or a header file to its end; return these bytes, checked."""
    head = source.read_up_to(HEADER_BYTES)
    header = parse_header(head)
    if header.is_pair:
        head += source.read_up_to(limits.HEADER_BYTES + 1)
        if len(head) > limits.HEADER_BYTES:
            raise ImageTooLargeError("header extensions are larger than medprotect.limits allows")
        _check_extensions(head)
        _check_header_end(head)
        return head, header
    _check_size(source, header)
    # A NIfTI-1 header is shorter than HEADER_BYTES: voxels may have been read with it.
    head += source.read_up_to(header.offset - len(head))
    if len(head) < header.offset:
        raise CorruptImageError("the file ends before its voxels")
    _check_extensions(head[: header.offset])
    return head, header


def _check_size(source: Source, header: Header) -> None:
    if header.offset + header.grid.data_bytes > source.most_bytes:
        raise CorruptImageError(FEWER)


def _check_extensions(head: bytes) -> None:
    if holds_picture(head[348:]):
        raise UnsupportedImageError(
            "a header extension holds a picture; remove the extension, then run again"
        )


def _check_header_end(head: bytes) -> None:
    """Refuse a header file that goes on behind its extensions: it may hold a copy of the image.

    An extension states its size, a multiple of 16 (nifti1.h); there are some where the first of
    four bytes behind the header is not zero.
    """
    fields = parse_fields(head)
    size = int(fields["sizeof_hdr"])
    at, order = size + 4, "big" if fields["dim"].dtype.str.startswith(">") else "little"
    extended = head[size : size + 1] not in (b"", b"\0")
    while extended and at + 8 <= len(head):
        length = int.from_bytes(head[at : at + 4], order)  # type: ignore[arg-type]
        if length < 8 or at + length > len(head):
            break
        at += length
    if head[at:].strip(b"\0"):
        raise UnsupportedImageError(
            "the header file goes on behind the header, with data of no known kind; cut it off"
        )


def _read_leading(source: Source, header: Header) -> bytes:
    """Read what lies before the voxels in a file of their own."""
    leading = source.read_up_to(header.offset)
    if leading.strip(b"\0"):
        raise UnsupportedImageError(
            "data of no known kind lies before the voxels; write the pair again without it"
        )
    return leading


def open_file(data: Content) -> VolumeFile:
    """Open a NIfTI file, or both of a pair.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    header_file = data.header if isinstance(data, Pair) else data
    source = Source(BytesIO(header_file))
    head, header = _read_header(source)
    packed = header_file
    leading, first = head[: header.offset], head[header.offset :]
    if header.is_pair:
        if not isinstance(data, Pair):
            raise UnsupportedImageError("a NIfTI header whose voxels lie in another file")
        packed, first = data.voxels, b""
        source = Source(BytesIO(packed))
        _check_size(source, header)
        leading = _read_leading(source, header)
    size = header.grid.data_bytes
    block = source.read_block(size, first)
    tail = bytes(block[size:]) + source.read_tail()
    del block[size:]
    is_followed = bool(tail.strip(b"\0"))
    rebuild = partial(
        _rebuild,
        header_file if header.is_pair else None,
        packing_of(packed, source.codec),
        leading,
        b"" if is_followed else tail,
    )
    notes = ("trailing_data_removed",) if is_followed else ()
    description = describe_image("nifti", header.grid, header.meaning, source.codec)
    return VolumeFile(description, header.grid, header.meaning, block, rebuild, notes)


def _rebuild(
    header: bytes | None, packing: Packing, leading: bytes, tail: bytes, block: bytearray
) -> Content:
    packed = packing.pack((leading, block, tail))
    return packed if header is None else Pair(header, packed)
