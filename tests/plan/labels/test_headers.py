"""Labels in DICOM headers, read from real files and from damaged ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from medprotect.errors import ConfigError
from medprotect.plan.labels.headers import label_by_field, parse_field, read_ids
from medprotect.scan.walk import walk

from .labelled import code, dicom, png

Build = Callable[..., Path]
Find = Callable[[str], Path]


def read(root: Path, words: str) -> dict[str, tuple[str, ...]]:
    return label_by_field(root, list(walk(root)), parse_field(words))


def test_a_field_is_read_from_each_file_that_has_it(export: Build, pydicom_file: Find) -> None:
    mr = pydicom_file("MR_small.dcm")
    root = export(
        {
            "a.dcm": dicom(mr, 1, BodyPartExamined="HEAD"),
            "b.dcm": dicom(mr, 2, BodyPartExamined=""),
            "c.png": png(),
            "d.txt": b"text",
        }
    )
    assert read(root, "BodyPartExamined") == {"a.dcm": ("HEAD",)}


def test_a_path_leads_into_sequences_and_several_values_are_one_label(
    export: Build, pydicom_file: Find
) -> None:
    region = [code("T-2", "SRT"), code("T-1", "SRT")]
    mr = dicom(pydicom_file("MR_small.dcm"), 1, AnatomicRegionSequence=region)
    root = export({"a.dcm": mr})
    assert read(root, "AnatomicRegionSequence.CodeValue") == {"a.dcm": ("T-1", "T-2")}
    assert read(root, "ImageType")["a.dcm"] == ("DERIVED", "OTHER", "SECONDARY")


def test_damaged_files_have_no_label_and_stop_nothing(export: Build, pydicom_file: Find) -> None:
    whole = dicom(pydicom_file("MR_small.dcm"), 1, BodyPartExamined="HEAD")
    files = {f"{at:05}.dcm": whole[:at] for at in range(0, len(whole), 97)}
    broken = {
        f"x{at}.dcm": whole[:at] + b"\xff" * 40 + whole[at + 40 :] for at in range(132, 900, 19)
    }
    read(export(files | broken | {"whole.dcm": whole}), "BodyPartExamined")["whole.dcm"]


def test_what_is_deflated_is_not_inflated(export: Build, pydicom_file: Find) -> None:
    assert read(export({"a.dcm": pydicom_file("image_dfl.dcm")}), "Modality") == {}


def test_a_link_is_not_followed(tmp_path: Path, pydicom_file: Find) -> None:
    (tmp_path / "a.dcm").symlink_to(pydicom_file("MR_small.dcm"))
    assert read(tmp_path, "Modality") == {}


def test_ids_name_the_files_of_a_patient_and_a_study(export: Build, pydicom_file: Find) -> None:
    mr = pydicom_file("MR_small.dcm")
    root = export({"a": dicom(mr, 1, PatientID="P7"), "b": dicom(mr, 2, PatientID="P7")})
    ids = read_ids(root, list(walk(root)))
    assert ids["PatientID"] == {"P7": ["a", "b"]}
    assert sorted(ids["StudyInstanceUID"].values()) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("BodyPart", "did you mean BodyPartExamined"),
        ("", "BodyPartExamined"),
        ("AnatomicRegionSequence", "AnatomicRegionSequence.CodeMeaning"),
        ("Modality.CodeMeaning", "leave out what follows"),
        ("AnatomicRegionSequence.Code", "Part 2"),
        ("PixelData", "bytes"),
    ],
)
def test_a_keyword_that_can_be_none_is_refused_with_what_to_do(words: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_field(words)
