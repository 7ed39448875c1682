"""JPEG images of 8 bits, grey and colour, written as PNG: lossy encoding would erase the noise.

The module keeps the contract `medprotect.imaging.image.ImageFormat`. What it changes besides the
pixels is `DOCUMENTED_CHANGES`, explained in ``docs/reference/png-tiff-jpeg.md``.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedImageError,
)
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
from medprotect.imaging.raster.chunks import Chunk, inflate_text, read_chunks, write_chunks
from medprotect.imaging.raster.embedded import XMP_KEYWORD, read_text
from medprotect.imaging.raster.exif import (
    compare_tags,
    read_exif_tags,
    remove_exif_pictures,
    remove_xmp_pictures,
)
from medprotect.imaging.raster.png import replace_pixels
from medprotect.imaging.raster.segments import APP0, COM, FRAMES, SOI, SOS, read_segments

DOCUMENTED_CHANGES: frozenset[str] = frozenset({"EXIF", "XMP", "APPn", "TrailingData"})
"""Names of what a protected file may differ in, as in ``docs/reference/png-tiff-jpeg.md``."""

_SUPPORTED_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_EXIF, _ICC, _XMP = b"Exif\0\0", b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0"


@dataclass(slots=True)
class JpegHeader:
    """What the segments of a JPEG file say, in the words of PNG where it has them.

    Attributes
    ----------
    frame : bytes
        The frame header (SOF), empty until it is read.
    exif, icc, xmp : bytes
        Metadata, empty where there is none.
    comments : list of bytes
        Without NUL.
    density : bytes
        Data of a pHYs chunk, empty where the file states none.
    others : int
        Number of application segments that a PNG file has no place for.
    """

    frame: bytes = b""
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    comments: list[bytes] = field(default_factory=list)
    density: bytes = b""
    others: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, and 3 for colour."""
        rows, columns, components = struct.unpack_from(">HHB", self.frame, 1)
        return (rows, columns) if components == 1 else (rows, columns, 3)


def _read_header(data: bytes) -> tuple[JpegHeader, int]:
    """Return what the segments say, and where the JPEG stream ends."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise NotAnImageError("not a JPEG file")
    header, end, scans, profiles = JpegHeader(), 0, 0, {}
    for segment in read_segments(data):
        marker, content, end = segment.marker, segment.data, segment.end
        if marker in FRAMES:
            _check_frame(header, marker, content)
            header.frame = content
        elif marker == SOS:
            scans += 1
        elif marker == COM:
            header.comments.append(content.rstrip(b"\0").replace(b"\0", b" "))
        elif content.startswith(_ICC) and marker == APP0 + 2 and len(content) > len(_ICC) + 2:
            profiles[content[len(_ICC)]] = content[len(_ICC) + 2 :]
        elif APP0 <= marker < APP0 + 16:
            _read_application(header, marker - APP0, content)
        elif marker == SOI and header.frame:
            raise CorruptImageError("the JPEG file is damaged")
    if not header.frame or not scans:
        raise CorruptImageError("the JPEG file holds no pixels")
    header.icc = b"".join(profiles[number] for number in sorted(profiles))
    return header, end


def _check_frame(header: JpegHeader, marker: int, frame: bytes) -> None:
    if header.frame or len(frame) < 6:
        raise CorruptImageError("the JPEG file does not have one frame")
    depth, rows, columns, components = struct.unpack_from(">BHHB", frame)
    if marker not in _SUPPORTED_FRAMES or depth != 8:
        raise UnsupportedImageError(
            "lossless, arithmetic or 12-bit JPEG is not protected; convert it to PNG or TIFF"
        )
    if components not in (1, 3):
        raise UnsupportedImageError("CMYK is not protected; convert the image to RGB")
    if not rows or not columns:
        raise CorruptImageError("the JPEG header states impossible values")
    if rows * columns > limits.IMAGE_PIXELS:
        raise ImageTooLargeError("more pixels than medprotect.limits allows")


def _read_application(header: JpegHeader, number: int, content: bytes) -> None:
    if number == 0 and content.startswith(b"JFIF\0") and len(content) >= 14:
        units, across, down = struct.unpack_from(">BHH", content, 7)
        per_metre = {1: 1 / 0.0254, 2: 100}.get(units, 0)
        if per_metre and across and down:
            pixels = (round(across * per_metre), round(down * per_metre))
            header.density = struct.pack(">IIB", *pixels, 1)
        elif across and down:
            header.density = struct.pack(">IIB", across, down, 0)
        header.others += len(content) > 14  # a thumbnail
    elif number == 1 and content.startswith(_EXIF) and not header.exif:
        header.exif = content[len(_EXIF) :]
    elif number == 1 and content.startswith(_XMP) and not header.xmp:
        header.xmp = content[len(_XMP) :]
    elif number != 14:  # Adobe's says only how the colours are encoded
        header.others += 1


def describe(stream: BinaryIO) -> Description:
    """Read the header from a seekable stream, without decoding pixels.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    stream.seek(0)
    return _describe(_read_header(stream.read(limits.FILE_BYTES))[0])


def _describe(header: JpegHeader) -> Description:
    shape = header.shape
    channels = 3 if len(shape) == 3 else 1
    traits = Traits(
        format="jpeg",
        photometric="RGB" if channels == 3 else "MONOCHROME2",
        channels=channels,
        rows=shape[0],
        columns=shape[1],
        compression="jpeg",
        lossy=True,
    )
    return Description(Role.IMAGE, "jpeg image", traits, output_suffix=".png")


def open_file(data: bytes) -> ImageFile:
    """Open a JPEG file whose description has role ``IMAGE``.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """
    return JpegFile(data)


