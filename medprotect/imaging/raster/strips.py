"""The pixels of a TIFF page: strips and tiles, decoded and encoded one by one."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError, UnsupportedImageError
from medprotect.imaging.raster.directories import Directory, Structure
from medprotect.imaging.raster.segments import FRAMES, read_segments

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, IMAGE_DEPTH = 338, 339, 347, 32997

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, ZSTD = 1, 5, 7, 8, 32946, 32773, 50000
COMPRESSIONS = {
    NONE: "none",
    LZW: "lzw",
    JPEG: "jpeg",
    DEFLATE: "deflate",
    OLD_DEFLATE: "deflate",
    PACKBITS: "packbits",
    ZSTD: "zstd",
}
_MAX_RATIOS = {NONE: 1, LZW: 4096, JPEG: 1 << 16, PACKBITS: 64, ZSTD: 1 << 20}
_PHOTOMETRIC = {0: "MONOCHROME1", 1: "MONOCHROME2", 2: "RGB", 6: "RGB"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_WIDTHS = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (32, 64)}


@dataclass(frozen=True, slots=True)
class Page:
    """How the pixels of one page lie in the file.

    Attributes
    ----------
    directory : Directory
        Of the page.
    rows, columns, samples : int
        Matrix, and samples per pixel: 1 or 3, one more with alpha.
    dtype : numpy.dtype
        Of a sample, in the file's byte order.
    compression, predictor : int
        As in the tags.
    photometric : str
        In DICOM's words, of the decoded pixels.
    is_ycbcr : bool
        Whether the pixels lie as YCbCr in JPEG streams.
    segment_rows, segment_columns : int
        Size of a strip or tile.
    tiled : bool
        Whether the last tiles are filled up.
    offsets, sizes : tuple of int
        Where the strips or tiles lie.
    """

    directory: Directory
    rows: int
    columns: int
    samples: int
    dtype: np.dtype[Any]
    compression: int
    predictor: int
    photometric: str
    is_ycbcr: bool
    segment_rows: int
    segment_columns: int
    tiled: bool
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Samples without alpha."""
        return 3 if self.samples > 2 else 1

    @property
    def data_bytes(self) -> int:
        """Size of the decoded pixels."""
        return self.rows * self.columns * self.samples * self.dtype.itemsize

    def boxes(self) -> Iterator[tuple[int, int, int]]:
        """Yield first row, first column and number of rows of each strip or tile."""
        for row in range(0, self.rows, self.segment_rows):
            rows = self.segment_rows if self.tiled else min(self.segment_rows, self.rows - row)
            for column in range(0, self.columns, self.segment_columns):
                yield row, column, rows


def read_page(structure: Structure, directory: Directory, file_bytes: int) -> Page:
    """Read and check the layout of a page, before anything is decoded.

    Raises
    ------
    UnsupportedImageError, CorruptImageError, ImageTooLargeError
        The file is rejected, with this reason.
    """

    def get(tag: int, default: int) -> int:
        values = structure.integers(directory.entries.get(tag))
        return values[0] if values else default

    rows, columns = get(LENGTH, 0), get(WIDTH, 0)
    if not rows or not columns:
        raise CorruptImageError("a TIFF page states no size")
    if rows * columns > limits.IMAGE_PIXELS:
        raise ImageTooLargeError("more pixels than medprotect.limits allows")
    compression, samples = get(COMPRESSION, NONE), get(SAMPLES, 1)
    _check_kind(get(FILL_ORDER, 1), get(IMAGE_DEPTH, 1), compression)
    if get(PLANAR, 1) != 1 and samples > 1:
        raise UnsupportedImageError("channels in separate planes; save the image interleaved")
    tiled = TILE_OFFSETS in directory.entries
    page = Page(
        directory=directory,
        rows=rows,
        columns=columns,
        samples=samples,
        dtype=_read_dtype(structure, directory),
        compression=compression,
        predictor=get(PREDICTOR, 1) if compression not in (NONE, JPEG, PACKBITS) else 1,
        photometric=_read_photometric(structure, directory, compression, samples),
        is_ycbcr=get(PHOTOMETRIC, 0) == 6,
        segment_rows=get(TILE_LENGTH, 0) if tiled else min(get(ROWS_PER_STRIP, rows), rows),
        segment_columns=get(TILE_WIDTH, 0) if tiled else columns,
        tiled=tiled,
        offsets=structure.integers(directory.entries.get(TILE_OFFSETS if tiled else STRIP_OFFSETS)),
        sizes=structure.integers(directory.entries.get(TILE_BYTES if tiled else STRIP_BYTES)),
    )
    _check_page(page, structure.order, file_bytes)
    return page


