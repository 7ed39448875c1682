"""The block of voxels behind a header of text, or in a file of its own, raw or compressed."""

from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError, UnsupportedImageError
from medprotect.imaging.volume.grid import Grid
from medprotect.imaging.volume.labels import is_label_map
from medprotect.imaging.volume.streams import FEWER, Packing, Source, packing_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where the block lies.

    Attributes
    ----------
    codec : str
        As `medprotect.imaging.volume.streams.Source` takes it.
    start : int
        First byte of the data in its file, compressed or not.
    skip : int
        Bytes of the uncompressed data before the voxels; -1 where the voxels are the last ones.
    """

    codec: str = "none"
    start: int = 0
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """The block, read.

    Attributes
    ----------
    voxels : bytearray
        Uncompressed.
    leading, tail : bytes
        Empty space before and behind, uncompressed.
    packing : Packing
        How all of it was compressed.
    is_followed : bool
        Whether more than empty space lay behind, which is left out.
    """

    voxels: bytearray
    leading: bytes
    tail: bytes
    packing: Packing
    is_followed: bool

    def pack(self, voxels: bytearray) -> bytes:
        """Return the data with other voxels."""
        return self.packing.pack((self.leading, voxels, self.tail))


def is_mask(stream: BinaryIO, place: Place, grid: Grid) -> bool:
    """Whether the voxels are a label map or mask, read no further than it takes to know.

    Raises
    ------
    CorruptImageError, UnsupportedImageError, ImageTooLargeError
        As `read_block`.
    """
    source = _begin(stream, place, grid)
    _read_leading(source, place, grid)
    return is_label_map(source, grid)


def read_block(data: bytes, place: Place, grid: Grid) -> Block:
    """Read all voxels, and what lies around them.

    Raises
    ------
    CorruptImageError
        There are fewer than the header says, or the data is damaged.
    UnsupportedImageError
        Other data lies before the voxels, or behind compressed ones: it may be a copy.
    ImageTooLargeError
        Far more data follows.
    """
    stream = BytesIO(data)
    source = _begin(stream, place, grid)
    leading = _read_leading(source, place, grid)
    voxels = source.read_block(grid.data_bytes)
    tail = source.read_tail()
    if tail and place.codec != "none":
        raise UnsupportedImageError("other data follows the compressed voxels; cut it off")
    is_followed = bool(tail.strip(b"\0"))
    packing = packing_of(memoryview(data)[place.start :], place.codec)
    return Block(voxels, leading, b"" if is_followed else tail, packing, is_followed)


def _begin(stream: BinaryIO, place: Place, grid: Grid) -> Source:
    source = Source(stream, place.codec, place.start)
    if max(place.skip, 0) + grid.data_bytes > source.most_bytes:
        raise CorruptImageError(FEWER)
    return source


def _read_leading(source: Source, place: Place, grid: Grid) -> bytes:
    count = place.skip if place.skip >= 0 else source.most_bytes - grid.data_bytes
    if count > limits.HEADER_BYTES:
        raise ImageTooLargeError("far more data than the header accounts for")
    leading = source.read_up_to(count)
    if leading.strip(b"\0"):
        raise UnsupportedImageError(
            "data of no known kind lies before the voxels; write the image again without it"
        )
    return leading
