"""The container of JPEG: marker segments (ITU-T T.81 annex B)."""

from collections.abc import Iterator
from dataclasses import dataclass

from medprotect.errors import CorruptImageError

SOI, EOI, SOS, COM, APP0 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Markers of frame headers (SOF), that of JPEG-LS included."""

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker segment.

    Attributes
    ----------
    marker : int
        Second byte of the marker.
    data : bytes
        What follows its length; empty for markers without.
    end : int
        Where it ends in the file.
    """

    marker: int
    data: bytes
    end: int


def read_segments(data: bytes | bytearray, start: int = 0) -> Iterator[Segment]:
    """Yield the segments of a JPEG stream from SOI to EOI, passing over entropy-coded data.

    Raises
    ------
    CorruptImageError
        The stream is damaged or ends before EOI.
    """
    at = start + 2
    yield Segment(SOI, b"", at)
    while True:
        if data[at : at + 1] != b"\xff":
            raise CorruptImageError("the JPEG file is damaged or cut short")
        while data[at : at + 1] == b"\xff":
            at += 1
        if at >= len(data):
            raise CorruptImageError("the JPEG file is cut short")
        marker, at = data[at], at + 1
        if marker == EOI:
            yield Segment(EOI, b"", at)
            return
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise CorruptImageError("the JPEG file is damaged or cut short")
        end = at + length
        yield Segment(marker, bytes(data[at + 2 : end]), end)
        at = _skip_entropy_coded(data, end) if marker == SOS else end


def _skip_entropy_coded(data: bytes | bytearray, at: int) -> int:
    """Return the place of the next marker that is neither stuffing nor a restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise CorruptImageError("the JPEG file is cut short")
        following = data[at + 1]
        if following == 0xFF:
            at += 1
        elif following == 0 or 0xD0 <= following <= 0xD7:
            at += 2
        else:
            return at


def find_end(data: bytes | bytearray, start: int) -> int:
    """Return where the JPEG stream that begins at `start` ends; the end of data where it is cut."""
    end = len(data)
    try:
        for segment in read_segments(data, start):
            end = segment.end
    except CorruptImageError:
        return len(data)
    return end
