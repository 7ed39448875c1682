"""The elements of a data set with their bytes, so that what is not changed stays as it is.

pydicom reads a data set into values and writes it again; group lengths, undefined lengths and odd
encodings get lost on that way, and some files cannot be written at all. Here every element keeps
its place in the source, and writing copies those bytes (PS3.5 section 7).
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO

from medprotect.imaging.dicom.dictionary import tag_of

PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
"""Float Pixel Data, Double Float Pixel Data, Pixel Data."""

NO_PIXELS = (
    "no image, or the header of one without its pixels (no Pixel Data); export it again with them, "
    "or leave it out"
)
"""Said of an object without pixels where an image is expected."""

_META_LENGTH = 0x00020000
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
"""Tags of items and delimiters, and the length that says that one of those ends the value."""

LONG_VRS = frozenset(re.findall("..", "OBODOFOLOVOWSQSVUCUNURUTUV"))
SHORT_VRS = frozenset(re.findall("..", "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS"))
"""Value representations with a length of 4 and of 2 bytes where the VR is written."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a data set are written (PS3.5 section 7.1)."""

    implicit: bool
    big_endian: bool = False
    order: str = field(init=False, compare=False)
    """The byte order in the letters of `struct`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", ">" if self.big_endian else "<")


EXPLICIT_LITTLE = Encoding(implicit=False)
IMPLICIT_LITTLE = Encoding(implicit=True)
EXPLICIT_BIG = Encoding(implicit=False, big_endian=True)


@dataclass(frozen=True, slots=True)
class Chunks:
    """Bytes that are made while they are written, because they would not fit twice.

    Attributes
    ----------
    size : int
        Length of all together.
    make : callable
        ``make() -> iterable of bytes``.
    """

    size: int
    make: Callable[[], Iterable[bytes | memoryview]]

    def __len__(self) -> int:
        return self.size


Part = bytes | memoryview | Chunks


@dataclass(slots=True)
class Element:
    """One data element, as a place in the source.

    Attributes
    ----------
    tag : int
        Group and element number, ``0xGGGGEEEE``.
    vr : str
        Value representation; from the dictionary where the encoding is implicit.
    start, value, value_end, end : int
        Offsets of the element, of its value, and of the ends of both; `end` lies behind
        `value_end` where a delimiter closes an undefined length.
    encoding : Encoding
        That of the element itself.
    undefined : bool
        Whether its length is undefined.
    items : list of Item, or None
        The items where the value is a sequence that was read.
    encoded : bytes, Chunks or None
        What to write instead; ``b""`` removes the element, None copies it. Chunks only where the
        element is in no sequence.
    """

    tag: int
    vr: str
    start: int
    value: int
    value_end: int
    end: int
    encoding: Encoding
    undefined: bool = False
    items: "list[Item] | None" = None
    encoded: bytes | Chunks | None = None


@dataclass(slots=True)
class Item:
    """One item of a sequence; offsets as in `Element`."""

    start: int
    value: int
    value_end: int
    end: int
    encoding: Encoding
    undefined: bool = False
    elements: list[Element] = field(default_factory=list)
    encoded: bytes | None = None


@dataclass(slots=True)
class DataSet:
    """Elements with the bytes they lie in.

    Attributes
    ----------
    data : bytes
        The source of all offsets.
    elements : list of Element
        In the order of the source.
    encoding : Encoding
        That of the elements.
    end : int
        Where reading stopped: at the pixels, or at the end of the source.
    """

    data: bytes
    elements: list[Element]
    encoding: Encoding
    end: int
    _by_tag: dict[int, Element] = field(default_factory=dict, repr=False, compare=False)

    def get(self, keyword: str) -> Element | None:
        """Return the element with this keyword; None where there is none or it is removed."""
        if len(self._by_tag) != len(self.elements):  # no tag comes twice, so one was inserted
            self._by_tag = {element.tag: element for element in self.elements}
        element = self._by_tag.get(tag_of(keyword))
        return None if element is None or element.encoded == b"" else element

    def value(self, element: Element) -> bytes:
        """Return the bytes of the value of an element of this source."""
        return self.data[element.value : element.value_end]


def find(elements: list[Element], tag: int) -> Element | None:
    """Return the element with this tag, or None where there is none or it is to be removed."""
    for element in elements:
        if element.tag == tag and element.encoded != b"":
            return element
    return None


def walk(elements: list[Element]) -> Iterator[Element]:
    """Yield all elements, those of nested items after the sequence they are in."""
    for element in elements:
        yield element
        for item in element.items or ():
            yield from walk(item.elements)


def write_elements(data: bytes, elements: list[Element]) -> bytes:
    """Return the elements as bytes, each copied unless it or something in it was replaced."""
    return join_parts(encode_parts(data, elements))


def join_parts(parts: Iterable[Part]) -> bytes:
    """Return the parts one after the other; what they hold lies in memory once."""
    stream = BytesIO()
    for chunk in chunks_of(parts):
        stream.write(chunk)
    return stream.getvalue()


def chunks_of(parts: Iterable[Part]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the parts, one after the other."""
    for part in parts:
        if isinstance(part, Chunks):
            yield from part.make()
        else:
            yield part


