"""The container of PNG: chunks, checked before anything in them is inflated (PNG third edition)."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedImageError,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_RATIO = 1032
"""Deflate cannot expand more than this."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its type, such as ``IHDR``, and its data."""

    type: str
    data: bytes

    def write(self) -> bytes:
        """Return length, type, data and CRC."""
        body = self.type.encode("latin-1") + self.data
        return struct.pack(">I", len(self.data)) + body + struct.pack(">I", zlib.crc32(body))


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What IHDR says.

    Attributes
    ----------
    columns, rows : int
        Matrix.
    depth : int
        Bits of a sample, 8 or 16.
    samples : int
        Per pixel: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    interlaced : bool
        Whether by Adam7.
    """

    columns: int
    rows: int
    depth: int
    samples: int
    interlaced: bool


def parse_header(data: bytes, deflated_bytes: int) -> PngHeader:
    """Check IHDR against what is supported, the limits, and the size of the deflated pixels.

    Raises
    ------
    UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    if len(data) != 13:
        raise CorruptImageError("the PNG header has a wrong length")
    columns, rows, depth, colour, method, filtering, interlace = struct.unpack(">IIBBBBB", data)
    if not columns or not rows or depth not in _DEPTHS.get(colour, ()):
        raise CorruptImageError("the PNG header states impossible values")
    if method or filtering or interlace > 1:
        raise CorruptImageError("the PNG header states an unknown method")
    if colour == 3:
        raise UnsupportedImageError("a palette; convert the image to grey or RGB")
    if depth < 8:
        raise UnsupportedImageError(
            "fewer than 8 bits per sample: invisible noise would be none; leave it out"
        )
    samples = _SAMPLES[colour]
    size = rows * (columns * samples * depth // 8)
    if rows * columns > limits.IMAGE_PIXELS or size > limits.DECODED_BYTES:
        raise ImageTooLargeError("more pixels than medprotect.limits allows")
    if size > deflated_bytes * _MAX_RATIO:
        raise CorruptImageError("the file holds fewer pixels than its header says")
    return PngHeader(columns, rows, depth, samples, bool(interlace))


def walk(stream: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield type and length of each chunk, with the stream at its data; skips what is not read.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        No PNG file, or cut short, or too many chunks.
    """
    size = stream.seek(0, 2)
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        raise NotAnImageError("not a PNG file")
    at = 8
    for _ in range(limits.HEADER_ELEMENTS):
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8:
            raise CorruptImageError("the PNG file is cut short")
        (length,) = struct.unpack(">I", head[:4])
        if not head[4:].isalpha() or at + 12 + length > size:
            raise CorruptImageError("the PNG file is damaged or cut short")
        name = head[4:].decode("latin-1")
        yield name, length
        at += 12 + length
        if name == "IEND":
            stream.seek(at)
            return
    raise ImageTooLargeError("more chunks than medprotect.limits allows")


def read_chunks(stream: BinaryIO) -> tuple[list[Chunk], bytes]:
    """Return all chunks, their CRCs checked, and what follows the last.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        No PNG file, a damaged one, or metadata over the limit.
    """
    chunks = []
    metadata_bytes = 0
    for name, length in walk(stream):
        if name != "IDAT":
            metadata_bytes += length
        if metadata_bytes > limits.HEADER_BYTES:
            raise ImageTooLargeError("more metadata than medprotect.limits allows")
        chunk = Chunk(name, stream.read(length))
        (checksum,) = struct.unpack(">I", stream.read(4))
        if checksum != zlib.crc32(name.encode("latin-1") + chunk.data):
            raise CorruptImageError("a PNG chunk is damaged: its checksum differs")
        chunks.append(chunk)
    _check_order([chunk.type for chunk in chunks])
    return chunks, stream.read(limits.HEADER_BYTES)


def _check_order(types: list[str]) -> None:
    pixels = [index for index, name in enumerate(types) if name == "IDAT"]
    if not pixels:
        raise CorruptImageError("the PNG file holds no pixels")
    if types[0] != "IHDR" or types.count("IHDR") != 1:
        raise CorruptImageError("the PNG file does not have one header")
    if pixels[-1] - pixels[0] + 1 != len(pixels):
        raise CorruptImageError("the PNG file has its pixels in two places")


def write_chunks(chunks: Iterable[Chunk]) -> bytes:
    """Return a PNG file made of chunks."""
    return SIGNATURE + b"".join(chunk.write() for chunk in chunks)


def inflate_text(data: bytes) -> bytes:
    """Inflate a compressed text or profile within the limit.

    Raises
    ------
    CorruptImageError, ImageTooLargeError
        It is damaged, or larger than `medprotect.limits` allows.
    """
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, limits.HEADER_BYTES)
    except zlib.error as error:
        raise CorruptImageError("a compressed PNG text is damaged") from error
    if inflater.unconsumed_tail:
        raise ImageTooLargeError("a compressed PNG text is larger than medprotect.limits allows")
    return text
