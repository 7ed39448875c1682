"""Every codec writes what it was given, in any depth; every lossy source is promoted."""

import io
import struct
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from medprotect.errors import CorruptImageError, UnsupportedImageError
from medprotect.imaging import dicom
from medprotect.imaging.dicom import codecs
from medprotect.imaging.dicom.layout import PixelLayout

from .conftest import DERIVATION, named, protect, read, stored, write

Shipped = Callable[[str], bytes]
Made = Callable[..., bytes]

LOSSLESS = [uid for uid, codec in codecs.CODECS.items() if not codec.lossy]


def layout_of(
    shape: tuple[int, ...], bits: int, *, signed: bool = False, photometric: str = "MONOCHROME2"
) -> PixelLayout:
    allocated = 8 if bits <= 8 else 16
    samples = 3 if len(shape) == 3 else 1
    return PixelLayout(
        *shape[:2], 1, samples, allocated, bits, bits - 1, signed, False, photometric
    )


def random_cells(layout: PixelLayout, seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).integers(
        layout.lowest, layout.highest, layout.shape, endpoint=True
    )
    width = layout.bits_allocated // 8
    return values.astype(f"{'i' if layout.signed else 'u'}{width}").view(f"u{width}")


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("bits", [2, 7, 8, 9, 10, 12, 13, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_grey_cells_of_any_depth_come_back(syntax: str, bits: int, signed: bool) -> None:
    layout = layout_of((37, 51), bits, signed=signed)
    cells = random_cells(layout)
    codestream = codecs.CODECS[syntax].encode(cells, layout, bits)
    decoded = codecs.decode_frame(syntax, codestream, layout)
    np.testing.assert_array_equal(decoded.cells, cells)
    assert not decoded.lossy


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_RCT"])
@pytest.mark.parametrize("bits", [8, 16])
def test_colour_cells_come_back(syntax: str, photometric: str, bits: int) -> None:
    layout = layout_of((37, 51, 3), bits, photometric=photometric)
    if syntax in (codecs.JPEG_LOSSLESS, codecs.JPEG_LOSSLESS_SV1):
        if photometric == "YBR_RCT":
            pytest.skip("no transform of JPEG 2000 in JPEG")
        if photometric == "YBR_FULL" and bits > 8:
            with pytest.raises(UnsupportedImageError, match="more than 8 bits"):
                codecs.check_writable(syntax, layout)
            return
    codecs.check_writable(syntax, layout)
    cells = random_cells(layout)
    codestream = codecs.CODECS[syntax].encode(cells, layout, bits)
    decoded = codecs.decode_frame(syntax, codestream, layout)
    np.testing.assert_array_equal(decoded.cells, cells)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3, 3)])
def test_odd_shapes_come_back(syntax: str, shape: tuple[int, ...]) -> None:
    layout = layout_of(shape, 8, photometric="RGB" if len(shape) == 3 else "MONOCHROME2")
    cells = random_cells(layout)
    try:
        codestream = codecs.encode_frame(syntax, cells, layout, 8)
    except UnsupportedImageError:
        assert syntax == codecs.JPEG_LS_LOSSLESS, "CharLS wants more than a handful of pixels"
        assert cells.size < 20
        return
    np.testing.assert_array_equal(codecs.decode_frame(syntax, codestream, layout).cells, cells)


@pytest.mark.parametrize("syntax", [uid for uid in LOSSLESS if uid != codecs.RLE_LOSSLESS])
def test_bits_above_the_stored_ones_survive_compression(made: Made, syntax: str) -> None:
    """An overlay embedded in bit 15 of 12-bit pixels (retired, PS3.5 section 8.1.1)."""
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 4096, (32, 40)).astype("u2") | (rng.integers(0, 2, (32, 40)) << 15)
    native = made(cells.astype("<u2"), BitsStored=12, HighBit=11)
    layout = layout_of((32, 40), 12)
    frame = codecs.CODECS[syntax].encode(cells.astype("u2"), layout, 16)
    data = compressed(native, syntax, [frame])
    changed, encoded = protect(data)
    assert changed[0].max() < 4096
    codestream = next(generate_frames(read(encoded.data).PixelData, number_of_frames=1))
    found = codecs.decode_frame(syntax, codestream, layout).cells
    np.testing.assert_array_equal(found >> 12, cells >> 12)
    np.testing.assert_array_equal(found & 0xFFF, changed[0])