class JpegFile:
    """One JPEG file.

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
        self._header, end = _read_header(data)
        self._data = data[:end]
        self._is_followed = bool(data[end:].strip(b"\0"))

    @property
    def description(self) -> Description:
        """What the header says."""
        return _describe(self._header)

    def images(self) -> Iterator[Image]:
        """Decode the one image as Pillow's libjpeg-turbo does; orientation is not applied.

        Raises
        ------
        CorruptImageError
            The pixels cannot be decoded in full.
        """
        yield Image(
            stored=self._decode(),
            lowest=0,
            highest=255,
            photometric="RGB" if len(self._header.shape) == 3 else "MONOCHROME2",
        )

    def _decode(self) -> NDArray[np.uint8]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with PillowImage.open(BytesIO(self._data), formats=["JPEG"]) as image:
                    stored = np.array(image)
        except PillowImage.DecompressionBombError as error:
            raise ImageTooLargeError("more pixels than the JPEG decoder allows") from error
        except MemoryError:
            raise
        except Exception as error:
            raise CorruptImageError("the pixels cannot be decoded in full") from error
        if stored.shape != self._header.shape or stored.dtype != np.uint8:
            raise CorruptImageError("the pixels are not what the JPEG header says")
        return stored

    def encode(self, changed: Sequence[Stored], derivation: Derivation) -> Encoded:
        """Return a PNG file with the pixels, EXIF, ICC profile, XMP, comments and density.

        Parameters
        ----------
        changed : sequence of Stored
            One array, of the shape and dtype of `images`.
        derivation : Derivation
            Not stated in the file.

        Raises
        ------
        ValueError
            Another number of arrays, another shape or dtype.
        """
        header = self._header
        if len(changed) != 1 or changed[0].shape != header.shape or changed[0].dtype != np.uint8:
            raise ValueError("one uint8 array of the image's shape is needed")
        notes = ["promoted_to_lossless"]
        exif, xmp = remove_exif_pictures(header.exif), remove_xmp_pictures(header.xmp)
        notes += ["exif_thumbnail_removed"] * (exif != header.exif)
        notes += ["xmp_thumbnail_removed"] * (xmp != header.xmp)
        notes += ["application_segments_removed"] * bool(header.others)
        notes += ["trailing_data_removed"] * self._is_followed
        chunks = _metadata_chunks(header, exif, xmp)
        return Encoded(write_chunks(replace_pixels(chunks, changed[0])), tuple(notes))


def _metadata_chunks(header: JpegHeader, exif: bytes, xmp: bytes) -> Iterator[Chunk]:
    rows, columns, *channels = header.shape
    colour = 2 if channels else 0
    yield Chunk("IHDR", struct.pack(">IIBBBBB", columns, rows, 8, colour, 0, 0, 0))
    if header.icc:
        yield Chunk("iCCP", b"ICC profile\0\0" + zlib.compress(header.icc, 6))
    if header.density:
        yield Chunk("pHYs", header.density)
    if exif:
        yield Chunk("eXIf", exif)
    if xmp:
        yield Chunk("iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp)
    for comment in header.comments:
        yield Chunk("tEXt", b"Comment\0" + comment)
    yield Chunk("IDAT", b"")
    yield Chunk("IEND", b"")


def changed_elements(original: bytes, protected: bytes) -> list[str]:
    """Name everything in which a JPEG file and its protected PNG differ but the pixels.

    Parameters
    ----------
    original, protected : bytes
        Two whole files: JPEG and PNG.

    Returns
    -------
    list of str
        EXIF tags as ``EXIF:Orientation``, ``EXIF`` where only its pictures differ; ``XMP``,
        ``ICC``, ``Comment``, ``Density``; ``APPn`` for application segments that went,
        ``TrailingData`` for what followed the JPEG stream; types of chunks that came.

    Raises
    ------
    NotAnImageError, UnsupportedImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    return [name for name, _ in _differences(original, protected)]


def undocumented_changes(original: bytes, protected: bytes) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes
        Two whole files: JPEG and PNG.
    """
    return [name for name, documented in _differences(original, protected) if not documented]


def _differences(original: bytes, protected: bytes) -> Iterator[tuple[str, bool]]:
    header, end = _read_header(original)
    chunks, tail = read_chunks(BytesIO(protected))
    after = {chunk.type: chunk.data for chunk in chunks}
    exif, xmp = after.pop("eXIf", b""), b""
    comments = []
    for keyword, text in (read_text(c) for c in chunks if c.type in ("tEXt", "iTXt")):
        if keyword == XMP_KEYWORD:
            xmp = text
        else:
            comments.append(text)
    for name in compare_tags(read_exif_tags(header.exif), read_exif_tags(exif)):
        yield name, False
    if exif != header.exif:
        yield "EXIF", exif == remove_exif_pictures(header.exif)
    if xmp != header.xmp:
        yield "XMP", xmp == remove_xmp_pictures(header.xmp)
    profile = after.pop("iCCP", b"").partition(b"\0")[2][1:]
    same: dict[str, tuple[Any, Any]] = {
        "ICC": (header.icc, inflate_text(profile) if profile else b""),
        "Comment": (header.comments, comments),
        "Density": (header.density, after.pop("pHYs", b"")),
    }
    yield from ((name, False) for name, (one, other) in same.items() if one != other)
    if header.others:
        yield "APPn", True
    if original[end:].strip(b"\0"):
        yield "TrailingData", True
    known = {"IHDR", "IDAT", "IEND", "tEXt", "iTXt"}
    yield from ((name, False) for name in sorted(after.keys() - known))
    if tail:
        yield "TrailingData", False
