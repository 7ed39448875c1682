"""A file apart from the value of its Pixel Data: little to hold, however many frames there are."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO
from typing import BinaryIO

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputChangedError,
    NotAnImageError,
)
from medprotect.imaging.dicom.document import Document, inflate, read_document, read_header
from medprotect.imaging.dicom.elements import (
    ITEM,
    NO_PIXELS,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    Encoding,
    find,
)
from medprotect.imaging.dicom.header import read_layout
from medprotect.imaging.dicom.parse import TruncatedError, read_element_header, read_elements

_BLOCK_BYTES = 4 * 1024**2


class PixelValue:
    """The value of Pixel Data where it lies: a file of its own, for reading.

    Parameters
    ----------
    stream : binary file
        What it lies in; seekable.
    start, size : int
        Its place in bytes; of an encapsulated value without the delimiter.
    encoding : Encoding
        Of the element.
    vr : str
        Of the element.
    undefined : bool
        Whether its length is undefined: the value is encapsulated.
    header, delimiter : bytes
        What stands before and behind it, as they are.
    """

    def __init__(
        self,
        stream: BinaryIO,
        start: int,
        size: int,
        *,
        encoding: Encoding,
        vr: str,
        undefined: bool,
        header: bytes,
        delimiter: bytes,
    ) -> None:
        self._stream, self._start, self.size = stream, start, size
        self.encoding, self.vr, self.undefined = encoding, vr, undefined
        self.header, self.delimiter = header, delimiter
        self._position = 0

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Set where the next read begins."""
        base = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer at the end.

        Raises
        ------
        InputChangedError
            They are no longer there.
        """
        left = max(self.size - self._position, 0)
        size = left if size < 0 else min(size, left)
        self._stream.seek(self._start + self._position)
        data = self._stream.read(size)
        if len(data) != size:
            raise InputChangedError(
                "changed while it was read; wait until nothing writes to the export, then run again"
            )
        self._position += size
        return data

    def at(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset on."""
        self.seek(offset)
        return self.read(size)

    def blocks(self, offset: int) -> Iterator[bytes]:
        """Yield all bytes from an offset on, in blocks."""
        while offset < self.size:
            block = self.at(offset, _BLOCK_BYTES)
            offset += len(block)
            yield block


@dataclass(frozen=True, slots=True)
class Outline:
    """A file apart from the value of its Pixel Data.

    Attributes
    ----------
    data : bytes
        The file with no value in Pixel Data; of a deflated file its data set alone, inflated.
    value : PixelValue
        That value.
    header : Document
        The file up to its pixels.
    """

    data: bytes
    value: PixelValue
    header: Document

    def read(self) -> Document:
        """Return the elements, to be changed and written; Pixel Data has no value.

        Raises
        ------
        CorruptImageError, ImageTooLargeError
            What stands behind the pixels is no part of a data set, or too much.
        """
        header = self.header
        if header.is_deflated:
            data_set = read_elements(self.data, 0, header.data_set.encoding)
            document = Document(header.preamble, header.meta, data_set, header.transfer_syntax)
        else:
            document = read_document(self.data, 0)
        # A group length counts the value, too.
        pixel_element(document).end += self.value.size
        return document


def pixel_element(document: Document) -> Element:
    """Return the element that holds the pixels.

    Raises
    ------
    NotAnImageError
        There is none.
    """
    element = find(document.data_set.elements, PIXEL_DATA)
    if element is None:
        raise NotAnImageError(NO_PIXELS)
    return element


def read_outline(stream: BinaryIO) -> Outline:
    """Read a file apart from its pixels; they stay in the stream, those of a deflated file do not.

    Parameters
    ----------
    stream : binary file
        Seekable.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        It is no DICOM file, a damaged one, one without pixels, or over a limit.
    """
    header = read_header(stream)
    if header.is_deflated:
        stream.seek(header.meta.end)
        most = header.data_set.end + read_layout(header).pixel_bytes + limits.HEADER_BYTES
        stream = BytesIO(inflate(stream.read(), most))
    start, encoding = header.data_set.end, header.data_set.encoding
    stream.seek(start)
    first = stream.read(12)
    if not first:
        raise NotAnImageError(NO_PIXELS)
    tag, vr, length, head = read_element_header(first, encoding)
    if tag != PIXEL_DATA:
        raise NotAnImageError(NO_PIXELS)
    value, end = start + len(head), stream.seek(0, SEEK_END)
    undefined = length == UNDEFINED
    value_end = _end_of_fragments(stream, value, encoding) if undefined else value + length
    if value_end > end:
        raise TruncatedError("the file ends inside a DICOM element")
    if end - value_end > limits.HEADER_BYTES:
        raise ImageTooLargeError("more lies behind the pixels than medprotect reads")
    stream.seek(value_end)
    tail = stream.read()
    is_short = not encoding.implicit and len(head) == 8
    empty = head if undefined else head[: -2 if is_short else -4] + bytes(2 if is_short else 4)
    stream.seek(0)
    return Outline(
        stream.read(start) + empty + tail,
        PixelValue(
            stream,
            value,
            value_end - value,
            encoding=encoding,
            vr=vr,
            undefined=undefined,
            header=head,
            delimiter=tail[:8] if undefined else b"",
        ),
        header,
    )


def _end_of_fragments(stream: BinaryIO, position: int, encoding: Encoding) -> int:
    """Find the end of encapsulated pixel data (PS3.5 section A.4)."""
    for _ in range(limits.HEADER_ELEMENTS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            raise TruncatedError("the file ends inside a DICOM element")
        group, number, length = struct.unpack(encoding.order + "HHI", head)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM or length == UNDEFINED:
            raise CorruptImageError("the encapsulated pixel data is no sequence of fragments")
        position += 8 + length
    raise ImageTooLargeError("the pixel data has too many fragments; split the file")