def compressed(native: bytes, syntax: str, frames: list[bytes], **elements: Any) -> bytes:
    dataset = read(native)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return write(dataset)


LOSSY = {
    "JPEG-lossy.dcm": codecs.JPEG_LOSSLESS_SV1,
    "SC_rgb_dcmtk_+eb+cy+np.dcm": codecs.JPEG_LOSSLESS_SV1,
    "SC_rgb_jls_lossy_sample.dcm": codecs.JPEG_LS_LOSSLESS,
    "JPEGLSNearLossless_16.dcm": codecs.JPEG_LS_LOSSLESS,
    "JPEG2000.dcm": codecs.JPEG_2000_LOSSLESS,
    "693_J2KI.dcm": codecs.JPEG_2000_LOSSLESS,
}


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_source_becomes_lossless_and_goes_on_saying_that_it_was_lossy(
    shipped: Shipped, name: str
) -> None:
    data = shipped(name)
    description = dicom.describe(io.BytesIO(data))
    assert description.traits is not None
    assert description.traits.lossy
    _, encoded = protect(data)
    before, after = read(data), read(encoded.data)
    assert "promoted_to_lossless" in encoded.notes
    assert LOSSY[name] == after.file_meta.TransferSyntaxUID
    assert after.LossyImageCompression == "01"
    assert after.LossyImageCompressionRatio
    if before.get("LossyImageCompression") == "01":
        ratio = before.get("LossyImageCompressionRatio")
        assert after.LossyImageCompressionRatio == ratio
    traits = dicom.describe(io.BytesIO(encoded.data)).traits
    assert traits is not None
    assert not traits.lossy


def test_a_lossless_codestream_under_a_syntax_that_allows_loss_is_not_called_lossy(
    made: Made,
) -> None:
    cells = np.arange(64 * 64, dtype="<u2").reshape(64, 64)
    layout = layout_of(cells.shape, 16)
    for syntax, lossless in (
        (codecs.JPEG_2000, codecs.JPEG_2000_LOSSLESS),
        (codecs.JPEG_LS_NEAR_LOSSLESS, codecs.JPEG_LS_LOSSLESS),
    ):
        frame = codecs.CODECS[lossless].encode(cells, layout, 16)
        data = compressed(made(cells), syntax, [frame])
        _, encoded = protect(data)
        after = read(encoded.data)
        assert lossless == after.file_meta.TransferSyntaxUID
        assert "LossyImageCompression" not in after


def test_the_ratio_and_method_of_a_lossy_source_are_stated(made: Made) -> None:
    cells = np.full((64, 64), 100, "u1")
    frame = bytes(imagecodecs.jpeg8_encode(cells, level=80))
    data = compressed(made(cells), codecs.JPEG_BASELINE, [frame])
    _, encoded = protect(data)
    after = read(encoded.data)
    size = len(read(data).PixelData) + 8 - 8
    assert float(after.LossyImageCompressionRatio) == pytest.approx(64 * 64 / size, abs=0.2)
    assert after.LossyImageCompressionMethod == "ISO_10918_1"
    assert dicom.undocumented_changes(data, encoded.data) == []


