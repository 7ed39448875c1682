"""The bytes of a TIFF file that are not its pixels: free room, remains, embedded pictures."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.raster.directories import Entry, Structure
from medprotect.imaging.raster.exif import remove_xmp_pictures
from medprotect.imaging.raster.segments import find_end

Span = tuple[int, int]
"""Begin and end of bytes of a file."""

XMP, PHOTOSHOP = 700, 34377
_BYTES = frozenset({1, 2, 6, 7})  # BYTE, ASCII, SBYTE, UNDEFINED
_LEAST_BYTES = 64
_MOST_UNREFERENCED = 64 * 1024
_JPEG = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
_THUMBNAIL = re.compile(rb"8BIM\x04[\x09\x0c]\0\0(?s:(.{4}))")  # image resources 1033, 1036


def check_apart(pixels: list[Span], others: list[Span]) -> None:
    """Check that no strip or tile lies over another or over a tag.

    Raises
    ------
    CorruptImageError
        Some do.
    """
    marked = sorted([(*span, True) for span in pixels] + [(*span, False) for span in others])
    reached = reached_by_pixels = 0
    for begin, end, is_pixels in marked:
        if begin < (reached if is_pixels else reached_by_pixels):
            raise CorruptImageError("pixels of the TIFF file lie over one another or over tags")
        reached = max(reached, end)
        if is_pixels:
            reached_by_pixels = max(reached_by_pixels, end)


def unreferenced(used: Iterable[Span], size: int) -> list[Span]:
    """Return the spans of a file that nothing refers to."""
    spans, reached = [], 0
    for begin, end in sorted(used):
        if begin > reached:
            spans.append((reached, begin))
        reached = max(reached, end)
    return [*spans, (reached, size)] if reached < size else spans


def check_unreferenced(data: bytes, spans: list[Span]) -> None:
    """Refuse files in which images may lie that no directory tells of.

    Raises
    ------
    UnsupportedImageError
        There is more than a remainder of old directories.
    """
    rest = sum(len(data[a:b].strip(b"\0")) for a, b in spans)
    if rest > _MOST_UNREFERENCED:
        raise UnsupportedImageError(
            "much data that no TIFF page tells of: further images, or old ones; save it again"
        )


def blank(data: bytearray, spans: list[Span]) -> bool:
    """Overwrite spans with zeros; return whether there was anything else."""
    found = False
    for begin, end in spans:
        found = found or bool(data[begin:end].strip(b"\0"))
        data[begin:end] = bytes(end - begin)
    return found


def blank_pictures(data: bytearray, structure: Structure) -> list[str]:
    """Overwrite the pictures in tags, in place; return notes of what was removed."""
    notes = []
    for page in structure.pages:
        for directory in page.walk():
            for entry in directory.entries.values():
                if entry.type in _BYTES and entry.size >= _LEAST_BYTES:
                    notes += _blank_value(data, entry)
    return notes


def _blank_value(data: bytearray, entry: Entry) -> list[str]:
    value = bytes(data[entry.value_at : entry.value_at + entry.size])
    cleaned = clean_value(entry.tag, value)
    if cleaned == value:
        return []
    data[entry.value_at : entry.value_at + entry.size] = cleaned
    names = {XMP: "xmp_thumbnail_removed", PHOTOSHOP: "photoshop_thumbnail_removed"}
    return [names.get(entry.tag, "picture_tag_blanked")]


def clean_value(tag: int, value: bytes) -> bytes:
    """Return the value of a tag without pictures, of the same length."""
    if tag == XMP:
        return remove_xmp_pictures(value).ljust(len(value))
    if tag == 347:  # JPEGTables: a JPEG stream without pixels
        return value
    blanked = bytearray(value)
    if tag == PHOTOSHOP:
        for match in _THUMBNAIL.finditer(value):
            end = match.end() + int.from_bytes(match[1], "big")
            blanked[match.end() : end] = bytes(min(end, len(value)) - match.end())
    end = 0
    while found := _JPEG.search(blanked, end):
        end = find_end(blanked, found.start())
        blanked[found.start() : end] = bytes(end - found.start())
    return bytes(len(value)) if holds_picture(bytes(blanked)) else bytes(blanked)


class FreeSpace:
    """Room in a file where new strips and tiles may lie; the rest goes to its end.

    Parameters
    ----------
    data : bytearray
        The file; grows.
    """

    def __init__(self, data: bytearray) -> None:
        self._data = data
        self._spans: list[list[int]] = []
        self._sorted = True

    def add(self, begin: int, end: int) -> None:
        """Declare bytes free."""
        self._spans.append([begin, end])
        self._sorted = False

    def put(self, segment: bytes) -> int:
        """Write a segment into the first room that is large enough; return where."""
        if not self._sorted:
            self._spans = [list(span) for span in _merged(self._spans)]
            self._sorted = True
        for span in self._spans:
            begin = span[0] + span[0] % 2
            if begin + len(segment) <= span[1]:
                self._data[begin : begin + len(segment)] = segment
                span[0] = begin + len(segment)
                return begin
        self._data += bytes(len(self._data) % 2)
        self._data += segment
        return len(self._data) - len(segment)


def _merged(spans: list[list[int]]) -> Iterator[Span]:
    """Join spans that touch, or nearly: strips are often padded to even places."""
    spans = sorted(spans)
    starts = [spans[0][0]] + [b for (_, a), (b, _) in pairwise(spans) if b > a]
    ends = [a for (_, a), (b, _) in pairwise(spans) if b > a] + [spans[-1][1]]
    return zip(starts, ends, strict=True)