def _check_kind(fill_order: int, depth: int, compression: int) -> None:
    if compression not in COMPRESSIONS:
        raise UnsupportedImageError("a TIFF compression that is not protected; save with deflate")
    if fill_order != 1 or depth != 1:
        raise UnsupportedImageError("reversed bits or a volume in one TIFF page; save it plainly")


def _read_dtype(structure: Structure, directory: Directory) -> np.dtype[Any]:
    bits = set(structure.integers(directory.entries.get(BITS))) or {1}
    formats = set(structure.integers(directory.entries.get(SAMPLE_FORMAT))) or {1}
    kind = _KINDS.get(formats.pop(), "") if len(formats) == 1 else ""
    width = bits.pop() if len(bits) == 1 else 0
    if width not in _WIDTHS.get(kind, ()):
        raise UnsupportedImageError(
            "only samples of 8, 16 and 32 bits are protected; save the image with these"
        )
    return np.dtype(f"{kind}{width // 8}").newbyteorder("<" if structure.order == "<" else ">")


def _read_photometric(
    structure: Structure, directory: Directory, compression: int, samples: int
) -> str:
    values = structure.integers(directory.entries.get(PHOTOMETRIC))
    code = values[0] if values else -1
    extra = structure.integers(directory.entries.get(EXTRA_SAMPLES))
    colours = 1 if code in (0, 1) else 3
    if code not in _PHOTOMETRIC or (code == 6 and compression != JPEG):
        raise UnsupportedImageError("only grey and RGB are protected; convert the TIFF image")
    if samples != colours + len(extra) or extra not in ((), (1,), (2,)):
        raise UnsupportedImageError("samples besides grey, RGB and alpha; remove them")
    if compression == JPEG and extra:
        raise UnsupportedImageError("JPEG with alpha in TIFF; save with deflate")
    return _PHOTOMETRIC[code]


