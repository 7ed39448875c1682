"""References to protected images, in real objects: written by us, read again by pydicom."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from medprotect.imaging import dicom
from medprotect.imaging.dicom.references import find_references, leave_out_pictures, remap

from .conftest import read, write

Shipped = Callable[[str], bytes]

OBJECTS = (
    "rtplan.dcm",  # implicit
    "rtstruct.dcm",
    "liver_1frame.dcm",  # a segmentation
    "liver_expb_1frame.dcm",  # big endian
    "reportsi.dcm",
    "dicomdirtests/DICOMDIR",
    "dicomdirtests/DICOMDIR-implicit",
    "dicomdirtests/DICOMDIR-bigEnd",
    "dicomdirtests/DICOMDIR-reordered",
)


def new_uids(data: bytes) -> dict[str, str]:
    """A UID for everything a file refers to, each of another length than the last."""
    names = sorted(find_references(data))
    return {name: "2.25." + "7" * (1 + at % 39) + str(at) for at, name in enumerate(names)}


@pytest.mark.parametrize("name", OBJECTS)
class TestRealObjects:
    def test_every_reference_is_remapped_and_nothing_else(
        self, shipped: Shipped, name: str
    ) -> None:
        data = shipped(name)
        uids = new_uids(data)
        remapped, notes = remap(data, uids)
        assert notes == ("references_remapped",)
        assert dicom.undocumented_copy_changes(data, remapped, uids) == []
        expected = {f"{each.partition(' ')[0]} {uid}" for each, uid in uids.items()}
        assert set(find_references(remapped)) == expected == dicom.references_of(remapped)
        back = {f"{each.partition(' ')[0]} {uid}": each.split()[1] for each, uid in uids.items()}
        assert remap(remapped, back)[0] == data

    def test_a_reference_that_was_left_as_it_was_is_named(
        self, shipped: Shipped, name: str
    ) -> None:
        data = shipped(name)
        uids = new_uids(data)
        left = dict(list(uids.items())[1:])
        assert dicom.undocumented_copy_changes(data, data, uids)
        remapped = remap(data, left)[0] if left else data
        assert dicom.undocumented_copy_changes(data, remapped, uids)

    def test_a_reference_that_was_not_to_be_remapped_is_named(
        self, shipped: Shipped, name: str
    ) -> None:
        data = shipped(name)
        uids = new_uids(data)
        fewer = dict(list(uids.items())[1:])
        assert dicom.undocumented_copy_changes(data, remap(data, uids)[0], fewer)

    def test_without_new_uids_not_one_byte_changes(self, shipped: Shipped, name: str) -> None:
        assert remap(shipped(name), {"instance 1.2.3": "2.25.1"}) == (shipped(name), ())


def test_a_dicomdir_still_leads_to_its_records(shipped: Shipped) -> None:
    data = shipped("dicomdirtests/DICOMDIR")
    remapped = read(remap(data, new_uids(data))[0])
    records = {each.seq_item_tell: each for each in remapped.DirectoryRecordSequence}
    at = remapped.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
    patients = []
    while at:
        patients.append(records[at].PatientID)
        below = records[records[at].OffsetOfReferencedLowerLevelDirectoryEntity]
        assert below.DirectoryRecordType == "STUDY"
        at = records[at].OffsetOfTheNextDirectoryRecord
    assert patients == ["77654033", "98890234"]


def test_an_offset_that_leads_elsewhere_is_named(shipped: Shipped) -> None:
    data = shipped("dicomdirtests/DICOMDIR")
    uids = new_uids(data)
    dataset = read(remap(data, uids)[0])
    records = dataset.DirectoryRecordSequence
    records[0].OffsetOfTheNextDirectoryRecord = records[1].seq_item_tell
    found = dicom.undocumented_copy_changes(data, write(dataset), uids)
    assert found == ["DirectoryRecordSequence[0].OffsetOfTheNextDirectoryRecord"]


@pytest.mark.parametrize(
    ("keyword", "value"), [("SeriesDescription", "other"), ("PixelData", b"\1" * 14)]
)
def test_another_change_beside_the_references_is_named(
    shipped: Shipped, keyword: str, value: object
) -> None:
    data = shipped("liver_1frame.dcm")
    uids = new_uids(data)
    dataset = read(remap(data, uids)[0])
    setattr(dataset, keyword, value)
    assert keyword in dicom.undocumented_copy_changes(data, write(dataset), uids)


def test_own_uids_and_those_that_name_no_instance_stay(shipped: Shipped) -> None:
    dataset = read(shipped("CT_small.dcm"))
    uid = dataset.SOPInstanceUID
    dataset.FrameOfReferenceUID = dataset.SeriesInstanceUID = uid
    item = Dataset()
    item.ReferencedSOPInstanceUID, item.StudyInstanceUID = uid, uid
    item.SeriesInstanceUID = uid
    dataset.ReferencedImageSequence = [item]
    uids = {f"instance {uid}": "2.25.1", f"series {uid}": "2.25.2"}
    after = dcmread(BytesIO(remap(write(dataset), uids)[0]))
    assert [after.SOPInstanceUID, after.FrameOfReferenceUID, after.SeriesInstanceUID] == [uid] * 3
    (item,) = after.ReferencedImageSequence
    assert item.ReferencedSOPInstanceUID == "2.25.1"
    assert (item.StudyInstanceUID, item.SeriesInstanceUID) == (uid, "2.25.2")


def test_a_signature_that_no_longer_holds_goes(shipped: Shipped) -> None:
    dataset = read(shipped("reportsi.dcm"))
    dataset.DigitalSignaturesSequence = [Dataset()]
    data = write(dataset)
    uids = new_uids(data)
    remapped, notes = remap(data, uids)
    assert notes == ("references_remapped", "signature_removed")
    assert "DigitalSignaturesSequence" not in read(remapped)
    assert dicom.undocumented_copy_changes(data, remapped, uids) == []


def test_a_deflated_object_and_a_preamble_are_kept(shipped: Shipped) -> None:
    dataset = read(shipped("reportsi.dcm"))
    dataset.preamble = b"II*\0" * 32
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    data = write(dataset)
    uids = new_uids(data)
    remapped = remap(data, uids)[0]
    assert remapped[:128] == b"II*\0" * 32
    assert dicom.undocumented_copy_changes(data, remapped, uids) == []


def test_every_element_that_names_an_instance_is_in_the_reference() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "dicom.md").read_text()
    for words in ("Referenced SOP Instance UID", "Multi-Frame Source", "Concatenation Source"):
        assert words in page


def icon() -> Dataset:
    """A picture of 16 x 16 pixels."""
    item = Dataset()
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.Rows = item.Columns = 16
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 8, 8, 7, 0
    item.add_new("PixelData", "OB", bytes(range(256)))
    return item


class TestPictures:
    def test_an_icon_in_a_record_goes_and_the_records_are_found_where_they_come_to_lie(
        self, shipped: Shipped
    ) -> None:
        dataset = read(shipped("dicomdirtests/DICOMDIR"))
        records = dataset.DirectoryRecordSequence
        kinds = [record.DirectoryRecordType for record in records]
        _, notes = leave_out_pictures(shipped("dicomdirtests/DICOMDIR"))
        assert notes == ()
        first = next(at for at, kind in enumerate(kinds) if kind == "IMAGE")
        records[first].IconImageSequence = [icon()]
        data = realigned(dataset)
        left, notes = leave_out_pictures(data)
        assert notes == ("icon_image_removed",)
        assert bytes(range(256)) in data
        assert bytes(range(256)) not in left
        assert dicom.undocumented_copy_changes(data, left, {}) == []
        assert [each.DirectoryRecordType for each in read(left).DirectoryRecordSequence] == kinds

    def test_a_picture_that_was_left_in_is_named(self, shipped: Shipped) -> None:
        dataset = read(shipped("reportsi.dcm"))
        dataset.IconImageSequence = [icon()]
        data = write(dataset)
        assert dicom.undocumented_copy_changes(data, data, {}) == ["IconImageSequence"]
        uids = new_uids(data)
        assert "IconImageSequence" in dicom.undocumented_copy_changes(
            data, remap(data, uids)[0], uids
        )

    def test_references_are_remapped_in_what_is_left(self, shipped: Shipped) -> None:
        dataset = read(shipped("reportsi.dcm"))
        dataset.IconImageSequence = [icon()]
        data = write(dataset)
        uids = new_uids(data)
        remapped, _ = remap(leave_out_pictures(data)[0], uids)
        assert dicom.undocumented_copy_changes(data, remapped, uids) == []
        changed = read(remapped)
        changed.PatientID = "another"
        assert "PatientID" in dicom.undocumented_copy_changes(data, write(changed), uids)

    def test_the_pixels_of_a_segmentation_are_no_picture_beside_it(self, shipped: Shipped) -> None:
        data = shipped("liver_1frame.dcm")
        assert leave_out_pictures(data) == (data, ())


def realigned(dataset: Dataset) -> bytes:
    """Write a DICOMDIR so that its offsets lead to its records again."""
    records = dataset.DirectoryRecordSequence
    old = {record.seq_item_tell: at for at, record in enumerate(records)}
    new = [each.seq_item_tell for each in read(write(dataset)).DirectoryRecordSequence]
    keywords = (
        "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity",
        "OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity",
        "OffsetOfTheNextDirectoryRecord",
        "OffsetOfReferencedLowerLevelDirectoryEntity",
    )
    for level in (dataset, *records):
        for keyword in keywords:
            offset = level.get(keyword)
            if offset in old:
                setattr(level, keyword, new[old[offset]])
    return write(dataset)
