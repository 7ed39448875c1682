"""Bytes into elements, within bounds on depth and number, and without touching a value."""

import struct

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError
from medprotect.imaging.dicom.dictionary import vr_of
from medprotect.imaging.dicom.elements import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    LONG_VRS,
    PIXEL_DATA,
    PIXEL_TAGS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    DataSet,
    Element,
    Encoding,
    Item,
)

_WRITTEN_VRS = {vr.encode(): (vr, 2) for vr in SHORT_VRS} | {
    vr.encode(): (vr, 4) for vr in LONG_VRS
}
"""VRs as they are written, and how many bytes the length behind them has."""

_TAG = {order: struct.Struct(order + "HH").unpack_from for order in "<>"}
_SHORT = {order: struct.Struct(order + "H").unpack_from for order in "<>"}
_LONG = {order: struct.Struct(order + "I").unpack_from for order in "<>"}


class TruncatedError(CorruptImageError):
    """The bytes end inside an element."""


def read_elements(
    data: bytes, start: int, encoding: Encoding, *, stop_at_pixels: bool = False
) -> DataSet:
    """Read a data set from `start` to the end of `data`.

    Parameters
    ----------
    data : bytes
        The source.
    start : int
        Offset of the first element.
    encoding : Encoding
        That of the data set.
    stop_at_pixels : bool
        Stop before the first element that holds pixels.

    Raises
    ------
    CorruptImageError
        The bytes are no data set, or nest too deep; `TruncatedError` where they merely end early.
    ImageTooLargeError
        It has more elements than `medprotect.limits` allows.
    """
    reader = _Reader(data, stop_at_pixels)
    elements, end = reader.read(start, len(data), encoding, depth=0, delimited=False)
    return DataSet(data, elements, encoding, end)


def read_element_header(data: bytes, encoding: Encoding) -> tuple[int, str, int, bytes]:
    """Return tag, VR and length of the element that 8 to 12 bytes begin, and its header of those.

    Raises
    ------
    CorruptImageError
        The VR is none; `TruncatedError` where there are too few bytes.
    """
    reader = _Reader(data, stop_at_pixels=False)
    tag = reader._tag(0, len(data), encoding)
    vr, value, length = reader._vr_and_length(0, len(data), tag, encoding)
    return tag, vr, length, data[:value]


