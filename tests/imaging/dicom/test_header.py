"""Layout, windows, padding and description, as the header has them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.pixels.utils import pixel_array

from medprotect import limits
from medprotect.errors import (
    CorruptImageError,
    HeaderFaultError,
    ImageTooLargeError,
    MedprotectError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging import dicom
from medprotect.imaging.dicom.sop_classes import is_image_storage, kind_of_other
from medprotect.imaging.image import Description, Image, Role

from .conftest import DERIVATION, add_noise, protect, read, stored, write

Shipped = Callable[[str], bytes]
Altered = Callable[..., bytes]
Made = Callable[..., bytes]


def describe(data: bytes) -> Description:
    return dicom.describe(io.BytesIO(data))


def first(data: bytes) -> Image:
    return next(iter(dicom.open_file(data).images()))


def test_a_description_has_what_selection_needs(shipped: Shipped) -> None:
    description = describe(shipped("CT_small.dcm"))
    traits = description.traits
    assert traits is not None
    assert description.kind == "dicom CT"
    assert (traits.format, traits.modality, traits.photometric) == ("dicom", "CT", "MONOCHROME2")
    assert (traits.rows, traits.columns, traits.images, traits.channels) == (128, 128, 1, 1)
    assert (traits.bits_stored, traits.signed, traits.floating) == (16, True, False)
    assert not traits.quantitative


def test_a_description_says_nothing_personal(altered: Altered) -> None:
    data = altered(
        "CT_small.dcm", PatientName="CANARY^A", PatientID="CANARY", SeriesDescription="CANARY"
    )
    dataset = read(data)
    dataset.add(DataElement(0x00080060, "LO", "canary was here"))
    dataset.add(DataElement(0x00180015, "LO", "Canary's knee"))
    description = describe(write(dataset))
    assert "canary" not in repr(description).lower()
    assert description.kind == "dicom image"


def test_images_of_one_series_share_an_opaque_text(altered: Altered) -> None:
    one = describe(altered("CT_small.dcm", SeriesInstanceUID="1.2.3"))
    other = describe(altered("CT_small.dcm", SeriesInstanceUID="1.2.3", InstanceNumber=9))
    third = describe(altered("CT_small.dcm", SeriesInstanceUID="1.2.4"))
    assert one.series == other.series != third.series
    assert len(one.series) == 64
    assert "1.2.3" not in one.series
    assert describe(altered("CT_small.dcm", SeriesInstanceUID=None)).series == ""


@pytest.mark.parametrize(
    ("elements", "warnings"),
    [
        ({}, {"patient_identity_not_removed", "burned_in_annotation_not_excluded"}),
        ({"PatientIdentityRemoved": "YES"}, {"burned_in_annotation_not_excluded"}),
        ({"BurnedInAnnotation": "NO"}, {"patient_identity_not_removed"}),
        ({"PatientIdentityRemoved": "YES", "BurnedInAnnotation": "NO"}, set()),
        (
            {"PatientIdentityRemoved": "NO", "BurnedInAnnotation": "YES"},
            {"patient_identity_not_removed", "burned_in_annotation_not_excluded"},
        ),
    ],
)
def test_it_warns_where_nobody_says_that_identity_was_removed(
    altered: Altered, elements: dict[str, str], warnings: set[str]
) -> None:
    assert set(describe(altered("CT_small.dcm", **elements)).warnings) == warnings


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "PT"},
        {"Modality": "NM"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.30"},
        {"ImageType": ["DERIVED", "PRIMARY", "ADC"]},
        {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP"]},
    ],
)
def test_measurements_are_marked(altered: Altered, elements: dict[str, Any]) -> None:
    traits = describe(altered("CT_small.dcm", **elements)).traits
    assert traits is not None
    assert traits.quantitative


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", ""),
        ("1.2.840.10008.5.1.4.1.1.481.1", ""),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "SEG"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "SR"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "KO"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation state"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "waveform"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated document"),
        ("1.2.840.10008.1.3.10", "DICOMDIR"),
        ("1.2.840.10008.5.1.4.1.1.4", ""),
        ("1.2.840.10008.5.1.4.1.1.4.2", "spectroscopy"),
        ("1.2.840.10008.5.1.4.1.1.1.1", ""),
        ("", ""),
    ],
)
def test_sop_classes_say_what_an_object_is(uid: str, kind: str) -> None:
    assert kind_of_other(uid) == kind
    assert is_image_storage(uid) == (kind == "" and uid != "")


def test_the_header_of_an_image_without_its_pixels_is_no_image(altered: Altered) -> None:
    with pytest.raises(NotAnImageError, match="without its pixels"):
        describe(altered("CT_small.dcm", PixelData=None))
    private = {"SOPClassUID": "1.2.3.4", "PixelData": None}
    with pytest.raises(NotAnImageError, match="without its pixels"):
        describe(altered("CT_small.dcm", **private))
    with pytest.raises(NotAnImageError, match="without its pixels"):
        dicom.open_file(altered("CT_small.dcm", PixelData=None))
    with pytest.raises(NotAnImageError, match="without its pixels"):
        dicom.open_stream(io.BytesIO(altered("CT_small.dcm", PixelData=None)))
    description = describe(altered("CT_small.dcm", Rows=None, **private))
    assert description.role is Role.OTHER


def test_private_classes_with_pixels_are_images(altered: Altered) -> None:
    assert describe(altered("CT_small.dcm", SOPClassUID="1.2.3.4")).role is Role.IMAGE


UNSUPPORTED: dict[str, dict[str, Any]] = {
    "retired colour space": {"PhotometricInterpretation": "HSV", "SamplesPerPixel": 3},
    "one bit": {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
    "one bit stored": {"BitsStored": 1, "HighBit": 0},
    "12 bits": {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11},
    "64 bits": {"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63},
    "4 samples": {"SamplesPerPixel": 4},
    "signed colour": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_kinds_that_cannot_be_written_without_loss_are_refused(altered: Altered, kind: str) -> None:
    with pytest.raises(UnsupportedImageError):
        describe(altered("CT_small.dcm", **UNSUPPORTED[kind]))


def test_floating_point_pixels_are_refused(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    del dataset.PixelData
    dataset.FloatPixelData = b"\0" * (128 * 128 * 4)
    with pytest.raises(UnsupportedImageError, match="NIfTI"):
        describe(write(dataset))


FAULTS: dict[str, dict[str, Any]] = {
    "no rows": {"Rows": None},
    "zero rows": {"Rows": 0},
    "no columns": {"Columns": None},
    "no bits": {"BitsAllocated": None},
    "more stored than allocated": {"BitsStored": 17},
    "high bit below": {"BitsStored": 12, "HighBit": 5},
    "no photometric": {"PhotometricInterpretation": None},
    "grey in three samples": {"SamplesPerPixel": 3, "PixelRepresentation": 0},
    "colour in one sample": {"PhotometricInterpretation": "RGB"},
    "slope of zero": {"RescaleSlope": "0"},
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_header_that_contradicts_itself_is_at_fault_and_names_the_element(
    altered: Altered, kind: str
) -> None:
    with pytest.raises(HeaderFaultError) as caught:
        describe(altered("CT_small.dcm", **FAULTS[kind]))
    assert any(keyword in str(caught.value) for keyword in FAULTS[kind])


@pytest.mark.parametrize("element", [{"NumberOfFrames": "2"}, {"Rows": 129}])
def test_fewer_pixels_than_the_header_says_are_corrupt(
    altered: Altered, element: dict[str, Any]
) -> None:
    with pytest.raises(CorruptImageError, match="fewer pixels") as caught:
        describe(altered("CT_small.dcm", **element))
    assert caught.value.slug == "corrupt"


@pytest.mark.parametrize(
    ("elements", "frames"), [({}, 1), ({"NumberOfFrames": "1"}, 1), ({"NumberOfFrames": "0"}, 1)]
)
def test_no_number_of_frames_is_one(
    altered: Altered, elements: dict[str, str], frames: int
) -> None:
    traits = describe(altered("CT_small.dcm", **elements)).traits
    assert traits is not None
    assert traits.images == frames


@pytest.mark.parametrize("frames", [b"1A", b"-1", b"1.5", b"nan ", b"9" * 12])
def test_a_number_of_frames_that_is_none_is_refused(altered: Altered, frames: bytes) -> None:
    data = altered("CT_small.dcm", NumberOfFrames="777777777777")
    with pytest.raises(MedprotectError):
        describe(data.replace(b"777777777777", frames.ljust(12, b" ")))


def test_sizes_are_refused_before_memory_is_taken(altered: Altered) -> None:
    for elements in (
        {"Rows": 65535, "Columns": 65535},
        {"NumberOfFrames": str(limits.IMAGES_PER_FILE + 1)},
        {"Rows": 16384, "Columns": 16384, "NumberOfFrames": "9"},
    ):
        with pytest.raises(ImageTooLargeError):
            describe(altered("CT_small.dcm", **elements))


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_padding_is_locked_and_its_range_forbidden(shipped: Shipped, vr: str) -> None:
    dataset = read(shipped("CT_small.dcm"))
    cells = np.frombuffer(dataset.PixelData, "<i2").copy()
    cells[:100] = -2000
    cells[100:200] = -1990
    dataset.PixelData = cells.tobytes()
    wrap = 65536 if vr == "US" else 0
    dataset.add(DataElement(0x00280120, vr, -2000 + wrap))
    dataset.add(DataElement(0x00280121, vr, -1990 + wrap))
    data = write(dataset)
    image = first(data)
    assert image.forbidden == (-2000, -1990)
    assert image.locked is not None
    assert image.locked.sum() == 200
    changed, encoded = protect(data)
    back = first(encoded.data)
    np.testing.assert_array_equal(back.locked, image.locked)
    np.testing.assert_array_equal(back.stored, changed[0])


def test_no_padding_no_lock(altered: Altered) -> None:
    image = first(altered("MR_small.dcm"))
    assert (image.locked is None) == (image.forbidden is None)
    unpadded = first(altered("CT_small.dcm", PixelPaddingValue=None))
    assert unpadded.locked is None
    assert unpadded.forbidden is None


def test_padding_outside_the_range_of_the_bits_means_nothing(made: Made) -> None:
    dataset = read(made(np.zeros((8, 8), "<u2"), BitsStored=12, HighBit=11))
    dataset.add(DataElement(0x00280120, "US", 63536))
    assert first(write(dataset)).forbidden is None


@pytest.mark.parametrize(
    ("signed", "bits", "lowest", "highest"),
    [
        (False, 8, 0, 255),
        (False, 12, 0, 4095),
        (True, 12, -2048, 2047),
        (True, 16, -32768, 32767),
        (False, 16, 0, 65535),
    ],
)
def test_the_range_of_stored_values_follows_the_bits(
    made: Made, signed: bool, bits: int, lowest: int, highest: int
) -> None:
    dtype = f"<{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    image = first(made(np.zeros((8, 8), dtype), BitsStored=bits, HighBit=bits - 1))
    assert (image.lowest, image.highest) == (lowest, highest)
    assert image.stored.dtype == np.dtype(dtype)


@pytest.mark.parametrize("high_bit", [11, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_beside_the_stored_ones_are_kept(made: Made, high_bit: int, signed: bool) -> None:
    cells = np.random.default_rng(0).integers(0, 65536, (32, 32)).astype("<u2")
    data = made(cells, BitsStored=12, HighBit=high_bit, PixelRepresentation=int(signed))
    shift = high_bit - 11
    expected = (cells >> shift) & 0xFFF
    image = first(data)
    np.testing.assert_array_equal(image.stored.view("u2") & 0xFFF, expected)
    assert image.stored.min() >= image.lowest
    assert image.stored.max() <= image.highest
    changed, encoded = protect(data)
    after = np.frombuffer(read(encoded.data).PixelData, "<u2").reshape(32, 32)
    mask = np.uint16(0xFFF << shift)
    np.testing.assert_array_equal(after & ~mask, cells & ~mask)
    np.testing.assert_array_equal(stored(encoded.data)[0], changed[0])


def test_signs_stay_extended_where_they_were(made: Made) -> None:
    cells = np.random.default_rng(9).integers(-2, 3, (32, 32)).astype("<i2")
    data = made(cells, BitsStored=12, HighBit=11)
    changed, encoded = protect(data)
    after = np.frombuffer(read(encoded.data).PixelData, "<i2").reshape(32, 32)
    np.testing.assert_array_equal(after, changed[0])
    assert ((cells < 0) != (after < 0)).any()


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_colour_lies_by_pixel_or_by_plane(made: Made, planar: int, dtype: str) -> None:
    cells = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3)).astype(dtype)
    data = made(cells, frames=2, samples=3, PlanarConfiguration=planar)
    dataset = read(data)
    raw = cells.transpose(0, 3, 1, 2) if planar else cells
    dataset.PixelData = raw.tobytes()
    data = write(dataset)
    np.testing.assert_array_equal(stored(data), cells)
    changed, encoded = protect(data)
    after = read(encoded.data)
    np.testing.assert_array_equal(after.pixel_array, np.stack(changed))
    assert after.PlanarConfiguration == planar


@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_neighbours_that_share_their_chroma_are_read_and_written_with_it(
    made: Made, dtype: str
) -> None:
    fours = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 4)).astype(dtype)
    data = made(
        np.zeros((2, 5, 8, 3), dtype), frames=2, samples=3, PhotometricInterpretation="YBR_FULL_422"
    )
    dataset = read(data)
    dataset.PixelData = fours.tobytes()
    data = write(dataset)
    description = describe(data)
    assert description.traits is not None
    assert description.traits.photometric == "YBR_FULL"
    found = stored(data)
    assert found[1][3, 5].tolist() == [fours[1, 3, 2, at] for at in (1, 2, 3)]
    changed, encoded = protect(data)
    after = read(encoded.data)
    assert after.PhotometricInterpretation == "YBR_FULL_422"
    np.testing.assert_array_equal(pixel_array(read(encoded.data), raw=True), np.stack(changed))
    for one, other in zip(stored(encoded.data), changed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_chroma_that_cannot_be_shared_is_refused(altered: Altered, shipped: Shipped) -> None:
    name = "SC_ybr_full_422_uncompressed.dcm"
    for elements in ({"Columns": 99}, {"PlanarConfiguration": 1}):
        with pytest.raises(CorruptImageError):
            describe(altered(name, **elements))
    file = dicom.open_file(shipped(name))
    pixels = next(iter(file.images())).stored.copy()
    pixels[4, 6, 1] ^= 1
    with pytest.raises(ValueError, match="share"):
        file.encode([pixels], DERIVATION)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bits", [20, 32])
def test_pixels_of_32_bits_come_back(made: Made, samples: int, bits: int) -> None:
    random = np.random.default_rng(0)
    shape = (6, 8, 3) if samples == 3 else (6, 8)
    cells = random.integers(0, 2**bits, shape).astype("<u4")
    data = made(cells, samples=samples, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_array_equal(stored(data)[0], cells)
    changed, encoded = protect(data)
    np.testing.assert_array_equal(read(encoded.data).pixel_array, changed[0])
    assert dicom.undocumented_changes(data, encoded.data) == []
    assert not np.array_equal(changed[0], cells)


def test_ranges_that_16_bits_cannot_state_go(made: Made) -> None:
    cells = np.arange(48, dtype="<u4").reshape(6, 8) << 16
    dataset = read(made(cells))
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
        dataset[keyword] = DataElement(keyword, "US", 7)
    data = write(dataset)
    after = read(protect(data)[1].data)
    assert dicom.undocumented_changes(data, write(after)) == []
    assert "SmallestImagePixelValue" not in after
    assert "LargestImagePixelValue" not in after


def test_pixels_of_32_bits_behind_a_look_up_table_are_refused(made: Made) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4, 0, 16], bytes(range(8))
    data = made(np.arange(48, dtype="<u4").reshape(6, 8), VOILUTSequence=[item])
    with pytest.raises(UnsupportedImageError, match="16 bits"):
        stored(data)


def test_8_bit_cells_in_big_endian_words_are_swapped(shipped: Shipped) -> None:
    data = shipped("SC_rgb_small_odd_big_endian.dcm")
    dataset = read(data)
    assert (dataset["PixelData"].VR, dataset.BitsAllocated) == ("OW", 8)
    np.testing.assert_array_equal(stored(data)[0], dataset.pixel_array)
    assert not np.array_equal(dataset.pixel_array.reshape(-1)[:8], list(dataset.PixelData[:8]))
    changed, encoded = protect(data)
    np.testing.assert_array_equal(read(encoded.data).pixel_array, changed[0])


def test_nothing_of_the_source_is_handed_out_to_be_changed(shipped: Shipped) -> None:
    file = dicom.open_file(shipped("CT_small.dcm"))
    image = next(iter(file.images()))
    before = image.stored.copy()
    image.stored[:] = 0
    np.testing.assert_array_equal(next(iter(file.images())).stored, before)
    noisy = add_noise(next(iter(file.images())))
    assert dicom.open_file(file.encode([noisy], DERIVATION).data)
