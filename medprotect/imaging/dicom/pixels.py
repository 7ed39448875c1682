"""Pixel data in and out of a file: native or encapsulated (PS3.5 section 8 and annex A.4)."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames

from medprotect.errors import CorruptImageError
from medprotect.imaging.dicom.codecs import (
    CODECS,
    decode_frame,
    encode_frame,
    photometric_written,
)
from medprotect.imaging.dicom.elements import Chunks, DataSet, Element
from medprotect.imaging.dicom.layout import (
    Container,
    PixelLayout,
    expand_chroma,
    fill_container,
    halve_chroma,
    stored_values,
)
from medprotect.imaging.image import Stored

_OFFSETS_LIMIT = 2**32 - 1
"""Largest offset that a Basic Offset Table can hold."""


@dataclass(frozen=True, slots=True)
class WrittenPixels:
    """New pixel data.

    Attributes
    ----------
    element : bytes or Chunks
        The whole Pixel Data element.
    extended_offsets : tuple of bytes, or None
        Values of Extended Offset Table and Extended Offset Table Lengths, where they are needed.
    """

    element: bytes | Chunks
    extended_offsets: tuple[bytes, bytes] | None = None


class NativePixels:
    """Pixels as they lie in the file, one cell after the other.

    Parameters
    ----------
    data_set : DataSet
        The data set of the file.
    element : Element
        Its Pixel Data.
    layout : PixelLayout
        The layout of the frames.

    Raises
    ------
    CorruptImageError
        The element holds fewer bytes than the layout asks for, or is encapsulated.
    """

    lossy = False

    def __init__(self, data_set: DataSet, element: Element, layout: PixelLayout) -> None:
        if element.undefined:
            raise CorruptImageError("encapsulated pixel data in a native transfer syntax")
        if element.value_end - element.value < layout.pixel_bytes:
            raise CorruptImageError("the file holds fewer pixels than its header says")
        self._data_set = data_set
        self._element = element
        self._layout = layout
        order = element.encoding.order
        self._dtype = np.dtype(f"{order}u{layout.bits_allocated // 8}")
        # In 16-bit words of big endian order, 8-bit cells lie swapped in pairs (PS3.5 section 8.1).
        self._swaps = order == ">" and layout.bits_allocated == 8 and element.vr == "OW"

    def _value(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        element = self._element
        size = element.value_end - element.value
        value = np.frombuffer(self._data_set.data, "u1", size, element.value)
        return value.reshape(-1, 2)[:, ::-1].reshape(-1) if self._swaps else value

    def stored(self, index: int) -> Stored:
        """Return the stored values of a frame."""
        return stored_values(self._cells(self._value(), index), self._layout)

    def _cells(self, value: np.ndarray[tuple[int], np.dtype[np.uint8]], index: int) -> Container:
        layout = self._layout
        start = index * layout.frame_bytes
        cells = value[start : start + layout.frame_bytes].view(self._dtype)
        if layout.halved_chroma:
            cells = expand_chroma(cells, layout)
        elif layout.planar and layout.samples == 3:
            cells = cells.reshape(3, layout.rows, layout.columns).transpose(1, 2, 0)
        native = self._dtype.newbyteorder("=")
        return np.ascontiguousarray(cells.reshape(layout.shape), dtype=native)

    def write(self, changed: Sequence[Stored]) -> WrittenPixels:
        """Return Pixel Data with other stored values; padding behind the frames is kept.

        It is made, frame by frame, while it is written.
        """
        element = self._element
        return WrittenPixels(Chunks(element.end - element.start, lambda: self._chunks(changed)))

    def _chunks(self, changed: Sequence[Stored]) -> Iterator[bytes | memoryview]:
        element, value = self._element, self._value()
        yield memoryview(self._data_set.data)[element.start : element.value]
        frames = (self._raw(value, index, stored) for index, stored in enumerate(changed))
        rest = value[self._layout.pixel_bytes :].tobytes()
        if self._swaps:
            swapped = np.frombuffer(b"".join([*frames, rest]), "u1")
            yield swapped.reshape(-1, 2)[:, ::-1].tobytes()
            return
        yield from frames
        yield rest

    def _raw(
        self, value: np.ndarray[tuple[int], np.dtype[np.uint8]], index: int, stored: Stored
    ) -> bytes:
        """Return the bytes of a frame with other stored values."""
        layout = self._layout
        cells = fill_container(self._cells(value, index), stored, layout)
        if layout.halved_chroma:
            cells = halve_chroma(cells)
        elif layout.planar and layout.samples == 3:
            cells = cells.transpose(2, 0, 1)
        return cells.astype(self._dtype).tobytes()


class EncapsulatedPixels:
    """Pixels in compressed frames.

    Parameters
    ----------
    data_set : DataSet
        The data set of the file.
    element : Element
        Its Pixel Data.
    layout : PixelLayout
        The layout of the decoded frames.
    syntax : str
        UID of the transfer syntax.

    Raises
    ------
    CorruptImageError
        The element is not encapsulated, or holds another number of frames than the layout.
    """

    def __init__(
        self, data_set: DataSet, element: Element, layout: PixelLayout, syntax: str
    ) -> None:
        if not element.undefined:
            raise CorruptImageError("native pixel data in an encapsulated transfer syntax")
        self._data_set = data_set
        self._element = element
        self._layout = layout
        self._syntax = syntax
        self._codestreams = self._split()
        self._precisions: dict[int, int] = {}
        self._lossy: set[int] = set()

    def _split(self) -> list[bytes]:
        """Return one codestream a frame, from however many fragments."""
        value, frames = self._data_set.value(self._element), self._layout.frames
        try:
            found = list(
                generate_frames(
                    value, number_of_frames=frames, extended_offsets=self._extended_offsets()
                )
            )
        except MemoryError:
            raise
        except Exception as error:  # whatever it raises on damaged offsets or fragments
            raise CorruptImageError("the compressed frames cannot be told apart") from error
        if len(found) != frames or not all(found):
            raise CorruptImageError("the file holds another number of frames than its header says")
        return found

    def _extended_offsets(self) -> tuple[bytes, bytes] | None:
        offsets = self._data_set.get("ExtendedOffsetTable")
        lengths = self._data_set.get("ExtendedOffsetTableLengths")
        if offsets is None or lengths is None:
            return None
        return self._data_set.value(offsets), self._data_set.value(lengths)

    @property
    def lossy(self) -> bool:
        """Whether a frame decoded so far was compressed with loss."""
        return bool(self._lossy)

    def _cells(self, index: int) -> Container:
        decoded = decode_frame(self._syntax, self._codestreams[index], self._layout)
        self._precisions[index] = decoded.precision
        if decoded.lossy:
            self._lossy.add(index)
        return decoded.cells

    def stored(self, index: int) -> Stored:
        """Return the stored values of a frame."""
        return stored_values(self._cells(index), self._layout)

    def write(self, changed: Sequence[Stored]) -> WrittenPixels:
        """Return Pixel Data with other stored values, compressed without loss."""
        codec = CODECS[self._syntax]
        layout = replace(
            self._layout, photometric=photometric_written(self._syntax, self._layout.photometric)
        )
        written = [
            encode_frame(codec.target, cells, layout, precision)
            for cells, precision in map(self._fill, range(layout.frames), changed)
        ]
        return self._encapsulate(written)

    def _fill(self, index: int, stored: Stored) -> tuple[Container, int]:
        layout = self._layout
        precision = self._precisions.get(index)
        if precision is None or precision > layout.bits_stored or layout.shift:
            cells = fill_container(self._cells(index), stored, layout)
            return cells, max(self._precisions[index], layout.bits_stored)
        width = layout.bits_allocated // 8
        cells = stored.astype(f"{'i' if layout.signed else 'u'}{width}").view(f"u{width}")
        return cells, layout.bits_stored

    def _encapsulate(self, frames: list[bytes]) -> WrittenPixels:
        data, element = self._data_set.data, self._element
        header, delimiter = (
            data[element.start : element.value],
            data[element.value_end : element.end],
        )
        size = sum(len(frame) + 9 for frame in frames)
        if self._extended_offsets() is not None or size > _OFFSETS_LIMIT:
            value, offsets, lengths = encapsulate_extended(frames)
            return WrittenPixels(header + value + delimiter, (offsets, lengths))
        (table_length,) = struct.unpack_from("<I", data, element.value + 4)
        value = encapsulate(frames, has_bot=table_length > 0)
        return WrittenPixels(header + value + delimiter)


Pixels = NativePixels | EncapsulatedPixels


def open_pixels(data_set: DataSet, element: Element, layout: PixelLayout, syntax: str) -> Pixels:
    """Open the pixel data of a data set, in the way its transfer syntax says."""
    if syntax in CODECS:
        return EncapsulatedPixels(data_set, element, layout, syntax)
    return NativePixels(data_set, element, layout)
