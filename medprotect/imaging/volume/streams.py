"""Compression around voxels: bounded inflation, and the same wrapping again."""

import bz2
import gzip
import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError, UnsupportedImageError

_GZIP = b"\x1f\x8b"
_FASTEST = 4  # XFL, RFC 1952 section 2.3.1
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16
_CHUNK_BYTES = 1024 * 1024
_MAX_RATIO = {"none": 1, "gzip": 1032, "zlib": 1032}
"""Deflate cannot expand more than this; bzip2 knows no bound worth stating."""

FEWER = "the file holds fewer voxels than its header says"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""
        ...


def is_gzip(head: bytes) -> bool:
    """Whether a file that begins with these bytes is gzipped."""
    return head.startswith(_GZIP)


class _ZlibFile:
    """One zlib stream, read as a file; what follows it reads on as it lies there."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj()
        self._rest: bytes | None = None  # read beyond the end of the stream, once that is reached

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""
        found = b""
        while not found and self._rest is None:
            found = self._inflate(size)
        if found or self._rest is None:
            return found
        found, self._rest = self._rest[:size], self._rest[size:]
        return found or self._stream.read(size)

    def _inflate(self, size: int) -> bytes:
        packed = self._inflater.unconsumed_tail or self._stream.read(64 * 1024)
        if not packed:
            raise EOFError
        found = self._inflater.decompress(packed, size)
        if self._inflater.eof:
            self._rest = self._inflater.unused_data
        return found


class Source:
    """The bytes inside a file, compressed or not.

    Parameters
    ----------
    stream : binary file
        Seekable.
    codec : str, optional
        ``none``, ``gzip``, ``zlib`` or ``bzip2``; by default gzip where it begins like that.
    start : int
        Where in the file to begin.
    """

    def __init__(self, stream: BinaryIO, codec: str = "", start: int = 0) -> None:
        size = stream.seek(0, io.SEEK_END) - start
        stream.seek(start)
        self.codec = codec or ("gzip" if is_gzip(stream.read(2)) else "none")
        stream.seek(start)
        self.most_bytes = size * _MAX_RATIO.get(self.codec, limits.DECODED_BYTES)
        self._file: _Readable = stream
        if self.codec == "gzip":
            self._file = gzip.GzipFile(fileobj=stream)
        elif self.codec == "zlib":
            self._file = _ZlibFile(stream)
        elif self.codec == "bzip2":
            self._file = bz2.BZ2File(stream)

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer; none at the end.

        Raises
        ------
        CorruptImageError
            The file is cut short or damaged.
        """
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptImageError(f"the {self.codec} data is cut short or damaged") from error

    def read_up_to(self, size: int) -> bytes:
        """Return `size` bytes, or fewer where the file ends before.

        Raises
        ------
        CorruptImageError
            The file is damaged.
        """
        found = bytearray()
        while len(found) < size and (chunk := self.read(size - len(found))):
            found += chunk
        return bytes(found)

    def read_block(self, size: int, first: bytes = b"") -> bytearray:
        """Return exactly `size` bytes, of which some may have been read already.

        Raises
        ------
        CorruptImageError
            There are fewer, or the file is damaged.
        """
        if size > self.most_bytes:
            raise CorruptImageError(FEWER)
        block = bytearray(first)
        while len(block) < size:
            chunk = self.read(min(size - len(block), 16 * _CHUNK_BYTES))
            if not chunk:
                raise CorruptImageError(FEWER)
            block += chunk
        return block

    def read_tail(self) -> bytes:
        """Return what is left, which must not be much.

        Raises
        ------
        ImageTooLargeError
            It is.
        CorruptImageError
            The file is damaged.
        """
        tail = bytearray()
        while chunk := self.read(_CHUNK_BYTES):
            tail += chunk
            if len(tail) > limits.HEADER_BYTES:
                raise ImageTooLargeError("far more data than the header accounts for")
        return bytes(tail)


