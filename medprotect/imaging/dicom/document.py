"""A DICOM file as it lies on disk: preamble, file meta information, data set (PS3.10 section 7)."""

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    HeaderFaultError,
    ImageTooLargeError,
    NotAnImageError,
)
from medprotect.imaging.dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    DataSet,
    Encoding,
    Part,
    encode_parts,
    join_parts,
)
from medprotect.imaging.dicom.parse import TruncatedError, read_elements
from medprotect.imaging.dicom.values import text

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_PREFIX_AT = 128
_FIRST_READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """The parts of a file.

    Attributes
    ----------
    preamble : bytes
        The 128 bytes and ``DICM`` before the meta information, or nothing.
    meta : DataSet
        File meta information, group 0002; empty where there is none.
    data_set : DataSet
        The data set, inflated where the file holds it deflated.
    transfer_syntax : str
        UID of the transfer syntax, guessed from the encoding where there is no meta information.
    """

    preamble: bytes
    meta: DataSet
    data_set: DataSet
    transfer_syntax: str

    @property
    def is_deflated(self) -> bool:
        """Whether the data set lies deflated in the file."""
        return self.transfer_syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN

    def write(self) -> bytes:
        """Return the file as bytes, with the elements that were replaced."""
        return join_parts(self.parts())

    def parts(self) -> list[Part]:
        """Return the file in parts that need not lie in memory all at once, unless deflated."""
        meta = encode_parts(self.meta.data, self.meta.elements)
        body = encode_parts(self.data_set.data, self.data_set.elements)
        body.append(memoryview(self.data_set.data)[self.data_set.end :])
        if self.is_deflated:
            body = [deflate(join_parts(body))]
        # What a preamble points at (a TIFF directory) is no longer there, and a program hides
        # there well (CVE-2019-11687).
        preamble = bytes(_PREFIX_AT) + self.preamble[_PREFIX_AT:] if self.preamble else b""
        return [preamble, *meta, *body]


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes (at least 132) may be DICOM.

    Files of old writers lack preamble and prefix; they are known by a first element that a data
    set may begin with: group 0002 or 0008 with a VR, or with a small length.
    """
    if head[_PREFIX_AT : _PREFIX_AT + 4] == b"DICM":
        return True
    return len(head) >= 16 and _guess_encoding(head, 0) is not None


def is_deflated(data: bytes) -> bool:
    """Whether the data set of a file lies deflated in it.

    Raises
    ------
    NotAnImageError, CorruptImageError
        It is no DICOM file, or a damaged one.
    """
    return _read_meta(data)[2] == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN


def read_document(data: bytes, inflated_bytes: int) -> Document:
    """Read a whole file.

    Parameters
    ----------
    data : bytes
        The file.
    inflated_bytes : int
        Most bytes to inflate a deflated data set to.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        It is no DICOM file, a damaged one, or inflates to more than `medprotect.limits` allows.
    """
    preamble, meta, syntax, encoding = _read_meta(data)
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        body = inflate(data[meta.end :], inflated_bytes)
        return Document(preamble, meta, read_elements(body, 0, encoding), syntax)
    return Document(preamble, meta, read_elements(data, meta.end, encoding), syntax)


def read_header(stream: BinaryIO) -> Document:
    """Read a file up to its pixels, and no more bytes of it than that takes.

    Parameters
    ----------
    stream : binary file
        Seekable; read from its beginning.

    Returns
    -------
    Document
        Its data set ends where the pixels begin; `Document.data_set.data` may end soon after.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        As `read_document`.
    """
    size = _FIRST_READ
    while True:
        stream.seek(0)
        head = stream.read(size)
        try:
            return _read_header(head)
        except TruncatedError:
            if len(head) < size:
                raise
        if size > limits.HEADER_BYTES:
            raise ImageTooLargeError(
                "the DICOM header is larger than medprotect reads; split the file"
            )
        size *= 8


def _read_header(head: bytes) -> Document:
    preamble, meta, syntax, encoding = _read_meta(head)
    if syntax != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data_set = read_elements(head, meta.end, encoding, stop_at_pixels=True)
        return Document(preamble, meta, data_set, syntax)
    body = inflate(head[meta.end :], limits.HEADER_BYTES, partial=True)
    try:
        data_set = read_elements(body, 0, encoding, stop_at_pixels=True)
    except TruncatedError:
        if len(body) >= limits.HEADER_BYTES:
            raise ImageTooLargeError(
                "the deflated DICOM header is larger than medprotect inflates"
            ) from None
        raise
    return Document(preamble, meta, data_set, syntax)


def _read_meta(data: bytes) -> tuple[bytes, DataSet, str, Encoding]:
    """Read preamble and meta information; return also transfer syntax and its encoding."""
    start = _PREFIX_AT + 4 if _has_prefix(data) else 0
    guessed = _guess_encoding(data, start)
    if start == 0 and guessed is None:
        raise NotAnImageError("no DICOM prefix, and no DICOM data set either")
    meta = _read_group_2(data, start)
    element = meta.get("TransferSyntaxUID")
    if element is not None:
        syntax = text(meta, element)
        declared = _encoding_of(syntax)
        found = _guess_encoding(data, meta.end)
        # Some writers declare one encoding and write another; both are readable, so read it.
        is_deflated = syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        return data[:start], meta, syntax, declared if is_deflated else found or declared
    # Without that the data set shows how it is written, and whether its pixels are compressed.
    guessed = _guess_encoding(data, meta.end)
    if guessed is None:
        raise HeaderFaultError("the header has no valid TransferSyntaxUID")
    return data[:start], meta, _syntax_of(guessed), guessed


def _has_prefix(data: bytes) -> bool:
    """Whether ``DICM`` at its place is the prefix, and not part of a value of an old file."""
    if data[_PREFIX_AT : _PREFIX_AT + 4] != b"DICM":
        return False
    return _guess_encoding(data, _PREFIX_AT + 4) is not None or _guess_encoding(data, 0) is None


def _read_group_2(data: bytes, start: int) -> DataSet:
    """Read the file meta information, always explicit little endian (PS3.10 section 7.1)."""
    end = start
    while data[end : end + 2] == b"\x02\x00":
        length_at = end + 8 if data[end + 4 : end + 6] in (b"OB", b"UN", b"SQ", b"UT") else end + 6
        layout = "<I" if length_at == end + 8 else "<H"
        if length_at + struct.calcsize(layout) > len(data):
            raise TruncatedError("the file ends inside its DICOM meta information")
        end = length_at + struct.calcsize(layout) + struct.unpack_from(layout, data, length_at)[0]
    if end > len(data):
        raise TruncatedError("the file ends inside its DICOM meta information")
    meta = read_elements(data[:end], start, EXPLICIT_LITTLE)
    return DataSet(data, meta.elements, EXPLICIT_LITTLE, end)


def _guess_encoding(data: bytes, start: int) -> Encoding | None:
    """Return the encoding that the first element at `start` shows, or None where it is none."""
    head = data[start : start + 8]
    if len(head) < 8:
        return None
    vr_is_written = head[4:6].isalpha() and head[4:6].isupper()
    group, number = struct.unpack("<HH", head[:4])
    if vr_is_written and group in _FIRST_GROUPS:
        return EXPLICIT_LITTLE
    if vr_is_written and struct.unpack(">H", head[:2])[0] in _FIRST_GROUPS:
        return EXPLICIT_BIG
    length = struct.unpack("<I", head[4:])[0]
    if group in _FIRST_GROUPS and number < 0x1000 and length < 64 * 1024:
        return IMPLICIT_LITTLE
    return None


_FIRST_GROUPS = frozenset({0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028})


def _encoding_of(syntax: str) -> Encoding:
    if syntax == IMPLICIT_VR_LITTLE_ENDIAN:
        return IMPLICIT_LITTLE
    if syntax == EXPLICIT_VR_BIG_ENDIAN:
        return EXPLICIT_BIG
    return EXPLICIT_LITTLE


def _syntax_of(encoding: Encoding) -> str:
    if encoding == IMPLICIT_LITTLE:
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN if encoding == EXPLICIT_BIG else EXPLICIT_VR_LITTLE_ENDIAN


def inflate(deflated: bytes, most: int, *, partial: bool = False) -> bytes:
    """Inflate a deflated data set (PS3.5 section A.5), and no more than `most` bytes of it.

    Parameters
    ----------
    deflated : bytes
        Raw deflate stream, or one with a zlib header as some writers leave.
    most : int
        Bound in bytes, kept before memory is taken.
    partial : bool
        Return what came where the stream is longer than `most` or ends early.

    Raises
    ------
    CorruptImageError
        The stream is damaged or ends early.
    ImageTooLargeError
        It inflates to more than `most` bytes.
    """
    window = 15 if deflated[:1] == b"\x78" and _is_zlib(deflated) else -15
    inflater = zlib.decompressobj(window)
    try:
        data = inflater.decompress(deflated, most)
    except zlib.error:
        raise CorruptImageError("the deflated DICOM data set is damaged") from None
    if partial:
        return data
    if not inflater.eof and len(data) >= most:
        raise ImageTooLargeError("the deflated DICOM data set inflates to more than it declares")
    if not inflater.eof:
        raise CorruptImageError("the deflated DICOM data set ends early")
    return data


def _is_zlib(deflated: bytes) -> bool:
    return len(deflated) > 1 and int.from_bytes(deflated[:2], "big") % 31 == 0


def deflate(data: bytes) -> bytes:
    """Deflate a data set, padded to even length (PS3.5 section A.5)."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = deflater.compress(data) + deflater.flush()
    return deflated + b"\0" * (len(deflated) % 2)
