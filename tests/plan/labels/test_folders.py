"""Which folders are classes, and which names are none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from medprotect.errors import ConfigError
from medprotect.plan.labels.folders import (
    are_identifiers,
    find_folders,
    label_by_folder,
    part_by_folder,
)
from medprotect.scan.walk import walk

from .labelled import by_class, dicom

Build = Callable[..., Path]


def find(root: Path) -> tuple[dict[str, str], str]:
    return find_folders(root, list(walk(root)))


class TestTheLevelThatPartsAnExport:
    def test_folders_at_the_top_are_the_labels_of_all_that_is_below(self) -> None:
        paths = ["ill/p1/s1/a.dcm", "ill/p2/a.dcm", "well/a.dcm", "table.csv"]
        assert part_by_folder(paths) == {
            "ill": ["ill/p1/s1/a.dcm", "ill/p2/a.dcm"],
            "well": ["well/a.dcm"],
        }

    def test_a_folder_around_them_is_passed_through(self) -> None:
        assert list(part_by_folder(["x/images/ill/a", "x/images/well/b"])) == ["ill", "well"]

    def test_folders_of_a_split_are_seen_through_and_names_below_them_are_one_class(self) -> None:
        found = part_by_folder(["train/ill/a", "Val/ill/b", "test/well/c", "train/well/d", "x.txt"])
        assert found == {
            "ill": ["train/ill/a", "Val/ill/b"],
            "well": ["test/well/c", "train/well/d"],
        }

    def test_a_split_alone_tells_no_classes_apart(self, export: Build) -> None:
        root = export(by_class("train", "test", count=1))
        with pytest.raises(ConfigError, match="--labels a table"):
            label_by_folder(list(walk(root)))

    def test_a_split_beside_other_names_is_a_name_like_them(self) -> None:
        assert list(part_by_folder(["train/a", "other/b"])) == ["other", "train"]

    def test_files_in_one_folder_have_no_labels(self, export: Build) -> None:
        with pytest.raises(ConfigError, match="tell no classes apart"):
            label_by_folder(list(walk(export(by_class("images", count=2)))))

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        for name in ("ill", "well"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.dcm").touch()
        (tmp_path / "more").symlink_to(tmp_path / "ill")
        assert set(label_by_folder(list(walk(tmp_path))).values()) == {"ill", "well"}


class TestFoldersThatAreTakenUnasked:
    def test_ten_images_each_are_enough(self, export: Build) -> None:
        labels, why = find(export(by_class("glioma", "no tumour") | {"about.txt": b"text"}))
        assert (len(labels), set(labels.values()), why) == (20, {"glioma", "no tumour"}, "")

    def test_text_in_folders_counts_for_nothing(self, export: Build) -> None:
        notes = {f"notes/{number}": b"what was seen" for number in range(60)}
        labels, _ = find(export(by_class("ill", "well") | notes))
        assert set(labels.values()) == {"ill", "well"}

    def test_a_large_class_makes_up_for_a_small_one(self, export: Build) -> None:
        labels, _ = find(export(by_class("ill", count=4) | by_class("well", count=16)))
        assert len(labels) == 20

    @pytest.mark.parametrize(
        ("folders", "count", "says"),
        [
            (["ill", "well"], 9, "9 images on average"),
            (["only"], 20, "one folder"),
            (
                [f"kind{letter}{other}" for letter in "abcdef" for other in "abcdef"],
                1,
                "36 folders",
            ),
            (["images", "masks"], 10, "what files are for"),
            (["ct", "mr"], 10, "modalities"),
            (["PAT001", "PAT002"], 10, "numbers of patients"),
            (["sub-01", "sub-02"], 10, "numbers of patients"),
        ],
    )
    def test_others_are_not_and_it_is_said_why(
        self, export: Build, folders: list[str], count: int, says: str
    ) -> None:
        labels, why = find(export(by_class(*folders, count=count)))
        assert labels == {}
        assert says in why
        assert not any(name in why for name in ("PAT001", "sub-01"))

    def test_folders_of_one_patient_each_are_patients_whatever_their_names(
        self, export: Build, pydicom_file: Callable[[str], Path]
    ) -> None:
        source = pydicom_file("MR_small.dcm")
        files = {
            f"{name}/{number}.dcm": dicom(source, number, PatientID=name)
            for name in ("Roe", "Doe")
            for number in range(10)
        }
        assert find(export(files)) == ({}, "each of the 2 folders holds one patient or study")
        several = {
            path: dicom(source, number, PatientID=f"{path[:3]}{number % 3}", StudyInstanceUID="1.2")
            for number, path in enumerate(files)
        }
        assert len(find(export(several, "several"))[0]) == 20


@pytest.mark.parametrize(
    "names",
    [
        ["1.2.840.113619.2.5", "1.2.840.113619.2.6"],
        ["4711", "0815"],
        ["20240131", "2024-02-01"],
        ["case_1", "case_2"],
        ["A1234", "B2345"],
        ["3f2a9b1c", "77e0d1aa"],
        ["Roe^Jane", "Doe^John"],
    ],
)
def test_these_are_names_of_patients_and_studies(names: list[str]) -> None:
    assert are_identifiers(names)


@pytest.mark.parametrize(
    "names",
    [["0", "1", "2"], ["grade1", "grade2"], ["BI-RADS 3", "BI-RADS 4"], ["covid19", "normal"]],
)
def test_these_are_names_of_classes(names: list[str]) -> None:
    assert not are_identifiers(names)
