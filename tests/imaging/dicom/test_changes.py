"""The check of headers sees every change, and knows which are documented."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError, NotAnImageError
from medprotect.imaging import dicom

from .conftest import named, protect, read, write

Shipped = Callable[[str], bytes]
Altered = Callable[..., bytes]


def test_the_changes_of_a_plain_image_are_these_and_no_more(shipped: Shipped) -> None:
    data = b"\0" * 128 + shipped("CT_small.dcm")[128:]
    _, encoded = protect(data)
    assert dicom.changed_elements(data, encoded.data) == [
        "FileMetaInformationGroupLength",
        "MediaStorageSOPInstanceUID",
        "ImageType",
        "SOPInstanceUID",
        "DerivationDescription",
        "DerivationCodeSequence",
        "ContributingEquipmentSequence",
        "SeriesInstanceUID",
    ]


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientName": "Other^Name"},
        {"Rows": 64},
        {"WindowCenter": "1"},
        {"StudyInstanceUID": "1.2.3"},
        {"BurnedInAnnotation": "NO"},
        {"InstanceCreationDate": "20260101"},
        {"PatientID": None},
        {"RescaleSlope": "2"},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]},
    ],
)
def test_any_other_change_is_named_and_undocumented(
    shipped: Shipped, altered: Altered, elements: dict[str, str | None]
) -> None:
    original, tampered = altered("CT_small.dcm"), altered("CT_small.dcm", **elements)
    assert dicom.changed_elements(original, tampered) == list(elements)
    assert dicom.undocumented_changes(original, tampered) == list(elements)


@pytest.mark.parametrize(
    "keyword",
    ["SOPInstanceUID", "SeriesInstanceUID", "ImageType", "DerivationDescription"],
)
def test_what_is_documented_is_named_but_not_held_against_it(
    altered: Altered, keyword: str
) -> None:
    value = {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}.get(keyword, "1.2.3")
    original = altered("CT_small.dcm")
    tampered = altered("CT_small.dcm", **{keyword: value})
    assert keyword in dicom.changed_elements(original, tampered)
    assert dicom.undocumented_changes(original, tampered) == []


def test_documented_elements_may_not_be_removed(altered: Altered) -> None:
    original = altered("CT_small.dcm")
    for keyword in ("SOPInstanceUID", "ImageType", "SeriesInstanceUID"):
        tampered = altered("CT_small.dcm", **{keyword: None})
        assert dicom.undocumented_changes(original, tampered) == [keyword]


def test_private_and_nested_changes_are_named_by_their_path(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2"
    dataset.ReferencedImageSequence = [item]
    original = write(dataset)
    item.ReferencedSOPInstanceUID = "1.3"
    dataset[0x00431010].value += 1
    tampered = write(dataset)
    expected = ["ReferencedImageSequence[0].ReferencedSOPInstanceUID", "(0043,1010)"]
    assert sorted(dicom.changed_elements(original, tampered)) == sorted(expected)
    assert sorted(dicom.undocumented_changes(original, tampered)) == sorted(expected)


def test_items_may_be_appended_but_not_altered_or_taken(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    one, other = Dataset(), Dataset()
    one.CodeValue, other.CodeValue = "1", "2"
    dataset.DerivationCodeSequence = [one]
    original = write(dataset)
    dataset.DerivationCodeSequence = [one, other]
    appended = write(dataset)
    assert dicom.changed_elements(original, appended) == ["DerivationCodeSequence[1]"]
    assert dicom.undocumented_changes(original, appended) == []
    assert dicom.undocumented_changes(appended, original) == ["DerivationCodeSequence[1]"]
    dataset.DerivationCodeSequence = [other]
    altered = write(dataset)
    assert dicom.undocumented_changes(original, altered) == ["DerivationCodeSequence[0].CodeValue"]


def test_a_removed_private_element_is_documented_only_if_it_held_a_picture(
    shipped: Shipped,
) -> None:
    for value, expected in ((b"\x89PNG\r\n\x1a\n" * 64, []), (b"measures" * 64, ["(0071,1010)"])):
        dataset = read(shipped("CT_small.dcm"))
        dataset.private_block(0x0071, "house", create=True).add_new(0x10, "OB", value)
        original = write(dataset)
        del dataset[0x00711010]
        assert dicom.undocumented_changes(original, write(dataset)) == expected


def test_another_vr_or_length_form_is_a_change(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2"
    dataset.ReferencedImageSequence = [item]
    dataset.add(DataElement(0x00711010, "LO", "text"))
    original = write(dataset)
    dataset.add(DataElement(0x00711010, "SH", "text"))
    assert dicom.undocumented_changes(original, write(dataset)) == ["(0071,1010)"]
    dataset.add(DataElement(0x00711010, "LO", "text"))
    dataset["ReferencedImageSequence"].is_undefined_length = True
    assert dicom.undocumented_changes(original, write(dataset)) == ["ReferencedImageSequence"]


def test_pixels_are_not_named(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    original = write(dataset)
    dataset.PixelData = bytes(len(dataset.PixelData))
    assert dicom.changed_elements(original, write(dataset)) == []


def test_files_that_cannot_be_read_are_not_compared(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    with pytest.raises(NotAnImageError):
        dicom.changed_elements(data, b"nothing")
    with pytest.raises(CorruptImageError):
        dicom.changed_elements(data[:1000], data)


def test_every_documented_name_stands_in_the_reference() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "dicom.md"
    text = page.read_text().lower().replace(" ", "")
    said_otherwise = {
        "GroupLength": "grouplengths(gggg,0000)",
        "SmallestImagePixelValue": "smallest,largestimagepixelvalue",
        "LargestImagePixelValue": "smallest,largestimagepixelvalue",
        "SmallestPixelValueInSeries": "largestpixelvalueinseries",
        "LargestPixelValueInSeries": "largestpixelvalueinseries",
        "SmallestImagePixelValueInPlane": "inplane(0028,0110)",
        "LargestImagePixelValueInPlane": "inplane(0028,0110)",
        "LossyImageCompressionRatio": "ratio(0028,2112)",
        "LossyImageCompressionMethod": "method(0028,2114)",
        "ExtendedOffsetTableLengths": "lengths(7fe0,0002)",
    }
    for name in dicom.DOCUMENTED_CHANGES:
        assert said_otherwise.get(name, name).lower() in text, name


def test_what_changes_in_shipped_files_is_in_the_documented_list(shipped: Shipped) -> None:
    for name in ("CT_small.dcm", "examples_overlay.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_gdcm.dcm"):
        data = shipped(name)
        _, encoded = protect(data)
        assert named(dicom.changed_elements(data, encoded.data)) <= dicom.DOCUMENTED_CHANGES


def test_what_is_too_large_to_compare_is_refused_and_not_passed_over(
    shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read(shipped("MR_small.dcm"))
    dataset.add_new(0x7FE10010, "LO", "PRIVATE")
    dataset.add_new(0x7FE11001, "OB", bytes(40_000))
    data = write(dataset)
    _, encoded = protect(data)
    assert dicom.undocumented_changes(data, encoded.data) == []
    monkeypatch.setattr(limits, "HEADER_BYTES", 39_000)
    with pytest.raises(ImageTooLargeError, match="beside the pixels"):
        dicom.undocumented_changes(data, encoded.data)