@pytest.mark.parametrize("name", ["SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_small_odd_jpeg.dcm"])
def test_ycbcr_of_a_lossy_jpeg_is_the_rgb_that_pillow_shows(shipped: Shipped, name: str) -> None:
    data = shipped(name)
    codestream = next(generate_frames(read(data).PixelData, number_of_frames=1))
    expected = np.asarray(Picture.open(io.BytesIO(codestream)).convert("RGB"))
    (image,) = dicom.open_file(data).images()
    assert image.photometric == "RGB"
    np.testing.assert_array_equal(image.stored, expected)
    _, encoded = protect(data)
    assert read(encoded.data).PhotometricInterpretation == "RGB"
    assert "PhotometricInterpretation" in dicom.changed_elements(data, encoded.data)


def test_rgb_in_a_jpeg_without_markers_is_left_alone(made: Made) -> None:
    """libjpeg takes three unmarked components for YCbCr; the header knows better."""
    cells = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
    cells = cells.astype("u1")
    frame = imagecodecs.jpeg8_encode(
        cells, 100, colorspace="YCBCR", outcolorspace="YCBCR", subsampling="444"
    )
    start = frame.index(b"\xff\xe0")
    length = int.from_bytes(frame[start + 2 : start + 4], "big")
    bare = bytes(frame[:start] + frame[start + 2 + length :])
    data = compressed(made(cells, samples=3), codecs.JPEG_BASELINE, [bare])
    (found,) = stored(data)
    assert np.abs(found.astype(int) - cells).max() <= 2


def test_colour_of_jpeg_2000_keeps_its_reversible_transform(shipped: Shipped) -> None:
    data = shipped("examples_jpeg2k.dcm")
    (image,) = dicom.open_file(data).images()
    assert image.photometric == "RGB"
    encoded = dicom.open_file(data).encode([image.stored], DERIVATION)
    after = read(encoded.data)
    assert after.PhotometricInterpretation == "YBR_RCT"
    codestream = next(generate_frames(after.PixelData, number_of_frames=1))
    cod = codestream.index(b"\xff\x52")
    assert codestream[cod + 8] == 1, "multiple component transformation"
    assert len(encoded.data) < 1.5 * len(data)


def test_high_throughput_jpeg_2000_goes_through(made: Made) -> None:
    cells = np.random.default_rng(0).integers(0, 4096, (3, 64, 48)).astype("<u2")
    layout = layout_of(cells.shape[1:], 12)
    for syntax, target in (
        (codecs.HTJ2K_LOSSLESS, codecs.HTJ2K_LOSSLESS),
        (codecs.HTJ2K_LOSSLESS_RPCL, codecs.HTJ2K_LOSSLESS_RPCL),
        (codecs.HTJ2K, codecs.HTJ2K_LOSSLESS),
    ):
        frames = [codecs.CODECS[target].encode(frame, layout, 12) for frame in cells]
        data = compressed(made(cells, frames=3, BitsStored=12, HighBit=11), syntax, frames)
        changed, encoded = protect(data)
        np.testing.assert_array_equal(stored(encoded.data), changed)
        assert target == read(encoded.data).file_meta.TransferSyntaxUID


