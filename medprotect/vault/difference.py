"""A piece of an original as its difference from the protected file, or by itself, compressed.

Noise changes all pixels a little, so what general delta compressors look for, equal runs of bytes,
is hardly there. The difference of numbers is small, though: of bytes, or of 16-bit words with
their high bytes put together. A header that grew moves all that follows it, so a piece is also
compared with what stands as far from the end of the protected file. Each piece is kept in the way
that looks shortest; where the protected file is compressed itself, that is the piece as it is.
"""

from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from medprotect.errors import VaultError

PIECE_BYTES = 1024**2
"""Of an original; the last piece of a file is shorter."""

LARGEST_BYTES = PIECE_BYTES + 16 * 1024
"""What the longest piece takes at most when it is written."""

_TRIED_BYTES = 128 * 1024
_TRIED_LEVEL, _LEVEL = 1, 3
"""Of zstd; level 9 saves a hundredth more and takes half as long again."""


class _From(Enum):
    """Where the piece of the protected file lies that is taken away."""

    NOWHERE = 0
    START = 1
    END = 2


@dataclass(frozen=True, slots=True)
class _Way:
    """How a piece is kept; its number in `_WAYS` stands before it."""

    place: _From
    word: str


_WAYS = (
    _Way(_From.NOWHERE, "u1"),
    _Way(_From.NOWHERE, "<u2"),
    *(_Way(place, word) for place in (_From.START, _From.END) for word in ("u1", "<u2", ">u2")),
)


@dataclass(frozen=True, slots=True)
class Base:
    """A protected file, from which differences are taken; of no bytes where there is none.

    Attributes
    ----------
    stream : binary file or None
        Seekable.
    size : int
        Its bytes.
    original_size : int
        Bytes of the original.
    """

    stream: BinaryIO | None
    size: int
    original_size: int

    def ways(self) -> tuple[int, ...]:
        """Return the numbers of the ways that can shorten a piece."""
        places = {_From.NOWHERE}
        if self.stream is not None:
            places |= {_From.START}
            places |= {_From.END} if self.size != self.original_size else set()
        return tuple(number for number, way in enumerate(_WAYS) if way.place in places)

    def read(self, way: int, offset: int, count: int) -> NDArray[np.uint8]:
        """Return what belongs to a piece of the original; zeros where there is nothing."""
        place = _WAYS[way].place
        there = np.zeros(count, np.uint8)
        if place is _From.NOWHERE or self.stream is None:
            return there
        at = offset + (self.size - self.original_size if place is _From.END else 0)
        skipped = max(0, -at)
        if skipped < count:
            self.stream.seek(at + skipped)
            found = np.frombuffer(self.stream.read(count - skipped), np.uint8)
            there[skipped : skipped + found.size] = found
        return there


def encode_piece(piece: bytes, offset: int, base: Base) -> bytes:
    """Return a piece of an original in the shortest way.

    Parameters
    ----------
    piece : bytes
        At most `PIECE_BYTES`.
    offset : int
        Where it begins in the original.
    base : Base
        The protected file.
    """
    ways = base.ways()
    if len(ways) > 1 and piece:
        begin = max(0, len(piece) - _TRIED_BYTES) // 2 & ~1  # from its middle: headers are alike
        tried = piece[begin : begin + _TRIED_BYTES]
        lengths = {
            way: len(_encode(tried, offset + begin, base, way, _TRIED_LEVEL)) for way in ways
        }
        ways = (min(lengths, key=lengths.__getitem__),)
    return _encode(piece, offset, base, ways[0], _LEVEL)


def _encode(piece: bytes, offset: int, base: Base, way: int, level: int) -> bytes:
    there = base.read(way, offset, len(piece))
    short = _subtract(np.frombuffer(piece, np.uint8), there, _WAYS[way].word)
    return bytes([way]) + bytes(imagecodecs.zstd_encode(short, level=level))


def decode_piece(data: bytes, offset: int, count: int, base: Base) -> bytes:
    """Return the piece of an original that `encode_piece` was given.

    Parameters
    ----------
    data : bytes
        As it returned them.
    offset, count : int
        Where the piece lies in the original, and its bytes.
    base : Base
        The same protected file.

    Raises
    ------
    VaultError
        The bytes are no such piece.
    """
    way = data[0] if data else len(_WAYS)
    if way not in base.ways():
        raise VaultError("A part of the vault is stored in an unknown way; use a newer medprotect.")
    try:
        short = bytes(imagecodecs.zstd_decode(data[1:], out=count)) if count else b""
    except (imagecodecs.ZstdError, ValueError):
        short = None
    if short is None or len(short) != count:
        raise VaultError(
            "A part of the vault is damaged: it has a wrong size. Use a copy of the vault."
        )
    return _add(np.frombuffer(short, np.uint8), base.read(way, offset, count), _WAYS[way].word)


def _subtract(piece: NDArray[np.uint8], there: NDArray[np.uint8], word: str) -> bytes:
    if word == "u1":
        return (piece - there).tobytes()
    even = piece.size & ~1
    words = (piece[:even].view(word) - there[:even].view(word)).astype("<u2")
    planes = words.view(np.uint8).reshape(-1, 2).T
    shortened: bytes = planes.tobytes() + (piece[even:] - there[even:]).tobytes()
    return shortened


def _add(short: NDArray[np.uint8], there: NDArray[np.uint8], word: str) -> bytes:
    if word == "u1":
        return (short + there).tobytes()
    even = short.size & ~1
    planes = np.ascontiguousarray(short[:even].reshape(2, -1).T)
    words = (planes.reshape(-1).view("<u2") + there[:even].view(word)).astype(word)
    restored: bytes = words.tobytes() + (short[even:] + there[even:]).tobytes()
    return restored
