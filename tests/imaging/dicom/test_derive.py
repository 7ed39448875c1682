"""The header of a protected image: what is said of the change, and what must go."""

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from medprotect.imaging import dicom
from medprotect.imaging.dicom.derive import describe_derivation
from medprotect.imaging.image import Derivation

from .conftest import DERIVATION, named, new_uid, protect, read, stored, write

Shipped = Callable[[str], bytes]
Altered = Callable[..., bytes]
Made = Callable[..., bytes]


def test_a_protected_image_is_derived_and_says_how(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    _, encoded = protect(data)
    before, after = read(data), read(encoded.data)
    assert list(after.ImageType) == ["DERIVED", *before.ImageType[1:]]
    assert after.DerivationDescription == describe_derivation(DERIVATION)
    (code,) = after.DerivationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113042", "DCM")
    (equipment,) = after.ContributingEquipmentSequence
    assert equipment.Manufacturer == "medprotect"
    assert equipment.SoftwareVersions == "0.1.0"
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109103"
    assert "SourceImageSequence" not in after


def test_uids_are_new_where_they_name_the_pixels_and_no_others(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    _, encoded = protect(data)
    before, after = read(data), read(encoded.data)
    assert new_uid("instance", before.SOPInstanceUID) == after.SOPInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert new_uid("series", before.SeriesInstanceUID) == after.SeriesInstanceUID
    assert after.StudyInstanceUID == before.StudyInstanceUID
    assert after.FrameOfReferenceUID == before.FrameOfReferenceUID
    assert after.file_meta.FileMetaInformationGroupLength > 0
    assert after.InstanceCreationDate == before.InstanceCreationDate
    assert after.InstanceCreationTime == before.InstanceCreationTime


def test_kept_uids_stay_and_no_original_attributes_are_claimed(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    _, encoded = protect(data, dataclasses.replace(DERIVATION, keep_uids=True))
    before, after = read(data), read(encoded.data)
    assert after.SOPInstanceUID == before.SOPInstanceUID
    assert after.SeriesInstanceUID == before.SeriesInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert after.ImageType[0] == "DERIVED"
    assert "OriginalAttributesSequence" not in after


def test_the_source_is_named_only_when_asked_for(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    _, encoded = protect(data, dataclasses.replace(DERIVATION, source_reference=True))
    (source,) = read(encoded.data).SourceImageSequence
    assert source.ReferencedSOPInstanceUID == read(data).SOPInstanceUID
    assert source.ReferencedSOPClassUID == read(data).SOPClassUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert dicom.undocumented_changes(data, encoded.data) == []
    _, silent = protect(data)
    assert read(data).SOPInstanceUID.encode() not in silent.data


@pytest.mark.parametrize(("decoys", "warns"), [(True, True), (False, False)])
def test_decoys_forbid_ai_assisted_diagnosis(decoys: bool, warns: bool) -> None:
    sentence = describe_derivation(Derivation("p", "1", "low", decoys))
    assert ("not for AI-assisted diagnosis" in sentence) is warns
    assert f"decoys {'on' if decoys else 'off'}" in sentence


def test_names_of_pipelines_in_any_script_make_an_ascii_sentence() -> None:
    sentence = describe_derivation(Derivation("hôpital\\日本", "1", "low", decoys=False))
    assert sentence.isascii()
    assert "\\" not in sentence


def test_what_a_header_said_before_is_kept(altered: Altered) -> None:
    code, equipment = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113040", "DCM", "Lossy"
    equipment.Manufacturer = "before"
    data = altered(
        "CT_small.dcm",
        SpecificCharacterSet="ISO_IR 192",
        DerivationDescription="Größe geändert",
        DerivationCodeSequence=[code],
        ContributingEquipmentSequence=[equipment],
    )
    _, encoded = protect(data)
    after = read(encoded.data)
    assert after.DerivationDescription.startswith("Größe geändert; Protected by medprotect")
    assert [item.CodeValue for item in after.DerivationCodeSequence] == ["113040", "113042"]
    makers = [item.Manufacturer for item in after.ContributingEquipmentSequence]
    assert makers == ["before", "medprotect"]
    assert dicom.undocumented_changes(data, encoded.data) == []


def test_a_long_description_is_cut_but_never_ours(altered: Altered) -> None:
    data = altered("CT_small.dcm", DerivationDescription="word " * 204)
    _, encoded = protect(data)
    description = read(encoded.data).DerivationDescription
    assert len(description) <= 1024
    assert description.startswith("word word")
    assert description.endswith(describe_derivation(DERIVATION))
    data = altered("CT_small.dcm", DerivationDescription="x" * 1024)
    _, encoded = protect(data)
    assert read(encoded.data).DerivationDescription == describe_derivation(DERIVATION)


def test_missing_elements_are_made_or_left_missing(altered: Altered) -> None:
    data = altered("CT_small.dcm", ImageType=None, SOPInstanceUID=None, SeriesInstanceUID=None)
    _, encoded = protect(data)
    after = read(encoded.data)
    assert list(after.ImageType) == ["DERIVED", "SECONDARY"]
    assert "SOPInstanceUID" not in after
    assert "SeriesInstanceUID" not in after
    assert dicom.undocumented_changes(data, encoded.data) == []


def test_the_range_of_pixel_values_is_recomputed_where_stated(altered: Altered) -> None:
    data = altered("MR_small.dcm", SmallestImagePixelValue=1, LargestImagePixelValue=2)
    dataset = read(data)
    dataset.add(DataElement(0x00280108, "SS", 0))
    dataset.add(DataElement(0x00280109, "SS", 9))
    data = write(dataset)
    changed, encoded = protect(data)
    after = read(encoded.data)
    assert after.SmallestImagePixelValue == changed[0].min()
    assert after.LargestImagePixelValue == changed[0].max()
    assert "SmallestPixelValueInSeries" not in after
    assert "LargestPixelValueInSeries" not in after
    assert dicom.undocumented_changes(data, encoded.data) == []
    _, encoded = protect(altered("MR_small.dcm"))
    assert ("SmallestImagePixelValue" in read(encoded.data)) == (
        "SmallestImagePixelValue" in read(altered("MR_small.dcm"))
    )


def icon() -> Dataset:
    item = Dataset()
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.Rows = item.Columns = 4
    item.BitsAllocated = item.BitsStored = 8
    item.HighBit, item.PixelRepresentation = 7, 0
    item.PixelData = bytes(range(16))
    item["PixelData"].VR = "OB"
    return item


def test_icons_go_wherever_they_are(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    dataset.IconImageSequence = [icon()]
    nested = Dataset()
    nested.ReferencedSOPInstanceUID = "1.2"
    nested.IconImageSequence = [icon()]
    dataset.ReferencedImageSequence = [nested]
    data = write(dataset)
    _, encoded = protect(data)
    after = read(encoded.data)
    assert "IconImageSequence" not in after
    assert "IconImageSequence" not in after.ReferencedImageSequence[0]
    assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2"
    assert encoded.notes.count("icon_image_removed") == 1
    assert bytes(range(16)) not in encoded.data
    assert dicom.undocumented_changes(data, encoded.data) == []


def picture_file(format_name: str) -> bytes:
    buffer = io.BytesIO()
    array = np.random.default_rng(0).integers(0, 256, (40, 40)).astype("u1")
    Picture.fromarray(array).save(buffer, format_name)
    return buffer.getvalue()


PRIVATE_PICTURES: dict[str, tuple[str, Any]] = {
    "png": ("OB", picture_file("PNG")),
    "jpeg": ("OB", picture_file("JPEG")),
    "jpeg in a record": ("OB", b"\1\2\3\4" * 20 + picture_file("JPEG")),
    "jpeg 2000": ("OB", picture_file("JPEG2000")),
    "gif": ("OB", picture_file("GIF")),
    "bmp": ("OB", picture_file("BMP")),
    "tiff": ("OB", picture_file("TIFF")),
    "unknown": ("UN", picture_file("PNG")),
    "size of the pixels": ("OW", b"\3" * (128 * 128 * 2)),
    "size of 8-bit pixels": ("OB", b"\3" * (128 * 128)),
    "sequence": ("SQ", Sequence([icon()])),
}


@pytest.mark.parametrize("kind", PRIVATE_PICTURES)
@pytest.mark.parametrize("implicit", [False, True])
def test_private_pictures_go(shipped: Shipped, kind: str, implicit: bool) -> None:
    dataset = read(shipped("CT_small.dcm"))
    vr, value = PRIVATE_PICTURES[kind]
    if isinstance(value, bytes):
        value += b"\0" * (len(value) % 2)
    dataset.private_block(0x0071, "house", create=True).add_new(0x10, vr, value)
    dataset.private_block(0x0071, "house").add_new(0x11, "OB", b"keep me!" * 40)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    data = write(dataset, implicit_vr=implicit, little_endian=True)
    _, encoded = protect(data)
    after = read(encoded.data)
    block = after.private_block(0x0071, "house")
    assert 0x10 not in block
    assert 0x11 in block
    assert "private_picture_removed" in encoded.notes
    assert dicom.undocumented_changes(data, encoded.data) == []
    assert "(0071,1010)" in dicom.changed_elements(data, encoded.data)


def test_private_elements_without_pictures_stay(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    _, encoded = protect(data)
    private = {int(e.tag) for e in read(data) if e.tag.is_private}
    assert private
    assert private == {int(e.tag) for e in read(encoded.data) if e.tag.is_private}
    assert "private_picture_removed" not in encoded.notes


def test_signatures_go_because_they_no_longer_hold(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    mac, signature = Dataset(), Dataset()
    mac.MACIDNumber = 1
    signature.MACIDNumber = 1
    dataset.MACParametersSequence = [mac]
    dataset.DigitalSignaturesSequence = [signature]
    data = write(dataset)
    _, encoded = protect(data)
    after = read(encoded.data)
    assert "MACParametersSequence" not in after
    assert "DigitalSignaturesSequence" not in after
    assert "signature_removed" in encoded.notes
    assert dicom.undocumented_changes(data, encoded.data) == []


def enhanced(shipped: Shipped, made: Made, *, with_derivation: bool = False) -> bytes:
    cells = np.random.default_rng(0).integers(0, 4096, (3, 16, 16)).astype("<u2")
    dataset = read(made(cells, frames=3, BitsStored=12, HighBit=11))
    shared, frame_type = Dataset(), Dataset()
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared.CTImageFrameTypeSequence = [frame_type]
    frames = []
    for index in range(3):
        frame, rescale, voi = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = f"{index + 1}", f"{-100 * index}"
        voi.WindowCenter, voi.WindowWidth = ["40", "50"], [f"{100 + index}", "2000"]
        frame.PixelValueTransformationSequence = [rescale]
        frame.FrameVOILUTSequence = [voi]
        if with_derivation:
            old = Dataset()
            old.DerivationDescription = "old"
            frame.DerivationImageSequence = [old]
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = frames
    return write(dataset)


def test_every_frame_of_an_enhanced_image_is_derived(shipped: Shipped, made: Made) -> None:
    data = enhanced(shipped, made)
    changed, encoded = protect(data)
    np.testing.assert_array_equal(stored(encoded.data), changed)
    (shared,) = read(encoded.data).SharedFunctionalGroupsSequence
    frame_type = shared.CTImageFrameTypeSequence[0].FrameType
    assert list(frame_type) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert len(shared.DerivationImageSequence) == 0
    assert dicom.undocumented_changes(data, encoded.data) == []
    paths = dicom.changed_elements(data, encoded.data)
    path = "SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0].FrameType"
    assert path in paths
    assert "PerFrameFunctionalGroupsSequence" not in named(paths)


def test_derivations_of_frames_that_are_there_stay(shipped: Shipped, made: Made) -> None:
    data = enhanced(shipped, made, with_derivation=True)
    _, encoded = protect(data)
    after = read(encoded.data)
    assert "DerivationImageSequence" not in after.SharedFunctionalGroupsSequence[0]
    for frame in after.PerFrameFunctionalGroupsSequence:
        assert frame.DerivationImageSequence[0].DerivationDescription == "old"


def test_frames_have_their_own_rescale_and_windows(shipped: Shipped, made: Made) -> None:
    for index, image in enumerate(dicom.open_file(enhanced(shipped, made)).images()):
        assert (image.slope, image.intercept) == (index + 1, -100 * index)
        assert [(w.center, w.width) for w in image.windows] == [(40, 100 + index), (50, 2000)]


def test_an_extended_offset_table_is_rebuilt(shipped: Shipped) -> None:
    from pydicom.encaps import encapsulate_extended, generate_frames, parse_basic_offsets

    dataset = read(shipped("SC_rgb_rle_2frame.dcm"))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=2))
    value, offsets, lengths = encapsulate_extended(frames)
    dataset.PixelData = value
    dataset["PixelData"].is_undefined_length = True
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    data = write(dataset)
    changed, encoded = protect(data)
    np.testing.assert_array_equal(stored(encoded.data), changed)
    after = read(encoded.data)
    tables = (after.ExtendedOffsetTable, after.ExtendedOffsetTableLengths)
    found = list(generate_frames(after.PixelData, extended_offsets=tables))
    assert len(found) == 2
    assert parse_basic_offsets(after.PixelData) == []
    assert dicom.undocumented_changes(data, encoded.data) == []


@pytest.mark.parametrize("has_table", [True, False])
def test_a_basic_offset_table_is_written_where_there_was_one(
    shipped: Shipped, has_table: bool
) -> None:
    from pydicom.encaps import encapsulate, generate_frames, parse_basic_offsets

    dataset = read(shipped("SC_rgb_rle_2frame.dcm"))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=2))
    dataset.PixelData = encapsulate(frames, has_bot=has_table)
    dataset["PixelData"].is_undefined_length = True
    changed, encoded = protect(write(dataset))
    np.testing.assert_array_equal(stored(encoded.data), changed)
    assert len(parse_basic_offsets(read(encoded.data).PixelData)) == (2 if has_table else 0)
