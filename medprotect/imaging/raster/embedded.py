"""Pictures in the metadata of a PNG file: found, and removed."""

import binascii

from medprotect.errors import InputError
from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.raster.chunks import Chunk, inflate_text
from medprotect.imaging.raster.exif import remove_exif_pictures, remove_xmp_pictures

_LAYERS = frozenset({"prVW", "mkBF", "mkTS", "mkBS", "mkBT", "skMf", "skRf"})
"""Private chunks of editors (Fireworks, Skitch) that hold layers, previews or the original."""

_SIGNATURES = frozenset({"dSIG", "caBX"})
_INDEX = frozenset({"iDOT"})  # Apple: where rows of the old pixels began
_TEXTS = frozenset({"tEXt", "zTXt", "iTXt"})
_KEPT = frozenset({"IHDR", "PLTE", "IDAT", "IEND", "eXIf"})

XMP_KEYWORD = b"XML:com.adobe.xmp"


def clean_chunk(chunk: Chunk) -> tuple[Chunk | None, str]:
    """Return a chunk without pictures, and a note of what was removed; None where all of it was.

    Raises
    ------
    CorruptImageError, ImageTooLargeError
        A compressed text is damaged or too large.
    """
    if chunk.type in _SIGNATURES:
        return None, "signature_removed"
    if chunk.type in _INDEX:
        return None, "pixel_index_removed"
    if chunk.type in _LAYERS:
        return None, "picture_chunk_removed"
    if chunk.type == "eXIf":
        cleaned = remove_exif_pictures(chunk.data)
        return Chunk("eXIf", cleaned), "exif_thumbnail_removed" if cleaned != chunk.data else ""
    if chunk.type in _TEXTS:
        return _clean_text(chunk)
    if chunk.type not in _KEPT and holds_picture(chunk.data):
        return None, "picture_chunk_removed"
    return chunk, ""


def _clean_text(chunk: Chunk) -> tuple[Chunk | None, str]:
    keyword, text = read_text(chunk)
    if keyword == XMP_KEYWORD:
        cleaned = remove_xmp_pictures(text)
        if cleaned == text:
            return chunk, ""
        data = XMP_KEYWORD + b"\0\0\0\0\0" + cleaned
        return Chunk("iTXt", data), "xmp_thumbnail_removed"
    if holds_picture(text) or holds_picture(_unhex(keyword, text)):
        return None, "picture_chunk_removed"
    return chunk, ""


def read_text(chunk: Chunk) -> tuple[bytes, bytes]:
    """Return keyword and text of a tEXt, zTXt or iTXt chunk, inflated within the limit.

    Raises
    ------
    CorruptImageError, ImageTooLargeError
        The text is damaged or too large.
    """
    keyword, _, rest = chunk.data.partition(b"\0")
    if chunk.type == "tEXt":
        return keyword, rest
    if chunk.type == "zTXt":
        return keyword, inflate_text(rest[1:])
    _, _, text = rest[2:].split(b"\0", 2) if rest[2:].count(b"\0") >= 2 else (b"", b"", b"")
    return keyword, inflate_text(text) if rest[:1] == b"\1" else text


def _unhex(keyword: bytes, text: bytes) -> bytes:
    """Return a profile that ImageMagick wrote in hexadecimal: name, length, digits."""
    if not keyword.lower().startswith(b"raw profile type"):
        return b""
    parts = text.split(None, 2)
    try:
        return binascii.unhexlify(b"".join(parts[2].split())) if len(parts) == 3 else b""
    except (binascii.Error, ValueError):
        return b""


def clean_chunks(chunks: list[Chunk]) -> tuple[list[Chunk], tuple[str, ...]]:
    """Return chunks without pictures, and sorted notes of what was removed.

    Raises
    ------
    InputError
        As `clean_chunk`.
    """
    cleaned = [clean_chunk(chunk) for chunk in chunks]
    notes = sorted({note for _, note in cleaned if note})
    return [chunk for chunk, _ in cleaned if chunk is not None], tuple(notes)


def is_cleaned(before: Chunk, after: Chunk | None) -> bool:
    """Whether `after` is what removing pictures from `before` leaves, and something was removed."""
    try:
        chunk, note = clean_chunk(before)
    except InputError:
        return False
    return bool(note) and chunk == after
