"""Gzip around a NIfTI file: bounded inflation, and the same header again."""

import gzip
import io
import zlib
from typing import BinaryIO

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError
from medprotect.imaging.nifti.header import HEADER_BYTES, Header, parse_header

_MAGIC = b"\x1f\x8b"
_FASTEST = 4  # XFL, RFC 1952 section 2.3.1
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16
_CHUNK_BYTES = 1024 * 1024
_MAX_RATIO = 1032
"""Deflate cannot expand more than this."""


def is_gzip(head: bytes) -> bool:
    """Whether a file that begins with these bytes is gzipped."""
    return head.startswith(_MAGIC)


class Source:
    """The bytes inside a file, gzipped or not, read from their beginning.

    Parameters
    ----------
    stream : binary file
        Seekable.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        self.gzipped = is_gzip(stream.read(2))
        stream.seek(0)
        self._file: BinaryIO | gzip.GzipFile
        self._file = gzip.GzipFile(fileobj=stream) if self.gzipped else stream
        self._checked = False

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end.

        Raises
        ------
        CorruptImageError
            The file is cut short or damaged.
        """
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptImageError("the gzip file is cut short or damaged") from error

    def read_header(self) -> tuple[bytes, Header]:
        """Read up to the voxels; return these bytes and what they say.

        Raises
        ------
        NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
            The file is rejected, before its voxels are read.
        """
        head = self.read(HEADER_BYTES)
        header = parse_header(head)
        most = self._size * _MAX_RATIO if self.gzipped else self._size
        if header.offset + header.data_bytes > most:
            raise CorruptImageError("the file holds fewer voxels than its header says")
        # A NIfTI-1 header is shorter than HEADER_BYTES: voxels may have been read with it.
        if len(head) < header.offset:
            head += self.read(header.offset - len(head))
        if len(head) < header.offset:
            raise CorruptImageError("the file ends before its voxels")
        return head, header

    def read_all(self) -> tuple[bytearray, Header, bool]:
        """Return header and voxels, what the header says, and whether anything else follows.

        What follows may be padding (zeros, not counted as anything), which is returned too.

        Raises
        ------
        NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
            The file is rejected.
        """
        head, header = self.read_header()
        needed = header.offset + header.data_bytes
        data = bytearray(head)
        while len(data) < needed:
            chunk = self.read(min(needed - len(data), 16 * _CHUNK_BYTES))
            if not chunk:
                raise CorruptImageError("the file holds fewer voxels than its header says")
            data += chunk
        tail = bytes(data[needed:]) + self._read_tail()
        del data[needed:]
        if tail.strip(b"\0"):
            return data, header, True
        return data + tail, header, False

    def _read_tail(self) -> bytes:
        tail = bytearray()
        while chunk := self.read(_CHUNK_BYTES):
            tail += chunk
            if len(tail) > limits.HEADER_BYTES:
                raise ImageTooLargeError("far more data than the NIfTI header accounts for")
        return bytes(tail)


def read_gzip_header(data: bytes) -> bytes:
    """Return the header of a gzip file, without its extra field.

    An extra field states sizes of compressed blocks (BGZF), which no longer hold.

    Raises
    ------
    CorruptImageError
        It is cut short.
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


def compress(data: bytes | bytearray, header: bytes) -> bytes:
    """Gzip data under a given header: fast where it says so, else at the usual level."""
    # Not at level 9 where the header says so: on noise it takes 30 times as long to save nothing.
    level = 1 if header[8] == _FASTEST else 6
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15, 9)
    body = deflate.compress(data) + deflate.flush()
    checksum = zlib.crc32(data).to_bytes(4, "little")
    return header + body + checksum + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