@dataclass(frozen=True, slots=True)
class Packing:
    """How bytes were compressed, as far as it is done again.

    Attributes
    ----------
    codec : str
        As `Source` takes it.
    header : bytes
        Of a gzip file, its header without extra field; of zlib and bzip2, the first bytes.
    """

    codec: str
    header: bytes = b""

    def pack(self, pieces: Iterable[bytes | bytearray]) -> bytes:
        """Compress pieces as one, under the given header; the same pieces give the same bytes."""
        if self.codec == "none":
            return b"".join(pieces)
        if self.codec == "bzip2":
            packer = bz2.BZ2Compressor(self.header[3] - ord("0"))
            return b"".join([packer.compress(piece) for piece in pieces] + [packer.flush()])
        if self.codec == "zlib":
            deflater = zlib.compressobj(1 if self.header[1] >> 6 == 0 else 6)
            return b"".join([deflater.compress(piece) for piece in pieces] + [deflater.flush()])
        return self._gzip(pieces)

    def _gzip(self, pieces: Iterable[bytes | bytearray]) -> bytes:
        # Not at level 9 where the header says so: on noise it takes 30 times as long to save
        # nothing.
        deflater = zlib.compressobj(1 if self.header[8] == _FASTEST else 6, zlib.DEFLATED, -15, 9)
        packed, checksum, size = [self.header], 0, 0
        for piece in pieces:
            packed.append(deflater.compress(piece))
            checksum, size = zlib.crc32(piece, checksum), size + len(piece)
        packed.append(deflater.flush())
        sizes = checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
        return b"".join([*packed, sizes])


def packing_of(data: bytes | memoryview, codec: str) -> Packing:
    """Return how data was compressed.

    Raises
    ------
    CorruptImageError
        Its header is cut short.
    """
    if codec == "gzip":
        return Packing(codec, _read_gzip_header(bytes(data[: limits.HEADER_BYTES])))
    if len(data) < 4 and codec != "none":
        raise CorruptImageError(f"the {codec} data is cut short or damaged")
    return Packing(codec, bytes(data[:4]))


def _read_gzip_header(data: bytes) -> bytes:
    """Return the header of a gzip file, without its extra field.

    An extra field states sizes of compressed blocks (BGZF), which no longer hold.
    """
    if len(data) < 18:
        raise CorruptImageError("the gzip header is cut short")
    flags, at = data[3], 10
    if flags & _FEXTRA:
        at += 2 + int.from_bytes(data[10:12], "little")
    start = at
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            at = data.find(b"\0", at) + 1
            if at == 0:
                raise CorruptImageError("the gzip header is cut short")
    names = data[start:at]
    kept = flags & (_FNAME | _FCOMMENT)
    return data[:3] + bytes([kept]) + data[4:10] + names


def read_text_header(stream: BinaryIO) -> bytes:
    """Return the beginning of a file, as much as a header of text may take, and one byte more."""
    stream.seek(0)
    return stream.read(limits.TEXT_HEADER_BYTES + 1)


def check_header_end(head: bytes, size: int) -> None:
    """Refuse a header file that goes on behind its header: it may hold a copy of the image.

    Raises
    ------
    UnsupportedImageError
        It does.
    """
    if len(head) > limits.TEXT_HEADER_BYTES or head[size:].strip(b"\0\r\n\t "):
        raise UnsupportedImageError(
            "the header file goes on behind the header, with data of no known kind; cut it off"
        )


def check_file_name(name: str) -> str:
    """Return the name of a file of voxels as a header states it, if that is all it states.

    Raises
    ------
    UnsupportedImageError
        The header names many files, or one in another folder.
    """
    if name.split()[:1] in (["LIST"], []) or "%" in name:
        raise UnsupportedImageError("voxels in many files; write the image again in one")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise UnsupportedImageError(
            "the header's voxels lie in another folder; put them beside it and name them so"
        )
    return name
