"""The transfer syntaxes: one decoder and one encoder for each, whatever else is installed.

A lossy source is protected as one fixed decoder reads it, and written in the lossless syntax of
the same family: lossy encoding would erase the noise. Which libraries pydicom would pick depends
on what is installed, and they differ by one unit on lossy JPEG; so the choice is made here.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from medprotect.errors import CorruptImageError, MedprotectError, UnsupportedImageError
from medprotect.imaging.dicom.layout import Container, PixelLayout, sign_extend


@dataclass(frozen=True, slots=True)
class Codec:
    """How one encapsulated transfer syntax is read and written.

    Attributes
    ----------
    name : str
        The word for it in `medprotect.imaging.image.Traits`.
    target : str
        UID of the lossless syntax that is written; the same where it is lossless already.
    decode : callable
        ``decode(codestream, layout) -> Decoded``.
    encode : callable
        ``encode(cells, layout, precision) -> codestream``; cells in their lowest `precision` bits.
    lossy : bool
        Whether the syntax allows loss.
    method : str
        Lossy Image Compression Method (PS3.3 section C.7.6.1.1.5.1), "" where not lossy.
    """

    name: str
    target: str
    decode: Callable[[bytes, PixelLayout], "Decoded"]
    encode: Callable[[Container, PixelLayout, int], bytes]
    lossy: bool = False
    method: str = ""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded codestream.

    Attributes
    ----------
    cells : Container
        (H, W) or (H, W, 3), in the size of Bits Allocated; colour as `photometric_in_memory`.
    precision : int
        Bits per sample of the codestream.
    lossy : bool
        Whether the codestream itself says that it lost something.
    """

    cells: Container
    precision: int
    lossy: bool


JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_SPECTRAL_SELECTION = "1.2.840.10008.1.2.4.53"
JPEG_FULL_PROGRESSION = "1.2.840.10008.1.2.4.55"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"

NATIVE = {
    "1.2.840.10008.1.2": "none",
    "1.2.840.10008.1.2.1": "none",
    "1.2.840.10008.1.2.1.99": "Deflated",
    "1.2.840.10008.1.2.2": "none",
}
"""Syntaxes without a codec, and the word for their compression."""


def _fit(values: np.ndarray[Any, Any], layout: PixelLayout, precision: int) -> Container:
    """Return decoded values as cells, signs extended where the codestream is the narrower."""
    if values.shape != layout.shape:
        raise CorruptImageError("a compressed frame has another size than the header says")
    cells = values.astype(f"u{values.dtype.itemsize}", copy=False)
    if layout.signed and precision < 8 * cells.dtype.itemsize:
        cells = sign_extend(cells, precision)
    elif precision < 8 * cells.dtype.itemsize:
        cells = cells & cells.dtype.type((1 << precision) - 1)
    kind = "i" if layout.signed else "u"
    width = layout.bits_allocated // 8
    fitted: Container = cells.view(f"{kind}{cells.dtype.itemsize}").astype(f"{kind}{width}")
    return np.ascontiguousarray(fitted).view(f"u{width}")


def _narrow(cells: Container, precision: int) -> Container:
    """Return cells in the smallest type that holds `precision` bits, unused high bits cleared."""
    narrow = cells & cells.dtype.type((1 << precision) - 1)
    return np.ascontiguousarray(narrow.astype("u1" if precision <= 8 else "<u2"))


# JPEG: imagecodecs, with libjpeg-turbo ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _JpegFrame:
    """What the frame header of a JPEG or JPEG-LS codestream says (ITU-T T.81 B.2.2)."""

    process: int
    precision: int
    rows: int
    columns: int
    components: bytes
    near: int
    says_colour: bool


def _read_jpeg_header(codestream: bytes) -> _JpegFrame:
    frame, says_colour, pos = None, False, 2
    if codestream[:2] != b"\xff\xd8" or codestream[-16:].rfind(b"\xff\xd9") < 0:
        raise CorruptImageError("a JPEG frame lacks its beginning or its end")
    while pos + 4 <= len(codestream):
        if codestream[pos] != 0xFF:
            raise CorruptImageError("a JPEG frame has a damaged header")
        marker, length = struct.unpack_from(">xBH", codestream, pos)
        if marker == 0xFF:
            pos += 1
            continue
        body = codestream[pos + 4 : pos + 2 + length]
        if marker in (0xE0, 0xEE):
            says_colour |= body.startswith((b"JFIF", b"Adobe"))
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            frame = (marker, *struct.unpack_from(">BHHB", body), body[6::3])
        elif marker == 0xDA:
            break
        pos += 2 + length
    if frame is None:
        raise CorruptImageError("a JPEG frame has no frame header")
    process, precision, rows, columns, count, components = frame
    near = body[1 + 2 * body[0]] if process == 0xF7 and len(body) > 2 * body[0] + 1 else 0
    return _JpegFrame(process, precision, rows, columns, components[:count], near, says_colour)


