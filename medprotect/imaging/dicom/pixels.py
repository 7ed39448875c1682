"""Pixel data in and out of a file: native or encapsulated (PS3.5 section 8 and annex A.4).

Frames are read and written one at a time, so that a file of many takes no more memory than one of
few.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from medprotect.errors import CorruptImageError, MedprotectError
from medprotect.imaging.dicom.codecs import (
    CODECS,
    decode_frame,
    encode_frame,
    photometric_written,
)
from medprotect.imaging.dicom.elements import ITEM, Chunks, DataSet
from medprotect.imaging.dicom.layout import (
    Container,
    PixelLayout,
    expand_chroma,
    fill_container,
    halve_chroma,
    stored_values,
)
from medprotect.imaging.dicom.outline import PixelValue
from medprotect.imaging.image import Stored

_OFFSETS_LIMIT = 2**32 - 1
"""Largest offset that a Basic Offset Table can hold."""


@dataclass(slots=True)
class Spool:
    """Frames as they will lie in the new file, kept until its header is known.

    Attributes
    ----------
    file : binary file
        Empty at first, for reading and writing.
    lengths : list of int
        Bytes of each frame.
    """

    file: BinaryIO
    lengths: list[int] = field(default_factory=list)

    def add(self, frame: bytes) -> None:
        """Append a frame."""
        self.file.write(frame)
        self.lengths.append(len(frame))

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(0)
        for length in self.lengths:
            yield self.file.read(length)


@dataclass(frozen=True, slots=True)
class WrittenPixels:
    """New pixel data.

    Attributes
    ----------
    element : Chunks
        The whole Pixel Data element.
    extended_offsets : tuple of bytes, or None
        Values of Extended Offset Table and Extended Offset Table Lengths, where they are needed.
    """

    element: Chunks
    extended_offsets: tuple[bytes, bytes] | None = None


class NativePixels:
    """Pixels as they lie in the file, one cell after the other.

    Parameters
    ----------
    value : PixelValue
        The value of Pixel Data.
    layout : PixelLayout
        The layout of the frames.

    Raises
    ------
    CorruptImageError
        The value holds fewer bytes than the layout asks for, or is encapsulated.
    """

    lossy = False

    def __init__(self, value: PixelValue, layout: PixelLayout) -> None:
        if value.undefined:
            raise CorruptImageError("encapsulated pixel data in a native transfer syntax")
        if value.size < layout.pixel_bytes:
            raise CorruptImageError("the file holds fewer pixels than its header says")
        self._value = value
        self._layout = layout
        order = value.encoding.order
        self._dtype = np.dtype(f"{order}u{layout.bits_allocated // 8}")
        # In 16-bit words of big endian order, 8-bit cells lie swapped in pairs (PS3.5 section 8.1).
        self._swaps = order == ">" and layout.bits_allocated == 8 and value.vr == "OW"
        if self._swaps and value.size % 2:
            raise CorruptImageError("the pixel data ends within a word")

    def stored(self, index: int) -> Stored:
        """Return the stored values of a frame."""
        return stored_values(self._cells(index), self._layout)

    def _cells(self, index: int) -> Container:
        layout = self._layout
        cells = np.frombuffer(self._raw(index), self._dtype)
        if layout.halved_chroma:
            cells = expand_chroma(cells, layout)
        elif layout.planar and layout.samples == 3:
            cells = cells.reshape(3, layout.rows, layout.columns).transpose(1, 2, 0)
        native = self._dtype.newbyteorder("=")
        return np.ascontiguousarray(cells.reshape(layout.shape), dtype=native)

    def _raw(self, index: int) -> bytes:
        size = self._layout.frame_bytes
        start, odd = index * size, 0
        if self._swaps:
            start, odd = start - start % 2, start % 2
        raw = self._value.at(start, size + odd + (size + odd) % 2 * self._swaps)
        return _swap(raw)[odd : odd + size] if self._swaps else raw

    def encode(self, index: int, stored: Stored) -> bytes:
        """Return a frame with other stored values, as it is to lie in the file."""
        layout = self._layout
        cells = fill_container(self._cells(index), stored, layout)
        if layout.halved_chroma:
            cells = halve_chroma(cells)
        elif layout.planar and layout.samples == 3:
            cells = cells.transpose(2, 0, 1)
        return cells.astype(self._dtype).tobytes()

    def write(self, spool: Spool) -> WrittenPixels:
        """Return Pixel Data with all frames anew; padding behind them is kept."""
        value = self._value
        return WrittenPixels(Chunks(len(value.header) + value.size, lambda: self._chunks(spool)))

    def _chunks(self, spool: Spool) -> Iterator[bytes]:
        yield self._value.header
        rest = self._value.blocks(self._layout.pixel_bytes)
        if not self._swaps:
            yield from spool
            yield from rest
            return
        begun = b""
        for frame in spool:
            words = begun + frame
            begun = words[len(words) - len(words) % 2 :]
            yield _swap(words[: len(words) - len(begun)])
        if begun:
            # The byte beside it in its word was padding, which is kept.
            last = self._value.at(self._layout.pixel_bytes - 1, 2)
            yield last[:1] + begun
            rest = self._value.blocks(self._layout.pixel_bytes + 1)
        yield from rest


def _swap(words: bytes) -> bytes:
    return np.frombuffer(words, "u1").reshape(-1, 2)[:, ::-1].tobytes()


class EncapsulatedPixels:
    """Pixels in compressed frames, read in their order.

    Parameters
    ----------
    data_set : DataSet
        The header.
    value : PixelValue
        The value of its Pixel Data.
    layout : PixelLayout
        The layout of the decoded frames.
    syntax : str
        UID of the transfer syntax.

    Raises
    ------
    CorruptImageError
        The value is not encapsulated.
    """

    def __init__(
        self, data_set: DataSet, value: PixelValue, layout: PixelLayout, syntax: str
    ) -> None:
        if not value.undefined:
            raise CorruptImageError("native pixel data in an encapsulated transfer syntax")
        self._value = value
        self._layout = layout
        self._syntax = syntax
        self._extended = _extended_offsets(data_set)
        self._at, self._codestream = -1, b""
        self._left: Iterator[bytes] = iter(())
        self._precisions: dict[int, int] = {}
        self._lossy: set[int] = set()
        self._last: tuple[int, Container] | None = None

    def _read(self, index: int) -> bytes:
        """Return the codestream of a frame, from however many fragments."""
        if index < self._at or self._at < 0:
            self._at, self._left = -1, self._frames()
        while self._at < index:
            self._codestream = self._next()
            self._at += 1
            if not self._codestream or (self._is_last and self._next()):
                raise CorruptImageError(
                    "the file holds another number of frames than its header says"
                )
        return self._codestream

    @property
    def _is_last(self) -> bool:
        return self._at == self._layout.frames - 1

    def _frames(self) -> Iterator[bytes]:
        from pydicom.encaps import generate_frames

        self._value.seek(0)
        return generate_frames(
            self._value, number_of_frames=self._layout.frames, extended_offsets=self._extended
        )

    def _next(self) -> bytes:
        try:
            return next(self._left, b"")
        except (MedprotectError, MemoryError):
            raise
        except Exception as error:  # whatever it raises on damaged offsets or fragments
            raise CorruptImageError("the compressed frames cannot be told apart") from error

    @property
    def lossy(self) -> bool:
        """Whether a frame decoded so far was compressed with loss."""
        return bool(self._lossy)

    def _cells(self, index: int) -> Container:
        decoded = decode_frame(self._syntax, self._read(index), self._layout)
        self._precisions[index] = decoded.precision
        if decoded.lossy:
            self._lossy.add(index)
        if self._has_unused_bits(decoded.precision):
            decoded.cells.flags.writeable = False
            self._last = index, decoded.cells  # which are wanted again where the frame is written
        return decoded.cells

    def _has_unused_bits(self, precision: int) -> bool:
        """Whether a codestream holds bits besides the stored values, which stay as they are."""
        return precision > self._layout.bits_stored or self._layout.shift > 0

    def stored(self, index: int) -> Stored:
        """Return the stored values of a frame."""
        return stored_values(self._cells(index), self._layout)

    def encode(self, index: int, stored: Stored) -> bytes:
        """Return a frame with other stored values, compressed without loss."""
        layout = replace(
            self._layout, photometric=photometric_written(self._syntax, self._layout.photometric)
        )
        cells, precision = self._fill(index, stored)
        return encode_frame(CODECS[self._syntax].target, cells, layout, precision)

    def _fill(self, index: int, stored: Stored) -> tuple[Container, int]:
        layout = self._layout
        precision = self._precisions.get(index)
        if precision is None or self._has_unused_bits(precision):
            known = self._last if self._last and self._last[0] == index else None
            before = known[1] if known else self._cells(index)
            cells = fill_container(before, stored, layout)
            return cells, max(self._precisions[index], layout.bits_stored)
        width = layout.bits_allocated // 8
        cells = stored.astype(f"{'i' if layout.signed else 'u'}{width}").view(f"u{width}")
        return cells, layout.bits_stored

    def write(self, spool: Spool) -> WrittenPixels:
        """Return Pixel Data with all frames anew, a fragment each, and the table that it had."""
        value = self._value
        lengths = [length + length % 2 for length in spool.lengths]
        offsets = [0]
        for length in lengths:
            offsets.append(offsets[-1] + 8 + length)
        size = offsets.pop()
        is_extended = self._extended is not None or size > _OFFSETS_LIMIT
        (table_length,) = struct.unpack("<I", value.at(4, 4))
        table = b""
        if table_length and not is_extended:
            table = struct.pack(f"<{len(offsets)}I", *offsets)
        chunks = Chunks(
            len(value.header) + 8 + len(table) + size + len(value.delimiter),
            lambda: _encapsulate(value, table, spool),
        )
        if not is_extended:
            return WrittenPixels(chunks)
        packed = (struct.pack(f"<{len(each)}Q", *each) for each in (offsets, lengths))
        return WrittenPixels(chunks, (next(packed), next(packed)))


def _extended_offsets(data_set: DataSet) -> tuple[bytes, bytes] | None:
    offsets = data_set.get("ExtendedOffsetTable")
    lengths = data_set.get("ExtendedOffsetTableLengths")
    if offsets is None or lengths is None:
        return None
    return data_set.value(offsets), data_set.value(lengths)


def _encapsulate(value: PixelValue, table: bytes, frames: Iterable[bytes]) -> Iterator[bytes]:
    yield value.header
    yield _item(table)
    for frame in frames:
        yield _item(frame)
    yield value.delimiter


def _item(content: bytes) -> bytes:
    content += b"\0" * (len(content) % 2)
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content


Pixels = NativePixels | EncapsulatedPixels


def open_pixels(data_set: DataSet, value: PixelValue, layout: PixelLayout, syntax: str) -> Pixels:
    """Open the pixel data of a data set, in the way its transfer syntax says."""
    if syntax in CODECS:
        return EncapsulatedPixels(data_set, value, layout, syntax)
    return NativePixels(value, layout)
