"""Every image that pydicom ships goes through, and every other file is told apart."""

import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from pydicom.pixels import pixel_array

from medprotect.errors import (
    CorruptImageError,
    InputError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging import dicom
from medprotect.imaging.image import Role

from .conftest import DERIVATION, protect, read, stored

Shipped = Callable[[str], bytes]

IMAGES = {
    "693_J2KI.dcm": "JPEG 2000",
    "CT_small.dcm": "none",
    "ExplVR_BigEnd.dcm": "none",
    "GDCMJ2K_TextGBR.dcm": "JPEG 2000 Lossless",
    "J2K_pixelrep_mismatch.dcm": "JPEG 2000 Lossless",
    "JPEG-lossy.dcm": "JPEG Extended",
    "JPEG2000.dcm": "JPEG 2000",
    "JPEGLSNearLossless_08.dcm": "JPEG-LS Near-Lossless",
    "JPEGLSNearLossless_16.dcm": "JPEG-LS Near-Lossless",
    "JPGExtended.dcm": "JPEG Extended",
    "MR_small.dcm": "none",
    "MR_small_RLE.dcm": "RLE Lossless",
    "MR_small_bigendian.dcm": "none",
    "MR_small_expb.dcm": "none",
    "MR_small_implicit.dcm": "none",
    "MR_small_jp2klossless.dcm": "JPEG 2000 Lossless",
    "MR_small_jpeg_ls_lossless.dcm": "JPEG-LS Lossless",
    "MR_small_padded.dcm": "none",
    "SC_jpeg_no_color_transform.dcm": "JPEG Baseline",
    "SC_jpeg_no_color_transform_2.dcm": "JPEG Baseline",
    "SC_rgb_dcmtk_+eb+cr.dcm": "JPEG Baseline",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": "JPEG Baseline",
    "SC_rgb_dcmtk_+eb+cy+np.dcm": "JPEG Baseline",
    "SC_rgb_gdcm_KY.dcm": "JPEG 2000",
    "SC_rgb_jls_lossy_line.dcm": "JPEG-LS Near-Lossless",
    "SC_rgb_jls_lossy_sample.dcm": "JPEG-LS Near-Lossless",
    "SC_rgb_jpeg.dcm": "JPEG Baseline",
    "SC_rgb_jpeg_gdcm.dcm": "JPEG Lossless SV1",
    "SC_rgb_rle.dcm": "RLE Lossless",
    "SC_rgb_rle_16bit.dcm": "RLE Lossless",
    "SC_rgb_rle_16bit_2frame.dcm": "RLE Lossless",
    "SC_rgb_rle_2frame.dcm": "RLE Lossless",
    "SC_rgb_rle_32bit.dcm": "RLE Lossless",
    "SC_rgb_small_odd.dcm": "none",
    "SC_rgb_small_odd_big_endian.dcm": "none",
    "SC_rgb_small_odd_jpeg.dcm": "JPEG Baseline",
    "SC_ybr_full_422_uncompressed.dcm": "none",
    "examples_jpeg2k.dcm": "JPEG 2000 Lossless",
    "examples_overlay.dcm": "none",
    "examples_rgb_color.dcm": "none",
    "examples_ybr_color.dcm": "JPEG Baseline",
    "image_dfl.dcm": "Deflated",
}

OTHERS = {
    "liver_1frame.dcm": "dicom SEG",
    "reportsi.dcm": "dicom SR",
    "rtdose.dcm": "dicom RTDOSE",
    "rtplan.dcm": "dicom RTPLAN",
    "rtstruct.dcm": "dicom RTSTRUCT",
    "test-SR.dcm": "dicom SR",
    "waveform_ecg.dcm": "dicom waveform",
}

REJECTED: dict[str, type[InputError]] = {
    "ExplVR_BigEndNoMeta.dcm": NotAnImageError,
    "ExplVR_LitEndNoMeta.dcm": NotAnImageError,
    "JPEG2000-embedded-sequence-delimiter.dcm": CorruptImageError,
    "MR_truncated.dcm": CorruptImageError,
    "UN_sequence.dcm": NotAnImageError,
    "empty_charset_LEI.dcm": NotAnImageError,
    "examples_palette.dcm": UnsupportedImageError,
    "meta_missing_tsyntax.dcm": CorruptImageError,
    "no_meta.dcm": NotAnImageError,
    "rtplan_truncated.dcm": CorruptImageError,
}


@pytest.mark.parametrize("name", IMAGES)
def test_changed_pixels_come_back_exactly(shipped: Shipped, name: str) -> None:
    changed, encoded = protect(shipped(name))
    for expected, found in zip(changed, stored(encoded.data), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", IMAGES)
def test_nothing_else_changes_but_what_is_documented(shipped: Shipped, name: str) -> None:
    data = shipped(name)
    _, encoded = protect(data)
    assert dicom.undocumented_changes(data, encoded.data) == []
    assert dicom.changed_elements(data, encoded.data)
    assert dicom.changed_elements(data, data) == []


@pytest.mark.parametrize("name", IMAGES)
def test_the_description_of_a_protected_image_is_that_of_its_source(
    shipped: Shipped, name: str
) -> None:
    data = shipped(name)
    _, encoded = protect(data)
    before = dicom.describe(io.BytesIO(data))
    after = dicom.describe(io.BytesIO(encoded.data))
    assert before.traits is not None
    assert after.traits is not None
    assert before.role is Role.IMAGE
    assert before.traits.compression == IMAGES[name]
    assert not after.traits.lossy
    assert (before.traits.rows, before.traits.columns) == (after.traits.rows, after.traits.columns)
    assert before.traits.photometric == after.traits.photometric
    assert before.traits.bits_stored == after.traits.bits_stored
    assert before == dicom.open_file(data).description


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_input_gives_the_same_bytes(shipped: Shipped, name: str) -> None:
    data = shipped(name)
    file = dicom.open_file(data)
    pixels = [image.stored for image in file.images()]
    first = file.encode(pixels, DERIVATION)
    assert file.encode(pixels, DERIVATION) == first
    assert dicom.open_file(data).encode(pixels, DERIVATION) == first, "without decoding before"


@pytest.mark.parametrize(
    "name",
    # What is written as JPEG Lossless, pydicom decodes only with a plugin that is not here.
    [name for name, word in IMAGES.items() if not word.startswith("JPEG ") or "2000" in word],
)
def test_pydicom_reads_the_changed_pixels_too(shipped: Shipped, name: str) -> None:
    """With its own choice of decoder, which is another one for some syntaxes."""
    changed, encoded = protect(shipped(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = read(encoded.data)
        found = pixel_array(dataset, raw=True)
    np.testing.assert_array_equal(np.squeeze(found), np.squeeze(np.stack(changed)))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_image_to_protect_is_named_by_its_kind(shipped: Shipped, name: str) -> None:
    description = dicom.describe(io.BytesIO(shipped(name)))
    assert description.role is Role.OTHER
    assert description.kind == OTHERS[name]
    assert description.traits is None


@pytest.mark.parametrize("name", REJECTED)
def test_what_cannot_be_protected_is_refused_with_its_reason(shipped: Shipped, name: str) -> None:
    with pytest.raises(REJECTED[name]):
        read_all(shipped(name))


def read_all(data: bytes) -> None:
    dicom.describe(io.BytesIO(data))
    list(dicom.open_file(data).images())


def test_trailing_padding_of_native_pixels_is_kept(shipped: Shipped) -> None:
    data = shipped("MR_small_padded.dcm")
    source = read(data)
    frame = source.Rows * source.Columns * 2
    assert len(source.PixelData) > frame
    _, encoded = protect(data)
    assert read(encoded.data).PixelData[frame:] == source.PixelData[frame:]


def test_unchanged_pixels_give_the_source_bytes_back(shipped: Shipped) -> None:
    for name in ("CT_small.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd_big_endian.dcm"):
        data = shipped(name)
        file = dicom.open_file(data)
        encoded = file.encode([image.stored for image in file.images()], DERIVATION)
        assert read(encoded.data).PixelData == read(data).PixelData


def test_frames_of_another_number_shape_or_range_are_refused(shipped: Shipped) -> None:
    file = dicom.open_file(shipped("CT_small.dcm"))
    (image,) = file.images()
    with pytest.raises(ValueError, match="more than 1 frames"):
        file.encode([image.stored, image.stored], DERIVATION)
    with pytest.raises(ValueError, match="0 of 1 frames"):
        file.encode([], DERIVATION)
    with pytest.raises(ValueError, match="a frame of"):
        file.encode([image.stored[:-1]], DERIVATION)
    with pytest.raises(ValueError, match="a frame of"):
        file.encode([image.stored.astype(float)], DERIVATION)
    with pytest.raises(ValueError, match="outside the range"):
        file.encode([image.stored.astype(np.int32) + 65536], DERIVATION)