class _Reader:
    def __init__(self, data: bytes, stop_at_pixels: bool) -> None:
        self.data = data
        self.stop_at_pixels = stop_at_pixels
        self.count = 0

    def read(
        self, pos: int, end: int, encoding: Encoding, *, depth: int, delimited: bool
    ) -> tuple[list[Element], int]:
        """Read elements up to `end`, or to an item delimiter where `delimited`."""
        elements: list[Element] = []
        seen: set[int] = set()
        while pos < end:
            if not self.data[pos] and self._is_padding(pos, end, encoding, depth):
                return elements, pos
            tag = self._tag(pos, end, encoding)
            if delimited and tag == ITEM_END:
                return elements, pos
            if depth == 0 and self.stop_at_pixels and tag in PIXEL_TAGS:
                return elements, pos
            if tag >> 16 == 0xFFFE:
                raise CorruptImageError("the DICOM header has an item that is in no sequence")
            if tag in seen:
                raise CorruptImageError("the DICOM header holds an element twice")
            seen.add(tag)
            element = self._element(pos, end, tag, encoding, depth)
            elements.append(element)
            pos = element.end
        if delimited:
            raise TruncatedError("a DICOM item is not closed")
        return elements, pos

    def _is_padding(self, pos: int, end: int, encoding: Encoding, depth: int) -> bool:
        """Whether nothing but zeros follows, which some writers leave behind the data set."""
        if depth > 0 or self.data[pos : min(pos + 4, end)].strip(b"\0"):
            return False
        # One zero may be the beginning of a tag of which the rest was cut off.
        is_cut_tag = encoding.big_endian and end - pos < 8
        return not is_cut_tag and not self.data[pos:end].strip(b"\0")

    def _tag(self, pos: int, end: int, encoding: Encoding) -> int:
        if pos + 8 > end:
            raise TruncatedError("the file ends inside a DICOM element")
        group, number = _TAG[encoding.order](self.data, pos)
        return int(group) << 16 | int(number)

    def _element(self, pos: int, end: int, tag: int, encoding: Encoding, depth: int) -> Element:
        self._count()
        vr, value, length = self._vr_and_length(pos, end, tag, encoding)
        undefined = length == UNDEFINED
        value_end = end if undefined else value + length
        if value_end > end:
            raise TruncatedError("the file ends inside a DICOM element")
        element = Element(tag, vr, pos, value, value_end, value_end, encoding, undefined)
        if undefined and (vr in ("OB", "OW") or tag == PIXEL_DATA):
            self._skip_fragments(element, end)
        elif undefined or (vr in ("SQ", "UN") and self._is_sequence(element)):
            self._read_sequence(element, end, depth)
        return element

    def _count(self) -> None:
        """Count an element or an item: an empty one takes as much memory."""
        self.count += 1
        if self.count > limits.HEADER_ELEMENTS:
            raise ImageTooLargeError("the DICOM header has too many elements; split the file")

    def _is_sequence(self, element: Element) -> bool:
        """Whether the value is items: by VR, or where that is not written, by both signs of it."""
        if element.vr == "SQ" and not element.encoding.implicit:
            return True
        if vr_of(element.tag) != "SQ":
            return False
        item = self.data[element.value : min(element.value + 4, element.value_end)]
        return item in (b"", b"\xfe\xff\x00\xe0")

    def _vr_and_length(
        self, pos: int, end: int, tag: int, encoding: Encoding
    ) -> tuple[str, int, int]:
        if encoding.implicit:
            (length,) = _LONG[encoding.order](self.data, pos + 4)
            return vr_of(tag), pos + 8, length
        vr, width = _WRITTEN_VRS.get(self.data[pos + 4 : pos + 6], ("", 0))
        if width == 2:
            (length,) = _SHORT[encoding.order](self.data, pos + 6)
            return vr, pos + 8, length
        if width == 0:
            raise CorruptImageError("the DICOM header has an element without a known VR")
        if pos + 12 > end:
            raise TruncatedError("the file ends inside a DICOM element")
        (length,) = _LONG[encoding.order](self.data, pos + 8)
        return vr, pos + 12, length

    def _item_header(self, pos: int, end: int, encoding: Encoding) -> tuple[int, int]:
        tag = self._tag(pos, end, encoding)
        (length,) = _LONG[encoding.order](self.data, pos + 4)
        return tag, int(length)

    def _skip_fragments(self, element: Element, end: int) -> None:
        """Find the end of encapsulated pixel data (PS3.5 section A.4)."""
        pos = element.value
        while True:
            tag, length = self._item_header(pos, end, element.encoding)
            if tag == SEQUENCE_END:
                element.value_end, element.end = pos, pos + 8
                return
            if tag != ITEM or length == UNDEFINED:
                raise CorruptImageError("the encapsulated pixel data is no sequence of fragments")
            pos += 8 + length

    def _read_sequence(self, element: Element, end: int, depth: int) -> None:
        if depth >= limits.HEADER_DEPTH:
            raise CorruptImageError("the DICOM header nests sequences too deep")
        encoding = element.encoding
        if element.vr == "UN" and not encoding.implicit:
            encoding = self._encoding_in_unknown(element)
        end = end if element.undefined else element.value_end
        element.items = []
        pos = element.value
        while pos < end:
            tag, length = self._item_header(pos, end, encoding)
            if tag == SEQUENCE_END and element.undefined:
                element.value_end, element.end = pos, pos + 8
                return
            if tag != ITEM:
                raise CorruptImageError("a DICOM sequence holds something other than items")
            item = self._item(pos, end, length, encoding, depth)
            element.items.append(item)
            pos = item.end
        if element.undefined:
            raise TruncatedError("a DICOM sequence is not closed")

    def _encoding_in_unknown(self, element: Element) -> Encoding:
        """Return how a sequence of VR UN is written: implicit (PS3.5 section 6.2.2), mostly."""
        vr = self.data[element.value + 12 : element.value + 14].decode("latin-1")
        is_explicit = vr in LONG_VRS or vr in SHORT_VRS
        return EXPLICIT_LITTLE if is_explicit else IMPLICIT_LITTLE

    def _item(self, pos: int, end: int, length: int, encoding: Encoding, depth: int) -> Item:
        self._count()
        undefined = length == UNDEFINED
        value_end = end if undefined else pos + 8 + length
        if value_end > end:
            raise TruncatedError("the file ends inside a DICOM item")
        elements, stop = self.read(
            pos + 8, value_end, encoding, depth=depth + 1, delimited=undefined
        )
        item = Item(pos, pos + 8, value_end, value_end, encoding, undefined, elements)
        if undefined:
            item.value_end, item.end = stop, stop + 8
        return item
