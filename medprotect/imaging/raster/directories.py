"""The container of TIFF and BigTIFF: directories and their entries (TIFF 6.0 section 2)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError, NotAnImageError

_TYPE_BYTES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},
}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
SUB_IFDS = 330
_POINTERS = frozenset({SUB_IFDS, 34665, 34853, 40965, 400})  # SubIFDs, EXIF, GPS, Interop ...
_DEPTH = 4
_SHORT = 64
"""Lists that are not counted, so that many pages of few strips may come."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory.

    Attributes
    ----------
    tag, type, count : int
        As written.
    at : int
        Where the entry lies.
    value_at, size : int
        Where its value lies, and how many bytes it has.
    """

    tag: int
    type: int
    count: int
    at: int
    value_at: int
    size: int


@dataclass(slots=True)
class Directory:
    """An image file directory.

    Attributes
    ----------
    at, end : int
        Where it lies, the link to the next directory included.
    linked_from : int
        Where the pointer to it lies.
    entries : dict of int to Entry
        By tag.
    next : int
        Offset of the next directory, 0 for none.
    children : dict of int to list of Directory
        Directories that entries point to, by tag.
    """

    at: int
    end: int
    linked_from: int
    entries: dict[int, Entry]
    next: int
    children: dict[int, list["Directory"]] = field(default_factory=dict)

    def walk(self) -> Iterator["Directory"]:
        """Yield the directory and all below it."""
        yield self
        for children in self.children.values():
            for child in children:
                yield from child.walk()


class Structure:
    """Where everything lies in a TIFF file.

    Parameters
    ----------
    data : bytes or bytearray
        The whole file.

    Attributes
    ----------
    order : str
        ``<`` or ``>``.
    big : bool
        Whether it is BigTIFF.
    pages : list of Directory
        The directories of the chain that the header begins.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        No TIFF file, damaged, or over a limit.
    """

    def __init__(self, data: bytes | bytearray) -> None:
        self.order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
        version = self._unpack(data, "H", 2) if self.order and len(data) >= 16 else 0
        if version not in (42, 43):
            raise NotAnImageError("not a TIFF file")
        self.big = version == 43
        self.offset_code = "Q" if self.big else "I"
        self.offset_bytes = 8 if self.big else 4
        self._data = data
        self._seen: set[int] = set()
        self._entries = 0
        self._integers = 0
        self.header_bytes = 16 if self.big else 8
        self.pages = list(self._read_chain(8 if self.big else 4))
        if not self.pages:
            raise CorruptImageError("the TIFF file holds no image")

    def _unpack(self, data: bytes | bytearray, code: str, at: int) -> int:
        try:
            (value,) = struct.unpack_from(self.order + code, data, at)
        except (struct.error, OverflowError) as error:
            raise CorruptImageError("the TIFF file is damaged or cut short") from error
        return int(value)

    def _read_chain(self, pointer: int) -> Iterator[Directory]:
        at = self._unpack(self._data, self.offset_code, pointer)
        while at:
            if len(self._seen) >= limits.IMAGES_PER_FILE:
                raise ImageTooLargeError("more pages than medprotect.limits allows")
            directory = self._read_directory(at, pointer, 0)
            yield directory
            pointer = directory.end - self.offset_bytes
            at = directory.next

    def _read_directory(self, at: int, pointer: int, depth: int) -> Directory:
        if at in self._seen or depth > _DEPTH:
            raise CorruptImageError("the TIFF directories run in a circle")
        self._seen.add(at)
        count = self._unpack(self._data, "Q" if self.big else "H", at)
        first, step = (at + 8, 20) if self.big else (at + 2, 12)
        end = first + count * step + self.offset_bytes
        self._entries += count
        if self._entries > limits.HEADER_ELEMENTS:
            raise ImageTooLargeError("more TIFF tags than medprotect.limits allows")
        if end > len(self._data):
            raise CorruptImageError("the TIFF file is damaged or cut short")
        entries = [self._read_entry(first + index * step) for index in range(count)]
        following = self._unpack(self._data, self.offset_code, end - self.offset_bytes)
        directory = Directory(at, end, pointer, {entry.tag: entry for entry in entries}, following)
        if len(directory.entries) != count:
            raise CorruptImageError("a TIFF directory repeats a tag")
        for entry in entries:
            if entry.tag in _POINTERS:
                width = _TYPE_BYTES[entry.type]
                directory.children[entry.tag] = [
                    self._read_directory(offset, entry.value_at + index * width, depth + 1)
                    for index, offset in enumerate(self.integers(entry))
                ]
        return directory

    def _read_entry(self, at: int) -> Entry:
        tag = self._unpack(self._data, "H", at)
        kind = self._unpack(self._data, "H", at + 2)
        count = self._unpack(self._data, self.offset_code, at + 4)
        if kind not in _TYPE_BYTES:
            raise CorruptImageError("a TIFF tag has an unknown type")
        size = _TYPE_BYTES[kind] * count
        value_at = at + 4 + self.offset_bytes
        if size > self.offset_bytes:
            value_at = self._unpack(self._data, self.offset_code, value_at)
        if value_at + size > len(self._data):
            raise CorruptImageError("the TIFF file is damaged or cut short")
        return Entry(tag, kind, count, at, value_at, size)

    def integers(self, entry: Entry | None) -> tuple[int, ...]:
        """Return the values of an entry of integers; nothing where it is missing.

        Raises
        ------
        CorruptImageError
            It holds no integers.
        ImageTooLargeError
            With those returned before there are more than `medprotect.limits` allows: many pages
            may name one long list.
        """
        if entry is None:
            return ()
        if entry.type not in _INTEGERS:
            raise CorruptImageError("a TIFF tag has a type that does not fit it")
        if entry.count > _SHORT:
            self._integers += entry.count
            if self._integers > limits.HEADER_ELEMENTS:
                raise ImageTooLargeError("more strips or tiles than medprotect.limits allows")
        code = f"{self.order}{entry.count}{_INTEGERS[entry.type]}"
        return struct.unpack_from(code, self._data, entry.value_at)

    def put_integers(self, data: bytearray, entry: Entry, values: list[int]) -> None:
        """Replace the values of an entry; where they do not fit, they go to the end of the file."""
        code = _INTEGERS[entry.type]
        largest = (1 << 8 * struct.calcsize(code)) - 1
        if max(values, default=0) <= largest:
            struct.pack_into(f"{self.order}{len(values)}{code}", data, entry.value_at, *values)
            return
        kind = 16 if self.big else 4
        code = self.offset_code
        raw = struct.pack(f"{self.order}{len(values)}{code}", *values)
        struct.pack_into(self.order + "H", data, entry.at + 2, kind)
        value_at = entry.at + 4 + self.offset_bytes
        if len(raw) <= self.offset_bytes:
            data[value_at : value_at + self.offset_bytes] = raw.ljust(self.offset_bytes, b"\0")
            return
        data += bytes(-len(data) % 8)
        struct.pack_into(self.order + code, data, value_at, len(data))
        data += raw

    def remove_entries(self, data: bytearray, directory: Directory, tags: frozenset[int]) -> None:
        """Take entries out of a directory, in its place; their values are overwritten by zeros."""
        step = 20 if self.big else 12
        kept = b""
        for entry in directory.entries.values():
            if entry.tag in tags:
                if entry.size > self.offset_bytes:
                    data[entry.value_at : entry.value_at + entry.size] = bytes(entry.size)
            else:
                kept += data[entry.at : entry.at + step]
        link = data[directory.end - self.offset_bytes : directory.end]
        code = "Q" if self.big else "H"
        count = struct.pack(self.order + code, len(kept) // step)
        new = count + kept + link
        data[directory.at : directory.end] = new.ljust(directory.end - directory.at, b"\0")

    def references(self) -> Iterator[tuple[int, int]]:
        """Yield begin and end of everything but pixels that the header leads to."""
        yield 0, self.header_bytes
        for page in self.pages:
            for directory in page.walk():
                yield directory.at, directory.end
                for entry in directory.entries.values():
                    yield entry.value_at, entry.value_at + entry.size