@pytest.mark.parametrize("syntax", list(codecs.CODECS))
def test_frames_that_are_not_what_the_header_says_are_corrupt(syntax: str) -> None:
    layout = layout_of((40, 40), 8)
    target = codecs.CODECS[syntax].target
    larger = layout_of((41, 40), 8)
    frame = codecs.CODECS[target].encode(random_cells(larger), larger, 8)
    damaged = [frame, b"", frame[: len(frame) // 2], b"\0" * 100, frame[:20], b"\xff" * 100]
    for codestream in damaged:
        with pytest.raises(CorruptImageError):
            codecs.decode_frame(syntax, codestream, layout)


@pytest.mark.parametrize(
    "syntax", [codecs.JPEG_LOSSLESS, codecs.JPEG_2000, codecs.JPEG_LS_LOSSLESS]
)
def test_frames_with_more_bits_than_allocated_are_corrupt(syntax: str) -> None:
    deep = layout_of((40, 40), 12)
    frame = codecs.CODECS[codecs.CODECS[syntax].target].encode(random_cells(deep), deep, 12)
    with pytest.raises(CorruptImageError, match="more bits"):
        codecs.decode_frame(syntax, frame, layout_of((40, 40), 8))


def test_an_overlong_run_in_rle_is_corrupt_and_does_not_panic() -> None:
    layout = layout_of((16, 16), 8)
    frame = codecs.CODECS[codecs.RLE_LOSSLESS].encode(random_cells(layout), layout, 8)
    for run in (127, 129, 200):
        broken = frame[:64] + bytes([run]) + frame[65:]
        with pytest.raises(CorruptImageError):
            codecs.decode_frame(codecs.RLE_LOSSLESS, broken + b"\0" * 200, layout)


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.2.4.100",
        "1.2.840.10008.1.2.4.102",
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.4.110",
        "1.2.840.10008.1.2.8.1",
        "1.2.3",
    ],
)
def test_video_and_other_syntaxes_are_refused(shipped: Shipped, uid: str) -> None:
    with pytest.raises(UnsupportedImageError, match="transfer syntax"):
        codecs.compression_of(uid)
    data = shipped("MR_small_RLE.dcm")
    element = b"\x02\0\x10\0UI" + struct.pack("<H", 20) + b"1.2.840.10008.1.2.5\0"
    assert element in data
    value = uid.encode() + b"\0" * (len(uid) % 2)
    changed = data.replace(element, element[:6] + struct.pack("<H", len(value)) + value)
    with pytest.raises(UnsupportedImageError, match="transfer syntax"):
        dicom.describe(io.BytesIO(changed))


def test_every_promotion_ends_in_a_lossless_syntax() -> None:
    for uid, codec in codecs.CODECS.items():
        target = codecs.CODECS[codec.target]
        assert not target.lossy
        assert target.target == codec.target
        assert codec.lossy == (codec.target != uid)
        assert bool(codec.method) == codec.lossy


def test_codecs_are_imported_only_when_they_are_used() -> None:
    import subprocess
    import sys

    program = "import sys; from medprotect.imaging import dicom; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = set(result.stdout.split())
    assert not modules & {"imagecodecs", "torch", "monai", "scipy", "gdcm"}


def test_transfer_syntax_changes_are_documented(shipped: Shipped) -> None:
    data = shipped("JPEG2000.dcm")
    _, encoded = protect(data)
    assert "TransferSyntaxUID" in named(dicom.changed_elements(data, encoded.data))


@pytest.mark.parametrize(("frames", "decodings"), [(1, 1), (2, 4)])
def test_a_frame_with_unused_bits_is_decoded_once_where_it_was_read_last(
    made: Made, frames: int, decodings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = np.random.default_rng(0).integers(0, 1 << 16, (frames, 20, 24)).astype("u2")
    native = made(cells if frames > 1 else cells[0], frames=frames, BitsStored=12, HighBit=11)
    dataset, layout = read(native), layout_of(cells.shape[1:], 16)
    encode = codecs.CODECS[codecs.RLE_LOSSLESS].encode
    dataset.PixelData = encapsulate([encode(frame, layout, 16) for frame in cells])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(codecs.RLE_LOSSLESS)
    decoded: list[str] = []

    def count(syntax: str, codestream: bytes, layout: PixelLayout) -> codecs.Decoded:
        decoded.append(syntax)
        return codecs.decode_frame(syntax, codestream, layout)

    monkeypatch.setattr("medprotect.imaging.dicom.pixels.decode_frame", count)
    changed, encoded = protect(write(dataset))
    assert len(decoded) == decodings
    for frame, other in zip(changed, stored(encoded.data), strict=True):
        np.testing.assert_array_equal(frame, other)
    written = generate_frames(read(encoded.data).PixelData, number_of_frames=frames)
    for codestream, before in zip(written, cells, strict=True):
        after = codecs.decode_frame(codecs.RLE_LOSSLESS, codestream, layout).cells
        np.testing.assert_array_equal(after >> 12, before >> 12)
