"""Windows, rescale, look-up tables and palettes, frame by frame."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from medprotect.errors import HeaderFaultError, UnsupportedImageError
from medprotect.imaging import dicom, formats
from medprotect.imaging.image import Image
from medprotect.intensity.apply import apply_noise
from medprotect.intensity.budget import budget_lsb
from medprotect.intensity.windows import present, view
from medprotect.protect.comparison import compare_files
from medprotect.protect.protectable import FileCheck, check_file

from .conftest import DERIVATION, read, write

Shipped = Callable[[str], bytes]
Altered = Callable[..., bytes]
Made = Callable[..., bytes]

SHARE = 16 / 255


def first(data: bytes) -> Image:
    return next(iter(dicom.open_file(data).images()))


def lut_item(entries: np.ndarray, start: int = 0, bits: int = 16, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add(DataElement(0x00283002, vr, [len(entries) % 65536, start, bits]))
    item.add(DataElement(0x00283006, "OW", entries.astype("<u2").tobytes()))
    return item


def protect_fully(data: bytes) -> bytes:
    """With all of the budget, up and down."""
    file = formats.open_file(data)
    changed = []
    for seed, image in enumerate(file.images()):
        seen = view(image)
        shape = (*image.stored.shape[:2], 1)
        noise = np.random.default_rng(seed).choice(np.float32([-1, 1]), shape)
        changed.append(apply_noise(image, noise, budget_lsb(seen, "standard")))
    return file.encode(changed, DERIVATION).data


def check_twice(original: bytes, protected: bytes) -> FileCheck:
    """As the run checks it, and as `medprotect verify` does."""
    found = check_file(original, protected, "standard")
    streams = io.BytesIO(original), io.BytesIO(protected)
    assert compare_files(*streams, "standard")[0] == found
    return found


def without_windows(dataset: Dataset) -> Dataset:
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        if keyword in dataset:
            del dataset[keyword]
    return dataset


def test_windows_come_in_modality_values(altered: Altered) -> None:
    image = first(
        altered(
            "CT_small.dcm",
            WindowCenter=["40", "-600"],
            WindowWidth=["400", "1500"],
            VOILUTFunction="SIGMOID",
        )
    )
    assert [(w.center, w.width) for w in image.windows] == [(40, 400), (-600, 1500)]
    assert {w.function for w in image.windows} == {"SIGMOID"}
    assert (image.slope, image.intercept) == (1, -1024)


@pytest.mark.parametrize(
    ("center", "width", "count"),
    [("40", "0", 0), ("40", "-5", 0), (["1", "2"], "400", 1), (None, "400", 0), ("", "", 0)],
)
def test_windows_that_make_no_sense_are_left_out(
    altered: Altered, center: Any, width: Any, count: int
) -> None:
    data = altered("MR_small.dcm", WindowCenter="1", WindowWidth="1")
    dataset = read(data)
    dataset.WindowWidth = width
    if center is None:
        del dataset.WindowCenter
    else:
        dataset.WindowCenter = center
    assert len(first(write(dataset)).windows) == count


def test_an_unknown_voi_function_is_linear(altered: Altered) -> None:
    image = first(altered("CT_small.dcm", WindowCenter="1", WindowWidth="2", VOILUTFunction="ODD"))
    assert image.windows[0].function == "LINEAR"


def test_a_voi_lut_spans_its_inputs(shipped: Shipped) -> None:
    dataset = without_windows(read(shipped("CT_small.dcm")))
    dataset.VOILUTSequence = [lut_item(np.arange(1000), start=65036)]
    (window,) = first(write(dataset)).windows
    assert (window.lower, window.upper) == (-500, 500)
    assert window.function == "LUT"


@pytest.mark.parametrize("rescale", [0, -1024])
def test_the_first_input_is_signed_where_modality_values_may_be(made: Made, rescale: int) -> None:
    dataset = read(made(np.zeros((8, 8), "<u2")))
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", str(rescale)
    dataset.VOILUTSequence = [lut_item(np.arange(1000), start=64512)]
    lut = first(write(without_windows(dataset) if rescale == 0 else dataset)).windows[-1].lut
    assert lut is not None
    assert lut.first == (64512 if rescale == 0 else -1024)


def test_windows_and_voi_luts_all_count(shipped: Shipped) -> None:
    dataset = read(shipped("MR_small.dcm"))
    dataset.WindowCenter, dataset.WindowWidth = "600", "1600"
    dataset.VOILUTSequence = [lut_item(np.arange(500)), lut_item(np.arange(300))]
    windows = first(write(dataset)).windows
    assert [window.function for window in windows] == ["LINEAR", "LUT", "LUT"]
    assert [window.width for window in windows] == [1600, 500, 300]


@pytest.mark.parametrize(
    "item",
    [
        lut_item(np.zeros(500)),
        lut_item(np.arange(1)),
        Dataset(),
    ],
    ids=["flat", "one entry", "empty"],
)
def test_a_voi_lut_that_shows_nothing_is_left_out(shipped: Shipped, item: Dataset) -> None:
    dataset = without_windows(read(shipped("MR_small.dcm")))
    dataset.VOILUTSequence = [item]
    assert first(write(dataset)).windows == ()


@pytest.mark.parametrize("length", [499, 501, 998, 1002])
def test_a_lut_of_another_length_than_it_says_is_none(shipped: Shipped, length: int) -> None:
    dataset = without_windows(read(shipped("MR_small.dcm")))
    item = lut_item(np.arange(500))
    item[0x00283006].value = bytes(range(250)) * 4 + bytes(2)
    item[0x00283006].value = item[0x00283006].value[: length + length % 2]
    dataset.VOILUTSequence = [item]
    expected = 1 if length == 499 else 0  # 500 bytes with their padding are entries of 8 bits
    assert len(first(write(dataset)).windows) == expected


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_entries_may_be_bytes(shipped: Shipped, vr: str, big_endian: bool) -> None:
    name = "MR_small_bigendian.dcm" if big_endian else "MR_small.dcm"
    dataset = without_windows(read(shipped(name)))
    entries = np.arange(200, dtype="u1")
    raw = entries.reshape(-1, 2)[:, ::-1] if big_endian and vr == "OW" else entries
    item = Dataset()
    item.add(DataElement(0x00283002, "US", [200, 0, 8]))
    item.add(DataElement(0x00283006, vr, raw.tobytes()))
    dataset.VOILUTSequence = [item]
    lut = first(write(dataset)).windows[0].lut
    assert lut is not None
    np.testing.assert_allclose(lut.values, entries / 199)


def sigmoid_entries(count: int, bits: int, center: float, width: float) -> np.ndarray:
    at = np.arange(count)
    return np.rint((2**bits - 1) / (1 + np.exp(-4 * (at - center) / width)))


VOI_LUTS = {
    "steep": sigmoid_entries(4096, 16, 800, 400),
    "to few greys": sigmoid_entries(4096, 8, 800, 1500),
    "inverse": 4095 - sigmoid_entries(4096, 12, 800, 900),
    "rises and falls": np.abs(np.arange(4096) - 900) * 12,
}


@pytest.mark.parametrize("kind", VOI_LUTS)
def test_no_voi_lut_shows_more_than_twice_the_strength(shipped: Shipped, kind: str) -> None:
    entries = VOI_LUTS[kind]
    dataset = without_windows(read(shipped("MR_small.dcm")))
    dataset.VOILUTSequence = [lut_item(entries)]
    data = write(dataset)
    after = read(protect_fully(data))
    shown = [apply_voi_lut(each.pixel_array, each).astype(float) for each in (dataset, after)]
    largest = np.abs(shown[0] - shown[1]).max() / (entries.max() - entries.min())
    assert 0.5 * SHARE < largest <= SHARE
    assert check_twice(data, write(after)).share == 1


def test_presented_values_are_those_of_the_voi_lut(shipped: Shipped) -> None:
    dataset = without_windows(read(shipped("MR_small.dcm")))
    dataset.VOILUTSequence = [lut_item(VOI_LUTS["steep"])]
    shown = apply_voi_lut(dataset.pixel_array, dataset) / 65535
    presented = present(view(first(write(dataset))))[..., 0]
    np.testing.assert_allclose(presented, shown, atol=1e-3)


def test_noise_brightens_what_an_inverse_voi_lut_darkens(shipped: Shipped) -> None:
    dataset = without_windows(read(shipped("MR_small.dcm")))
    dataset.VOILUTSequence = [lut_item(VOI_LUTS["inverse"])]
    image = first(write(dataset))
    seen = view(image)
    ones = np.ones((*image.stored.shape, 1), np.float32)
    brighter = apply_noise(image, ones, budget_lsb(seen, "standard"))
    change = present(seen.with_stored(brighter)) - present(seen)
    assert change.min() >= 0
    assert change.max() > 0.5 * SHARE


def logarithm(count: int, top: int) -> np.ndarray:
    return np.rint(top * np.log1p(np.arange(count)) / np.log(count))


MODALITY_LUTS = {
    "linear": (np.arange(4096) * 15, 0),
    "logarithm": (logarithm(4096, 65535), 0),
    "inverse": (logarithm(4096, 4095)[::-1], 0),
    "of a part": (logarithm(1500, 65535), 300),
    "in steps": (np.arange(4096) // 16 * 16, 0),
}


def with_modality_lut(data: bytes, entries: np.ndarray, start: int, **elements: Any) -> Dataset:
    dataset = without_windows(read(data))
    item = lut_item(entries, start)
    item.ModalityLUTType = "US"
    dataset.ModalityLUTSequence = [item]
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("kind", MODALITY_LUTS)
@pytest.mark.parametrize("width", [None, 0.4, 3.0])
def test_no_modality_lut_shows_more_than_twice_the_strength(
    shipped: Shipped, kind: str, width: float | None
) -> None:
    entries, start = MODALITY_LUTS[kind]
    dataset = with_modality_lut(shipped("MR_small.dcm"), entries, start)
    if width:
        dataset.WindowCenter = str(int(np.median(entries)))
        dataset.WindowWidth = str(int(np.ptp(entries) * width))
    data = write(dataset)
    protected = protect_fully(data)
    after = read(protected)
    values = [apply_modality_lut(each.pixel_array, each) for each in (dataset, after)]
    for window in view(first(data)).windows:
        shown = [np.clip((each - window.lower) / (window.width - 1), 0, 1) for each in values]
        assert np.abs(shown[0] - shown[1]).max() <= SHARE + 1.5 / window.width
    assert (dataset.pixel_array != after.pixel_array).mean() > 0.3
    checked = check_twice(data, protected)
    assert checked.share == 1
    assert dicom.undocumented_changes(data, protected) == []


def test_a_modality_lut_gives_modality_values(shipped: Shipped) -> None:
    entries, start = MODALITY_LUTS["of a part"]
    dataset = with_modality_lut(shipped("MR_small.dcm"), entries, start, RescaleSlope="3")
    image = first(write(dataset))
    assert image.lut is not None
    expected = apply_modality_lut(dataset.pixel_array, dataset)
    np.testing.assert_array_equal(image.lut.map(image.stored), expected)


def test_a_budget_holds_without_the_modality_lut_too(shipped: Shipped) -> None:
    entries = np.arange(4096) // 512 * 8191  # eight greys: most changes do not show
    data = write(with_modality_lut(shipped("MR_small.dcm"), entries, 0))
    plain = write(without_windows(read(shipped("MR_small.dcm"))))
    with_lut = budget_lsb(view(first(data)), "standard")
    without = budget_lsb(view(first(plain)), "standard")
    assert (with_lut <= without).all()
    assert (with_lut < without).any()


def test_a_modality_lut_that_rises_and_falls_is_refused(shipped: Shipped) -> None:
    dataset = with_modality_lut(shipped("MR_small.dcm"), np.abs(np.arange(4096) - 900), 0)
    with pytest.raises(UnsupportedImageError, match="rises and falls"):
        dicom.describe(io.BytesIO(write(dataset)))


@pytest.mark.parametrize("count", [0, 2])
def test_a_damaged_modality_lut_is_a_fault_of_the_header(shipped: Shipped, count: int) -> None:
    dataset = with_modality_lut(shipped("MR_small.dcm"), np.arange(4096), 0)
    items = [dataset.ModalityLUTSequence[0]] * 2 if count else [Dataset()]
    dataset.ModalityLUTSequence = items
    with pytest.raises(HeaderFaultError, match="ModalityLUTSequence"):
        dicom.describe(io.BytesIO(write(dataset)))


def test_of_a_wrong_lut_descriptor_the_element_is_named_and_no_value(shipped: Shipped) -> None:
    dataset = with_modality_lut(shipped("MR_small_jp2klossless.dcm"), np.arange(4096), 0)
    dataset.ModalityLUTSequence[0].LUTDescriptor = [4095, 0, 16]
    with pytest.raises(HeaderFaultError, match="LUTDescriptor") as caught:
        dicom.describe(io.BytesIO(write(dataset)))
    assert not re.search(r"\d", str(caught.value))


def test_a_modality_lut_sequence_without_items_is_none(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    dataset.ModalityLUTSequence = []
    image = first(write(dataset))
    assert image.lut is None
    assert (image.slope, image.intercept) == (1, -1024)


def with_palette(data: bytes, red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> Dataset:
    dataset = read(data)
    for name, entries in (("Red", red), ("Green", green), ("Blue", blue)):
        keyword = f"{name}PaletteColorLookupTable"
        setattr(dataset, keyword + "Descriptor", [len(entries), 0, 16])
        setattr(dataset, keyword + "Data", entries.astype("<u2").tobytes())
    return dataset


GREYS = {
    "rising": np.arange(256) * 257,
    "falling": np.arange(256)[::-1] * 257,
    "gamma": np.rint(65535 * (np.arange(256) / 255) ** 0.45),
}


@pytest.mark.parametrize("kind", GREYS)
def test_a_palette_of_greys_is_a_grey_image(shipped: Shipped, kind: str) -> None:
    ramp = GREYS[kind]
    dataset = with_palette(shipped("examples_palette.dcm"), ramp, ramp, ramp)
    data = write(dataset)
    traits = dicom.describe(io.BytesIO(data)).traits
    assert traits is not None
    assert (traits.photometric, traits.channels) == ("MONOCHROME2", 1)
    protected = protect_fully(data)
    after = read(protected)
    assert after.PhotometricInterpretation == "PALETTE COLOR"
    shown = [ramp[each.pixel_array] for each in (dataset, after)]
    assert 0 < np.abs(shown[0] - shown[1]).max() <= SHARE * 65535
    assert check_twice(data, protected).share == 1
    presented = present(view(first(data)))[..., 0]
    np.testing.assert_allclose(presented, shown[0] / 65535, atol=1e-4)


@pytest.mark.parametrize(
    ("green", "red"),
    [
        (GREYS["gamma"], GREYS["rising"]),
        (np.roll(GREYS["rising"], 9), np.roll(GREYS["rising"], 9)),
        (np.zeros(256), np.zeros(256)),
    ],
    ids=["colours", "greys out of order", "all black"],
)
def test_other_palettes_are_refused(shipped: Shipped, green: np.ndarray, red: np.ndarray) -> None:
    dataset = with_palette(shipped("examples_palette.dcm"), red, green, red)
    with pytest.raises(UnsupportedImageError, match="palette of colours"):
        dicom.describe(io.BytesIO(write(dataset)))


def test_the_palettes_that_ship_with_pydicom_are_colours(shipped: Shipped) -> None:
    with pytest.raises(UnsupportedImageError, match="palette of colours"):
        dicom.describe(io.BytesIO(shipped("examples_palette.dcm")))


@pytest.fixture
def enhanced(shipped: Shipped) -> Dataset:
    """Two frames of one slice, with functional groups."""
    dataset = without_windows(read(shipped("MR_small.dcm")))
    dataset.NumberOfFrames = 2
    dataset.PixelData = dataset.PixelData * 2
    dataset.PerFrameFunctionalGroupsSequence = [Dataset(), Dataset()]
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    return dataset


def test_each_frame_has_its_own_windows_and_rescale(enhanced: Dataset) -> None:
    for index, groups in enumerate(enhanced.PerFrameFunctionalGroupsSequence):
        transformation, voi = Dataset(), Dataset()
        transformation.RescaleSlope = str(1 + index)
        transformation.RescaleIntercept = str(-100 * index)
        voi.WindowCenter, voi.WindowWidth = [str(40 + index), "9"], [str(400 + index), "19"]
        voi.VOILUTSequence = [lut_item(np.arange(100 + index))]
        groups.PixelValueTransformationSequence = [transformation]
        groups.FrameVOILUTSequence = [voi]
    one, other = dicom.open_file(write(enhanced)).images()
    assert (one.slope, one.intercept) == (1, 0)
    assert (other.slope, other.intercept) == (2, -100)
    assert [(w.center, w.width) for w in one.windows] == [(40, 400), (9, 19), (50, 100)]
    assert [(w.center, w.width) for w in other.windows] == [(41, 401), (9, 19), (50.5, 101)]


def test_a_frame_without_windows_has_the_shared_ones(enhanced: Dataset) -> None:
    shared, own = Dataset(), Dataset()
    shared.WindowCenter, shared.WindowWidth = "77", "33"
    own.WindowCenter, own.WindowWidth = "88", "44"
    enhanced.WindowCenter, enhanced.WindowWidth = "99", "55"
    enhanced.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence = [shared]
    enhanced.PerFrameFunctionalGroupsSequence[1].FrameVOILUTSequence = [own]
    images = dicom.open_file(write(enhanced)).images()
    assert [image.windows[0].center for image in images] == [77, 88]
    del enhanced.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    images = dicom.open_file(write(enhanced)).images()
    assert [image.windows[0].center for image in images] == [99, 88]


def test_the_bound_of_a_frame_is_that_of_its_own_window(enhanced: Dataset) -> None:
    widths = (101, 401)
    for width, groups in zip(widths, enhanced.PerFrameFunctionalGroupsSequence, strict=True):
        transformation, voi = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = str(width / 100), "0"
        voi.WindowCenter, voi.WindowWidth = str(8 * width), str(width)
        groups.PixelValueTransformationSequence = [transformation]
        groups.FrameVOILUTSequence = [voi]
    data = write(enhanced)
    protected = protect_fully(data)
    frames = zip(dicom.open_file(data).images(), dicom.open_file(protected).images(), strict=True)
    for width, (image, after) in zip(widths, frames, strict=True):
        values = [each.stored * image.slope for each in (image, after)]
        shown = [np.clip((value - (8 * width - 0.5)) / (width - 1) + 0.5, 0, 1) for value in values]
        assert 0.5 * SHARE < np.abs(shown[0] - shown[1]).max() <= SHARE
    assert check_twice(data, protected).share == 1
