"""The transfer syntaxes: one decoder and one encoder for each, whatever else is installed.

A lossy source is protected as one fixed decoder reads it, and written in the lossless syntax of
the same family: lossy encoding would erase the noise. Which libraries pydicom would pick depends
on what is installed, and they differ by one unit on lossy JPEG; so the choice is made here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from medprotect.errors import CorruptImageError, MedprotectError, UnsupportedImageError
from medprotect.imaging.dicom.codestreams import (
    Decoded,
    decode_j2k,
    decode_jpeg,
    decode_jpeg_ls,
    decode_rle,
    encode_htj2k,
    encode_j2k,
    encode_jpeg_lossless,
    encode_jpeg_ls,
    encode_rle,
)
from medprotect.imaging.dicom.layout import Container, PixelLayout


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
    decode: Callable[[bytes, PixelLayout], Decoded]
    encode: Callable[[Container, PixelLayout, int], bytes]
    lossy: bool = False
    method: str = ""


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


def _lossy_jpeg(name: str) -> Codec:
    return Codec(name, JPEG_LOSSLESS_SV1, decode_jpeg, encode_jpeg_lossless, True, "ISO_10918_1")


CODECS = {
    JPEG_BASELINE: _lossy_jpeg("JPEG Baseline"),
    JPEG_EXTENDED: _lossy_jpeg("JPEG Extended"),
    JPEG_SPECTRAL_SELECTION: _lossy_jpeg("JPEG Spectral Selection"),
    JPEG_FULL_PROGRESSION: _lossy_jpeg("JPEG Full Progression"),
    JPEG_LOSSLESS: Codec("JPEG Lossless", JPEG_LOSSLESS, decode_jpeg, encode_jpeg_lossless),
    JPEG_LOSSLESS_SV1: Codec(
        "JPEG Lossless SV1", JPEG_LOSSLESS_SV1, decode_jpeg, encode_jpeg_lossless
    ),
    JPEG_LS_LOSSLESS: Codec("JPEG-LS Lossless", JPEG_LS_LOSSLESS, decode_jpeg_ls, encode_jpeg_ls),
    JPEG_LS_NEAR_LOSSLESS: Codec(
        "JPEG-LS Near-Lossless",
        JPEG_LS_LOSSLESS,
        decode_jpeg_ls,
        encode_jpeg_ls,
        True,
        "ISO_14495_1",
    ),
    JPEG_2000_LOSSLESS: Codec("JPEG 2000 Lossless", JPEG_2000_LOSSLESS, decode_j2k, encode_j2k),
    JPEG_2000: Codec("JPEG 2000", JPEG_2000_LOSSLESS, decode_j2k, encode_j2k, True, "ISO_15444_1"),
    HTJ2K_LOSSLESS: Codec("HTJ2K Lossless", HTJ2K_LOSSLESS, decode_j2k, encode_htj2k),
    HTJ2K_LOSSLESS_RPCL: Codec(
        "HTJ2K Lossless RPCL", HTJ2K_LOSSLESS_RPCL, decode_j2k, encode_htj2k
    ),
    HTJ2K: Codec("HTJ2K", HTJ2K_LOSSLESS, decode_j2k, encode_htj2k, True, "ISO_15444_15"),
    RLE_LOSSLESS: Codec("RLE Lossless", RLE_LOSSLESS, decode_rle, encode_rle),
}
"""The encapsulated syntaxes that are read and written."""


def photometric_in_memory(syntax: str, photometric: str) -> str:
    """Return the photometric interpretation of decoded frames.

    The transforms of JPEG 2000 are undone by its decoder; lossy JPEG in YCbCr is read as RGB,
    with the subsampled planes enlarged by the decoder. Native frames with halved chroma are
    expanded when they are read.
    """
    codec = CODECS.get(syntax)
    if syntax in NATIVE and photometric == "YBR_FULL_422":
        return "YBR_FULL"
    if photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    if codec and codec.decode is decode_jpeg and codec.lossy and photometric.startswith("YBR"):
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
    if codec and layout.bits_allocated == 32 and codec.encode is not encode_rle:
        raise UnsupportedImageError(
            "pixels of 32 bits are protected only uncompressed or in RLE; convert the file to"
            " Explicit VR Little Endian"
        )
    is_jpeg = codec is not None and codec.encode is encode_jpeg_lossless
    is_ybr = photometric_written(syntax, layout.photometric).startswith("YBR")
    if is_jpeg and is_ybr and layout.bits_stored > 8:
        raise UnsupportedImageError(
            "JPEG Lossless in YBR_FULL of more than 8 bits is not protected; convert it to RGB,"
            " and the plan says which pipeline takes that"
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
        " convert the file to Explicit VR Little Endian, and the plan says which pipeline takes it"
    )