def _check_jpeg(codestream: bytes, layout: PixelLayout) -> _JpegFrame:
    """Read the frame header, and check it before memory is taken for what it says."""
    frame = _read_jpeg_header(codestream)
    size = (frame.rows, frame.columns, len(frame.components))
    if size != (layout.rows, layout.columns, layout.samples):
        raise CorruptImageError("a JPEG frame has another size than the header says")
    if frame.precision > layout.bits_allocated:
        raise CorruptImageError("a JPEG frame has more bits than the header allocates")
    return frame


def _decode_jpeg(codestream: bytes, layout: PixelLayout) -> Decoded:
    import imagecodecs

    frame = _check_jpeg(codestream, layout)
    lossless = frame.process == 0xC3
    # libjpeg takes three components without any marker for YCbCr; the header knows better. In a
    # lossless frame nothing was transformed (PS3.5 section 8.2.1).
    is_rgb = layout.photometric == "RGB" and not frame.says_colour
    keep = layout.samples == 3 and (is_rgb or (lossless and layout.photometric != "RGB"))
    space = "YCBCR" if keep else None
    values = imagecodecs.jpeg8_decode(codestream, colorspace=space, outcolorspace=space)
    return Decoded(_fit(values, layout, frame.precision), frame.precision, not lossless)


