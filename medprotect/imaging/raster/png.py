"""PNG images: grey and RGB of 8 and 16 bits, with alpha or without.

The module keeps the contract `medprotect.imaging.image.ImageFormat`. What it changes besides the
pixels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/png-tiff-jpeg.md``.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging.image import (
    Derivation,
    Description,
    Encoded,
    Image,
    ImageFile,
    Role,
    Stored,
    Traits,
)
from medprotect.imaging.raster.chunks import (
    Chunk,
    PngHeader,
    parse_header,
    read_chunks,
    walk,
    write_chunks,
)
from medprotect.imaging.raster.embedded import clean_chunks, is_cleaned
from medprotect.imaging.raster.exif import compare_tags, read_exif_tags

DOCUMENTED_CHANGES: frozenset[str] = frozenset(
    {
        *("IHDR.Interlace", "eXIf", "tEXt", "zTXt", "iTXt", "iDOT", "dSIG", "caBX"),
        *("PictureChunk", "TrailingData"),
    }
)
"""Names of what a protected file may differ in, as in ``docs/reference/png-tiff-jpeg.md``."""

_LEVEL = 6


def describe(stream: BinaryIO) -> Description:
    """Read the header from a seekable stream, without decoding pixels.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    head, key, deflated = b"", b"", 0
    types = []
    for name, length in walk(stream):
        types.append(name)
        if name == "IHDR":
            head = stream.read(min(length, 14))
        elif name == "tRNS":
            key = stream.read(min(length, 7))
        elif name == "IDAT":
            deflated += length
    return _describe(_check(types, head, key, deflated))


def _check(types: Iterable[str], head: bytes, key: bytes, deflated: int) -> PngHeader:
    header = parse_header(head, deflated)
    if {"acTL", "fdAT"} & set(types):
        raise UnsupportedImageError("an animated PNG; save its frames one by one")
    if key:
        _read_key(header, key)
    return header


def _read_key(header: PngHeader, key: bytes) -> int:
    """Return the value that is transparent in every channel (tRNS)."""
    count = {1: 1, 3: 3}.get(header.samples, 0)
    if len(key) != 2 * count:
        raise CorruptImageError("the transparent colour does not fit the PNG header")
    values = set(struct.unpack(f">{count}H", key))
    if len(values) > 1:
        raise UnsupportedImageError("a transparent colour that is not grey; use an alpha channel")
    value: int = values.pop()
    return value & ((1 << header.depth) - 1)


def _describe(header: PngHeader) -> Description:
    channels = 3 if header.samples > 2 else 1
    traits = Traits(
        format="png",
        photometric="RGB" if channels == 3 else "MONOCHROME2",
        channels=channels,
        bits_stored=header.depth,
        rows=header.rows,
        columns=header.columns,
        compression="deflate",
    )
    return Description(Role.IMAGE, "png image", traits)


def open_file(data: bytes) -> ImageFile:
    """Open a PNG file whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return PngFile(data)


class PngFile:
    """One PNG file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """

    def __init__(self, data: bytes) -> None:
        self._chunks, self._tail = read_chunks(BytesIO(data))
        by_type = {chunk.type: chunk.data for chunk in self._chunks}
        self._deflated = b"".join(c.data for c in self._chunks if c.type == "IDAT")
        key = by_type.get("tRNS", b"")
        self._header = _check(by_type, by_type["IHDR"], key, len(self._deflated))
        self._key = _read_key(self._header, key) if key else None

    @property
    def description(self) -> Description:
        """What the header says."""
        return _describe(self._header)

    def images(self) -> Iterator[Image]:
        """Decode the one image; where it is fully transparent it is locked.

        Raises
        ------
        CorruptImageError
            The pixels cannot be decoded in full.
        """
        samples = self._decode()
        stored, alpha = _split(samples)
        locked = forbidden = None
        if alpha is not None:
            locked = alpha == 0
        elif self._key is not None:
            locked = (stored == self._key) if stored.ndim == 2 else (stored == self._key).all(-1)
            forbidden = (float(self._key), float(self._key))
        yield Image(
            stored=stored,
            lowest=0,
            highest=float(np.iinfo(stored.dtype).max),
            photometric="RGB" if stored.ndim == 3 else "MONOCHROME2",
            locked=locked,
            forbidden=forbidden,
        )

    def _decode(self) -> NDArray[Any]:
        """Return all samples, (rows, columns) or (rows, columns, 2 to 4)."""
        # Only what belongs to the pixels, so that no other chunk has a say in their values.
        header = self._header
        plain = [self._chunks[0], Chunk("IDAT", self._deflated), Chunk("IEND", b"")]
        try:
            samples: NDArray[Any] = imagecodecs.png_decode(write_chunks(plain))
        except MemoryError:
            raise
        except Exception as error:
            raise CorruptImageError("the pixels cannot be decoded in full") from error
        shape = (header.rows, header.columns, header.samples)[: 2 if header.samples == 1 else 3]
        if samples.shape != shape or samples.dtype != (np.uint8, np.uint16)[header.depth == 16]:
            raise CorruptImageError("the pixels are not what the PNG header says")
        return samples

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return the file with other pixels; alpha and all other chunks stay.

        Parameters
        ----------
        changed : sequence of Stored
            One array, of the shape and dtype of `images`.
        derivation : Derivation
            Not stated in the file: its texts stay as they are.

        Raises
        ------
        ValueError
            Another number of arrays, another shape or dtype.
        """
        samples = self._decode()
        stored, _ = _split(samples)
        if len(changed) != 1 or changed[0].shape != stored.shape:
            raise ValueError("one array of the image's shape is needed")
        if changed[0].dtype != stored.dtype:
            raise ValueError(f"an image of {stored.dtype}, not {changed[0].dtype}")
        stored[...] = changed[0]  # a view: alpha stays
        chunks, notes = clean_chunks(self._chunks)
        if self._tail:
            notes += ("trailing_data_removed",)
        return Encoded(write_chunks(replace_pixels(chunks, samples)), notes)