def encode_parts(data: bytes | memoryview, elements: list[Element]) -> list[Part]:
    """Return the elements as `write_elements` joins them; views of `data` where they are copied."""
    view = memoryview(data)
    written = [_encode(view, element) for element in elements]
    lengths: dict[int, tuple[int, int]] = {}
    for element, encoded in zip(elements, written, strict=True):
        if element.tag & 0xFFFF:
            old, new = lengths.get(element.tag >> 16, (0, 0))
            group = (old + element.end - element.start, new + len(encoded))
            lengths[element.tag >> 16] = group
    for index, element in enumerate(elements):
        old, new = lengths.get(element.tag >> 16, (0, 0))
        if element.tag & 0xFFFF == 0 and old != new and element.value_end - element.value == 4:
            number = struct.unpack_from(element.encoding.order + "I", data, element.value)[0]
            # A wrong group length stays wrong: it is not ours to mend. That of the file meta
            # information has to be right, because readers go by it.
            if number == old or element.tag == _META_LENGTH:
                length = struct.pack(element.encoding.order + "I", new)
                written[index] = bytes(view[element.start : element.value]) + length
    return written


def _encode(data: memoryview, element: Element) -> Part:
    if element.encoded is not None:
        return element.encoded
    if not any(_is_changed(item) for item in element.items or ()):
        return data[element.start : element.end]
    value = b"".join(write_item(data, item) for item in element.items or ())
    return _wrap(data, element, value)


def write_item(data: memoryview, item: Item) -> bytes | memoryview:
    """Return an item as bytes, copied unless something in it was replaced."""
    if item.encoded is not None:
        return item.encoded
    if not _is_changed(item):
        return data[item.start : item.end]
    return _wrap(data, item, join_parts(encode_parts(data, item.elements)))


def _wrap(data: memoryview, part: Element | Item, value: bytes) -> bytes:
    header = bytes(data[part.start : part.value])
    if not part.undefined:
        header = header[:-4] + struct.pack(part.encoding.order + "I", len(value))
    return header + value + bytes(data[part.value_end : part.end])


def _is_changed(item: Item) -> bool:
    return item.encoded is not None or any(
        element.encoded is not None or any(_is_changed(inner) for inner in element.items or ())
        for element in item.elements
    )


def encode_element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """Return an element with its header (PS3.5 section 7.1), padded to even length."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    header = struct.pack(encoding.order + "HH", tag >> 16, tag & 0xFFFF)
    if encoding.implicit:
        return header + struct.pack(encoding.order + "I", len(value)) + value
    if vr in LONG_VRS:
        return (
            header + vr.encode() + b"\0\0" + struct.pack(encoding.order + "I", len(value)) + value
        )
    return header + vr.encode() + struct.pack(encoding.order + "H", len(value)) + value


def encode_item(value: bytes, encoding: Encoding) -> bytes:
    """Return an item of a sequence with its header."""
    return struct.pack(encoding.order + "HHI", ITEM >> 16, ITEM & 0xFFFF, len(value)) + value


def put(elements: list[Element], tag: int, encoded: bytes, encoding: Encoding) -> None:
    """Replace the element with this tag, or insert it where tags in order want it."""
    for element in elements:
        if element.tag == tag:
            element.encoded = encoded
            return
    index = next((i for i, element in enumerate(elements) if element.tag > tag), len(elements))
    elements.insert(index, Element(tag, "", 0, 0, 0, 0, encoding, encoded=encoded))