def _encode_jpeg_lossless(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    import imagecodecs

    space = None
    if layout.samples == 3:
        space = "RGB" if layout.photometric == "RGB" else "YCBCR"
    encoded = imagecodecs.jpeg8_encode(
        _narrow(cells, precision),
        lossless=True,
        predictor=1,
        bitspersample=precision,
        colorspace=space,
        outcolorspace=space,
    )
    return bytes(encoded)


# JPEG-LS: pyjpegls, with CharLS -------------------------------------------------------------


def _decode_jpeg_ls(codestream: bytes, layout: PixelLayout) -> Decoded:
    import jpeg_ls

    frame = _check_jpeg(codestream, layout)
    data, info = jpeg_ls.decode_pixel_data(codestream)
    values = np.frombuffer(data, "u1" if frame.precision <= 8 else "<u2")
    if values.size != np.prod(layout.shape):
        raise CorruptImageError("a JPEG-LS frame has fewer pixels than the header says")
    if layout.samples == 3 and info["interleave_mode"] == 0:
        values = values.reshape(3, layout.rows, layout.columns).transpose(1, 2, 0)
    cells = _fit(values.reshape(layout.shape), layout, frame.precision)
    return Decoded(cells, frame.precision, frame.near > 0)


def _encode_jpeg_ls(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    import jpeg_ls

    encoded = jpeg_ls.encode_pixel_data(
        _narrow(cells, precision).tobytes(),
        rows=layout.rows,
        columns=layout.columns,
        samples_per_pixel=layout.samples,
        bits_stored=precision,
        planar_configuration=0,
    )
    return bytes(encoded)


# JPEG 2000 and HTJ2K: read by pylibjpeg-openjpeg, written by imagecodecs, with OpenJPEG and OpenJPH


def _decode_j2k(codestream: bytes, layout: PixelLayout) -> Decoded:
    from openjpeg.utils import decode, get_parameters

    info: dict[str, Any] = get_parameters(codestream)
    size = (info["rows"], info["columns"], info["samples_per_pixel"])
    if size != (layout.rows, layout.columns, layout.samples):
        raise CorruptImageError("a JPEG 2000 frame has another size than the header says")
    if info["precision"] > layout.bits_allocated:
        raise CorruptImageError("a JPEG 2000 frame has more bits than the header allocates")
    values = decode(codestream)
    precision = int(info["precision"])
    return Decoded(_fit(values, layout, precision), precision, _is_irreversible(codestream))


def _is_irreversible(codestream: bytes) -> bool:
    """Whether the first coding style segment names the 9-7 wavelet (ITU-T T.800 A.6.1)."""
    cod = codestream.find(b"\xff\x52")
    return 0 <= cod < len(codestream) - 13 and codestream[cod + 13] == 0


def _encode_j2k(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    import imagecodecs

    # Five times halved, as everybody does, or as often as the smaller side can be.
    halvings = min(5, min(layout.rows, layout.columns).bit_length() - 1)
    encoded = imagecodecs.jpeg2k_encode(
        _signed(cells, layout, precision),
        level=0,
        codecformat="j2k",
        reversible=True,
        bitspersample=precision,
        resolutions=halvings + 1,
        mct=layout.photometric == "YBR_RCT",
        numthreads=1,
    )
    return bytes(encoded)


def _encode_htj2k(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    import imagecodecs

    encoded = imagecodecs.htj2k_encode(
        _signed(cells, layout, precision),
        reversible=True,
        rgb=layout.photometric == "YBR_RCT" if layout.samples == 3 else None,
        tlm=True,
    )
    return bytes(encoded)


def _signed(cells: Container, layout: PixelLayout, precision: int) -> np.ndarray[Any, Any]:
    narrow = _narrow(cells, precision)
    return sign_extend(narrow, precision) if layout.signed else narrow


# RLE: pylibjpeg-rle -------------------------------------------------------------------------


def _check_rle(codestream: bytes, layout: PixelLayout) -> None:
    """Check that every segment expands to one byte plane (PS3.5 annex G), without expanding it.

    The decoder ends its thread with a panic where a run leads out of the plane.
    """
    planes = layout.samples * layout.bits_allocated // 8
    count, *offsets = struct.unpack_from("<16I", codestream)
    ends = [*offsets[1:planes], len(codestream)]
    if count != planes or offsets[0] != 64 or offsets[:planes] != sorted(offsets[:planes]):
        raise CorruptImageError("an RLE frame has another number of planes than the header says")
    for start, end in zip(offsets, ends, strict=False):
        pos, size = start, 0
        while pos < end and size < layout.rows * layout.columns:
            run = codestream[pos]
            # 0 to 127: as many literal bytes, and one; 129 to 255: one byte repeated; 128: nothing.
            size += run + 1 if run < 128 else (257 - run) % 129
            pos += run + 2 if run < 128 else 2 - (run == 128)
        if size != layout.rows * layout.columns or pos > end or end - pos > 1:
            raise CorruptImageError("an RLE frame has another size than the header says")


def _decode_rle(codestream: bytes, layout: PixelLayout) -> Decoded:
    from rle.rle import decode_frame

    _check_rle(codestream, layout)
    data = decode_frame(codestream, layout.rows * layout.columns, layout.bits_allocated, "<")
    if len(data) != layout.frame_bytes:
        raise CorruptImageError("an RLE frame has another size than the header says")
    planes = np.frombuffer(data, f"<u{layout.bits_allocated // 8}")
    values = planes.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    cells = np.ascontiguousarray(values.reshape(layout.shape))
    return Decoded(cells, layout.bits_allocated, lossy=False)


def _encode_rle(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    from rle.utils import encode_pixel_data

    encoded = encode_pixel_data(
        cells.astype(f"<u{layout.bits_allocated // 8}").tobytes(),
        byteorder="<",
        rows=layout.rows,
        columns=layout.columns,
        samples_per_pixel=layout.samples,
        bits_allocated=layout.bits_allocated,
    )
    return bytes(encoded)


def _lossy_jpeg(name: str) -> Codec:
    return Codec(name, JPEG_LOSSLESS_SV1, _decode_jpeg, _encode_jpeg_lossless, True, "ISO_10918_1")


CODECS = {
    JPEG_BASELINE: _lossy_jpeg("JPEG Baseline"),
    JPEG_EXTENDED: _lossy_jpeg("JPEG Extended"),
    JPEG_SPECTRAL_SELECTION: _lossy_jpeg("JPEG Spectral Selection"),
    JPEG_FULL_PROGRESSION: _lossy_jpeg("JPEG Full Progression"),
    JPEG_LOSSLESS: Codec("JPEG Lossless", JPEG_LOSSLESS, _decode_jpeg, _encode_jpeg_lossless),
    JPEG_LOSSLESS_SV1: Codec(
        "JPEG Lossless SV1", JPEG_LOSSLESS_SV1, _decode_jpeg, _encode_jpeg_lossless
    ),
    JPEG_LS_LOSSLESS: Codec("JPEG-LS Lossless", JPEG_LS_LOSSLESS, _decode_jpeg_ls, _encode_jpeg_ls),
    JPEG_LS_NEAR_LOSSLESS: Codec(
        "JPEG-LS Near-Lossless",
        JPEG_LS_LOSSLESS,
        _decode_jpeg_ls,
        _encode_jpeg_ls,
        True,
        "ISO_14495_1",
    ),
    JPEG_2000_LOSSLESS: Codec("JPEG 2000 Lossless", JPEG_2000_LOSSLESS, _decode_j2k, _encode_j2k),
    JPEG_2000: Codec(
        "JPEG 2000", JPEG_2000_LOSSLESS, _decode_j2k, _encode_j2k, True, "ISO_15444_1"
    ),
    HTJ2K_LOSSLESS: Codec("HTJ2K Lossless", HTJ2K_LOSSLESS, _decode_j2k, _encode_htj2k),
    HTJ2K_LOSSLESS_RPCL: Codec(
        "HTJ2K Lossless RPCL", HTJ2K_LOSSLESS_RPCL, _decode_j2k, _encode_htj2k
    ),
    HTJ2K: Codec("HTJ2K", HTJ2K_LOSSLESS, _decode_j2k, _encode_htj2k, True, "ISO_15444_15"),
    RLE_LOSSLESS: Codec("RLE Lossless", RLE_LOSSLESS, _decode_rle, _encode_rle),
}
"""The encapsulated syntaxes that are read and written."""


def photometric_in_memory(syntax: str, photometric: str) -> str:
    """Return the photometric interpretation of decoded frames.

    The transforms of JPEG 2000 are undone by its decoder; lossy JPEG in YCbCr is read as RGB,
    with the subsampled planes enlarged by the decoder.
    """
    codec = CODECS.get(syntax)
    if photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    if codec and codec.decode is _decode_jpeg and codec.lossy and photometric.startswith("YBR"):
        return "RGB"
    return photometric


def photometric_written(syntax: str, photometric: str) -> str:
    """Return the photometric interpretation that goes into the header of the protected file."""
    if photometric == "YBR_ICT":
        return "YBR_RCT"
    if photometric == "YBR_RCT":
        return photometric
    return photometric_in_memory(syntax, photometric)


def decode_frame(syntax: str, codestream: bytes, layout: PixelLayout) -> Decoded:
    """Decode one frame of an encapsulated syntax.

    Raises
    ------
    CorruptImageError
        The codestream is damaged or of another size than the header says.
    """
    try:
        return CODECS[syntax].decode(codestream, layout)
    except (MedprotectError, MemoryError):
        raise
    except Exception as error:  # the decoders raise what they like on damaged frames
        raise CorruptImageError("a compressed frame cannot be decoded") from error


def encode_frame(syntax: str, cells: Container, layout: PixelLayout, precision: int) -> bytes:
    """Encode one frame in an encapsulated, lossless syntax.

    Raises
    ------
    UnsupportedImageError
        The encoder does not take it: some need more than a handful of pixels.
    """
    try:
        return CODECS[syntax].encode(cells, layout, precision)
    except MemoryError:
        raise
    except Exception as error:  # the encoders raise what they like
        raise UnsupportedImageError(
            "a frame cannot be compressed again; convert the file to Explicit VR Little Endian"
        ) from error


def check_writable(syntax: str, layout: PixelLayout) -> None:
    """Check that pixels of this layout can be written in the lossless form of a syntax.

    Raises
    ------
    UnsupportedImageError
        There is no encoder.
    """
    compression_of(syntax)
    codec = CODECS.get(syntax)
    is_jpeg = codec is not None and codec.encode is _encode_jpeg_lossless
    is_ybr = photometric_written(syntax, layout.photometric).startswith("YBR")
    if is_jpeg and is_ybr and layout.bits_stored > 8:
        raise UnsupportedImageError(
            "JPEG Lossless in YBR_FULL of more than 8 bits is not protected; convert it to RGB"
        )


def compression_of(syntax: str) -> str:
    """Return the word for a transfer syntax.

    Raises
    ------
    UnsupportedImageError
        There is no way to write it without loss: video, JPIP, and what DICOM may add later.
    """
    if syntax in NATIVE:
        return NATIVE[syntax]
    if syntax in CODECS:
        return CODECS[syntax].name
    raise UnsupportedImageError(
        "the transfer syntax (video, JPIP or another without a lossless encoder) is not protected;"
        " convert the file to Explicit VR Little Endian first"
    )