def _check_page(page: Page, order: str, file_bytes: int) -> None:
    if page.segment_rows < 1 or page.segment_columns < 1:
        raise CorruptImageError("a TIFF page states impossible strips or tiles")
    if page.segment_rows * page.segment_columns > limits.IMAGE_PIXELS:
        raise ImageTooLargeError("larger tiles than medprotect.limits allows")
    down = -(-page.rows // page.segment_rows)
    count = down * -(-page.columns // page.segment_columns)
    if len(page.offsets) != count or len(page.sizes) != count:
        raise CorruptImageError("a TIFF page has another number of strips or tiles than it needs")
    if not all(page.sizes) or not all(page.offsets):
        raise UnsupportedImageError("a sparse TIFF page; save the image in full")
    if any(at + n > file_bytes for at, n in zip(page.offsets, page.sizes, strict=True)):
        raise CorruptImageError("the TIFF file is cut short")
    if page.data_bytes > sum(page.sizes) * _MAX_RATIOS.get(page.compression, 1032):
        raise CorruptImageError("a TIFF page holds fewer pixels than it says")
    predictors = {"f": (1, 3) if order == "<" else (1,)}.get(page.dtype.kind, (1, 2))
    if page.predictor not in predictors:
        raise UnsupportedImageError("a TIFF predictor that is not protected; save without it")
    if page.compression == JPEG and page.dtype != np.uint8:
        raise UnsupportedImageError("12-bit JPEG in TIFF is not protected; save with deflate")


def decode_page(data: bytes, page: Page, tables: bytes) -> NDArray[Any]:
    """Return all samples in native byte order, (rows, columns) or (rows, columns, samples).

    Parameters
    ----------
    data : bytes
        The whole file.
    page : Page
        Its layout.
    tables : bytes
        JPEGTables, for JPEG only.

    Raises
    ------
    CorruptImageError
        A strip or tile cannot be decoded in full.
    """
    shape = (page.rows, page.columns, page.samples)
    pixels = np.empty(shape, page.dtype.newbyteorder("="))
    for (row, column, rows), at, size in zip(page.boxes(), page.offsets, page.sizes, strict=True):
        segment = _decode_segment(data[at : at + size], page, rows, tables)
        box = pixels[row : row + rows, column : column + page.segment_columns]
        box[...] = segment[: box.shape[0], : box.shape[1]]
    return pixels if page.samples > 1 else pixels[..., 0]


def _decode_segment(raw: bytes, page: Page, rows: int, tables: bytes) -> NDArray[Any]:
    shape = (rows, page.segment_columns, page.samples)
    try:
        if page.compression == JPEG:
            segment: NDArray[Any] = _decode_jpeg(raw, page, tables)
            return segment.reshape(-1, *shape[1:])
        count = rows * page.segment_columns * page.samples
        full = page.segment_rows * page.segment_columns * page.samples * page.dtype.itemsize
        segment = np.frombuffer(_inflate(raw, page.compression, full), page.dtype, count)
        segment = segment.reshape(shape).astype(page.dtype.newbyteorder("="))
        if page.predictor == 2:
            segment = imagecodecs.delta_decode(segment, axis=1)
        elif page.predictor == 3:
            segment = imagecodecs.floatpred_decode(segment, axis=1)
    except (CorruptImageError, MemoryError):
        raise
    except Exception as error:
        raise CorruptImageError("a strip or tile cannot be decoded in full") from error
    return segment


def _decode_jpeg(raw: bytes, page: Page, tables: bytes) -> Any:
    # Whole, or an error: the decoder would fill what is missing. And no larger than a tile.
    for segment in read_segments(raw):
        if segment.marker in FRAMES:
            _, rows, columns, _ = struct.unpack_from(">BHHB", segment.data)
            if columns != page.segment_columns or rows > page.segment_rows:
                raise CorruptImageError("a strip or tile is not of the size that its page says")
    # TIFF Technical Note 2: the tag says whether the streams hold YCbCr, unless they say so (JFIF).
    says_so = b"JFIF\0" in raw[:32] or page.samples == 1
    colours = None if says_so else "YCBCR" if page.is_ycbcr else "RGB"
    return imagecodecs.jpeg8_decode(
        raw,
        tables=tables or None,
        colorspace=colours,
        outcolorspace="RGB" if page.samples == 3 else "GRAYSCALE",
    )


def _inflate(raw: bytes, compression: int, most: int) -> bytes:
    if compression == NONE:
        return raw
    if compression in (DEFLATE, OLD_DEFLATE):
        return zlib.decompressobj().decompress(raw, most)
    decode = {
        LZW: imagecodecs.lzw_decode,
        PACKBITS: imagecodecs.packbits_decode,
        ZSTD: imagecodecs.zstd_decode,
    }[compression]
    return bytes(decode(raw, out=most) if compression != PACKBITS else decode(raw))


def encode_segments(page: Page, pixels: NDArray[Any]) -> Iterator[bytes]:
    """Yield each strip or tile, encoded as the page's are; those in JPEG as deflate.

    Parameters
    ----------
    page : Page
        The layout.
    pixels : NDArray
        (rows, columns) or (rows, columns, samples), native byte order.
    """
    pixels = pixels.reshape(page.rows, page.columns, page.samples)
    for row, column, rows in page.boxes():
        box = pixels[row : row + rows, column : column + page.segment_columns]
        missing = (rows - box.shape[0], page.segment_columns - box.shape[1])
        # Filled up with the last row and column, which compresses well and adds nothing clean.
        segment = np.pad(box, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        segment = np.ascontiguousarray(segment)
        if page.predictor == 2:
            segment = imagecodecs.delta_encode(segment, axis=1)
        elif page.predictor == 3:
            segment = imagecodecs.floatpred_encode(segment, axis=1)
        lines = [line.tobytes() for line in segment.astype(page.dtype)]
        yield _deflate(lines, page.compression)


def _deflate(lines: list[bytes], compression: int) -> bytes:
    raw = b"".join(lines)
    if compression == NONE:
        return raw
    if compression == PACKBITS:  # line by line, TIFF 6.0 section 9
        return b"".join(imagecodecs.packbits_encode(line) for line in lines)
    if compression in (DEFLATE, OLD_DEFLATE, JPEG):
        return zlib.compress(raw, 6)
    encode = {
        LZW: imagecodecs.lzw_encode,
        ZSTD: imagecodecs.zstd_encode,
    }[compression]
    return bytes(encode(raw))