def _split(samples: NDArray[Any]) -> tuple[Stored, NDArray[Any] | None]:
    """Return grey or RGB, a view, and alpha or None."""
    if samples.ndim == 2:
        return samples, None
    count = samples.shape[2]
    if count == 3:
        return samples, None
    return (samples[..., 0] if count == 2 else samples[..., :3]), samples[..., -1]


def replace_pixels(chunks: Iterable[Chunk], samples: NDArray[Any]) -> Iterator[Chunk]:
    """Yield chunks with new pixels in place of the old.

    Parameters
    ----------
    chunks : iterable of Chunk
        From IHDR to IEND.
    samples : NDArray of uint8 or uint16
        (rows, columns) or (rows, columns, 2 to 4).
    """
    encoded = imagecodecs.png_encode(np.ascontiguousarray(samples), level=_LEVEL)
    pixels = [chunk for chunk in read_chunks(BytesIO(encoded))[0] if chunk.type == "IDAT"]
    for chunk in chunks:
        if chunk.type == "IHDR":
            yield Chunk("IHDR", chunk.data[:12] + b"\0")  # no longer interlaced
        elif chunk.type != "IDAT":
            yield chunk
        else:
            yield from pixels
            pixels = []


def changed_elements(original: bytes, protected: bytes) -> list[str]:
    """Name everything in which the two files differ but the pixels.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.

    Returns
    -------
    list of str
        Types of chunks that differ, come, go or stand elsewhere; ``PictureChunk`` for a chunk
        that went because it holds a picture; ``IHDR.Interlace``; and ``TrailingData`` for what
        follows the last chunk.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    return [name for name, _ in _differences(original, protected)]


def undocumented_changes(original: bytes, protected: bytes) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.
    """
    return [name for name, documented in _differences(original, protected) if not documented]


def _differences(original: bytes, protected: bytes) -> list[tuple[str, bool]]:
    """Return name and whether it is documented, of each difference."""
    before, tail = read_chunks(BytesIO(original))
    after, new_tail = read_chunks(BytesIO(protected))
    found = []
    one, other = _metadata(before), _metadata(after)
    if one[0] != other[0]:
        is_interlace = one[0].data[:12] == other[0].data[:12] and other[0].data[12:] == b"\0"
        found.append(("IHDR.Interlace" if is_interlace else "IHDR", is_interlace))
    found += _compare_chunks(one[1:], other[1:])
    if tail != new_tail:
        found.append(("TrailingData", not new_tail))
    return found


def _metadata(chunks: list[Chunk]) -> list[Chunk]:
    """Return all chunks, the pixels as one without data, which keeps their place."""
    first = next(index for index, chunk in enumerate(chunks) if chunk.type == "IDAT")
    kept = [chunk for chunk in chunks if chunk.type != "IDAT"]
    kept.insert(first, Chunk("IDAT", b""))
    return kept


def _compare_chunks(before: list[Chunk], after: list[Chunk]) -> list[tuple[str, bool]]:
    """Compare in order: a chunk of `before` is there, is there without its pictures, or gone."""
    found = []
    rest = list(after)
    for chunk in before:
        if rest and rest[0] == chunk:
            rest.pop(0)
        elif rest and rest[0].type == chunk.type and is_cleaned(chunk, rest[0]):
            new = rest.pop(0)
            found.append((chunk.type, _keeps_tags(chunk, new)))
        elif chunk in rest:  # what stands before it came
            place = rest.index(chunk)
            found += [(new.type, False) for new in rest[:place]]
            del rest[: place + 1]
        else:
            documented = is_cleaned(chunk, None)
            is_listed = chunk.type in DOCUMENTED_CHANGES or not documented
            found.append((chunk.type if is_listed else "PictureChunk", documented))
    return found + [(chunk.type, False) for chunk in rest]


def _keeps_tags(before: Chunk, after: Chunk) -> bool:
    """Whether all tags of EXIF say what they said."""
    if before.type != "eXIf":
        return True
    return not compare_tags(read_exif_tags(before.data), read_exif_tags(after.data))
