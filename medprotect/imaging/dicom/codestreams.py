"""Codestreams in and out of cells, with the one library that each kind is given to.

What goes wrong in a library comes out as whatever it raises; `medprotect.imaging.dicom.codecs`
turns that into errors of ours.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from medprotect.errors import CorruptImageError
from medprotect.imaging.dicom.layout import Container, PixelLayout, sign_extend


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded codestream.

    Attributes
    ----------
    cells : Container
        (H, W) or (H, W, 3), in the size of Bits Allocated.
    precision : int
        Bits per sample of the codestream.
    lossy : bool
        Whether the codestream itself says that it lost something.
    """

    cells: Container
    precision: int
    lossy: bool


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


def decode_jpeg(codestream: bytes, layout: PixelLayout) -> Decoded:
    """Decode JPEG, lossy or lossless; lossy YCbCr comes as RGB."""
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


def encode_jpeg_lossless(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    """Encode JPEG Lossless with the first-order predictor (SV1)."""
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


def decode_jpeg_ls(codestream: bytes, layout: PixelLayout) -> Decoded:
    """Decode JPEG-LS."""
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


def encode_jpeg_ls(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    """Encode JPEG-LS without loss."""
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


def decode_j2k(codestream: bytes, layout: PixelLayout) -> Decoded:
    """Decode JPEG 2000 or HTJ2K; YBR_RCT and YBR_ICT come as RGB."""
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


def encode_j2k(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    """Encode JPEG 2000 without loss; RGB through the reversible transform if YBR_RCT."""
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


def encode_htj2k(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    """Encode HTJ2K without loss; colour as `encode_j2k`."""
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

# 0 to 127: as many literal bytes, and one; 129 to 255: one byte repeated; 128: nothing.
_RUN_WRITES = tuple(run + 1 if run < 128 else (257 - run) % 129 for run in range(256))
_RUN_TAKES = tuple(run + 2 if run < 128 else 2 - (run == 128) for run in range(256))
"""How many bytes a run expands to, by its first byte, and how many it takes."""


def _check_rle(codestream: bytes, layout: PixelLayout) -> None:
    """Check that every segment expands to one byte plane (PS3.5 annex G), without expanding it.

    The decoder ends its thread with a panic where a run leads out of the plane.
    """
    planes, plane = layout.samples * layout.bits_allocated // 8, layout.rows * layout.columns
    count, *offsets = struct.unpack_from("<16I", codestream)
    ends = [*offsets[1:planes], len(codestream)]
    if count != planes or offsets[0] != 64 or offsets[:planes] != sorted(offsets[:planes]):
        raise CorruptImageError("an RLE frame has another number of planes than the header says")
    for start, end in zip(offsets, ends, strict=False):
        pos, size = start, 0
        while pos < end and size < plane:
            run = codestream[pos]
            size += _RUN_WRITES[run]
            pos += _RUN_TAKES[run]
        if size != plane or pos > end or end - pos > 1:
            raise CorruptImageError("an RLE frame has another size than the header says")


def decode_rle(codestream: bytes, layout: PixelLayout) -> Decoded:
    """Decode RLE (PS3.5 annex G)."""
    from rle.rle import decode_frame

    _check_rle(codestream, layout)
    data = decode_frame(codestream, layout.rows * layout.columns, layout.bits_allocated, "<")
    if len(data) != layout.frame_bytes:
        raise CorruptImageError("an RLE frame has another size than the header says")
    planes = np.frombuffer(data, f"<u{layout.bits_allocated // 8}")
    values = planes.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    cells = np.ascontiguousarray(values.reshape(layout.shape))
    return Decoded(cells, layout.bits_allocated, lossy=False)


def encode_rle(cells: Container, layout: PixelLayout, precision: int) -> bytes:
    """Encode RLE; whole cells whatever the precision."""
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
