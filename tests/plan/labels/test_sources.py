"""Labels that an export holds, or that a table gives it: what is found, and what is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from medprotect.errors import ConfigError
from medprotect.plan.labels.sources import TOLD, FoundLabels, find_labels, given_labels
from medprotect.scan.walk import Found

from .labelled import (
    UID,
    by_class,
    container,
    dicom,
    finding,
    of_studies,
    png,
    report,
    table,
)
from .test_table import workbook

Build = Callable[..., Path]
Find = Callable[[str], Path]

PICTURES = {f"s/{number}.png": png(number) for number in range(4)}
LABELS = {"s/0.png": "ill", "s/1.png": "ill", "s/2.png": "well", "s/3.png": "well"}
NAMES = dict(zip([f"{number}.png" for number in range(4)], LABELS.values(), strict=True))


@pytest.fixture
def give(tmp_path: Path) -> Callable[..., str]:
    """`give(data)` writes a table beside the export and returns its path."""

    def write(data: bytes, columns: str = "", name: str = "table.csv") -> str:
        (tmp_path / name).write_bytes(data)
        return f"{tmp_path / name}{columns}"

    return write


class TestATableThatIsGiven:
    @pytest.mark.parametrize(
        "data",
        [
            table(LABELS, "file", "label"),
            table(NAMES, "image", "label"),
            table({name.removesuffix(".png"): label for name, label in NAMES.items()}, "n", "dx"),
            table({f"./{path}": label for path, label in LABELS.items()}, "path", "Diagnosis"),
            table(LABELS, "where", "what", between="\t"),
            workbook(["file", "label"], *map(list, LABELS.items())),
            json.dumps(NAMES).encode(),
            json.dumps([{"id": name, "class": label} for name, label in NAMES.items()]).encode(),
        ],
        ids=["strict", "name", "stem", "path", "TSV", "XLSX", "JSON", "JSON list"],
    )
    def test_names_files_by_path_or_name(
        self, export: Build, give: Callable[..., str], data: bytes
    ) -> None:
        found = find_labels(export(PICTURES), give(data))
        assert found.by_path == LABELS
        assert found.source.kind == "table"
        assert found.source.warnings == (TOLD,)

    @pytest.mark.parametrize(
        ("column", "of"),
        [
            ("SOPInstanceUID", {f"{UID}.1.{10 * n + at}": n for n in range(4) for at in (0, 1)}),
            ("StudyInstanceUID", {f"{UID}.3.{n}": n for n in range(4)}),
            ("SeriesInstanceUID", {f"{UID}.2.{10 * n + at}": n for n in range(4) for at in (0, 1)}),
            ("PatientID", {f"P{10 * n + at}": n for n in range(4) for at in (0, 1)}),
        ],
    )
    def test_names_what_headers_are_known_by_and_holds_for_all_its_images(
        self,
        export: Build,
        pydicom_file: Find,
        give: Callable[..., str],
        column: str,
        of: dict[str, int],
    ) -> None:
        root = export(of_studies(pydicom_file("MR_small.dcm")))
        rows = {name: "ill" if study < 2 else "well" for name, study in of.items()}
        found = find_labels(root, give(table(rows, "whatever it is called", "label")))
        assert found.by_path == {
            f"{study}{side}.dcm": "ill" if study < 2 else "well"
            for study in range(4)
            for side in "ab"
        }

    def test_names_folders_as_bids_does(self, export: Build, give: Callable[..., str]) -> None:
        root = export(by_class("sub-01/anat", "sub-02/anat", "sub-03/func", count=2))
        people: list[list[object]] = [
            ["sub-01", 40, "control"],
            ["sub-02", 41, "patient"],
            ["sub-03", 50, "n/a"],
        ]
        data = table(people, "participant_id", "age", "group", between="\t")
        found = find_labels(root, give(data, name="participants.tsv"))
        assert found.by_path["sub-02/anat/1.png"] == "patient"
        assert set(found.by_path.values()) == {"control", "patient"}
        assert found.source.columns == ("group",)

    def test_lines_of_patients_who_are_not_in_the_export_are_counted(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        root = export(by_class("p1", "p2", "p3", count=2))
        rows = {"p1": "ill", "p2": "well", "p3": "ill", "p4": "ill", "p5": "well"}
        found = find_labels(root, give(table(rows, "patient", "label")))
        assert found.source.warnings[1] == "2 lines of the table of labels name nothing in EXPORT"

    def test_several_columns_are_one_label_for_each_combination(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        rows: list[list[object]] = [
            [name, label, "fm"[number % 2]] for number, (name, label) in enumerate(NAMES.items())
        ]
        data = table(rows, "file", "finding", "sex")
        root = export(PICTURES)
        both = find_labels(root, give(data, ":finding,sex"))
        assert len(set(both.by_path.values())) == 4
        assert both.source.columns == ("finding", "sex")
        assert find_labels(root, give(data)).by_path == LABELS
        assert set(find_labels(root, give(data, ":sex")).by_path.values()) == {"f", "m"}

    def test_the_one_column_that_qualifies_needs_no_name(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        rows: list[list[object]] = [
            [name, label, 0.5 + number, f"note {number}"]
            for number, (name, label) in enumerate(NAMES.items())
        ]
        found = find_labels(export(PICTURES), give(table(rows, "f", "seen", "size", "remark")))
        assert (found.by_path, found.source.columns) == (LABELS, ("seen",))

    def test_what_decides_labels_decides_the_identity_of_a_run(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        root = export(PICTURES)
        other = {**NAMES, "0.png": "well"}
        found = [
            find_labels(root, given).sha256
            for given in (
                give(table(NAMES, "image", "label"), name="a.csv"),
                give(table(NAMES, "image", "label"), name="same.csv"),
                give(table(other, "image", "label"), name="b.csv"),
                give(table(NAMES, "image", "dx"), name="c.csv"),
            )
        ]
        assert found[0] == found[1]
        assert len({*found, ""}) == 4

    def test_the_same_column_of_the_strict_table_keeps_the_identity_that_it_had(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        import hashlib

        data = table(LABELS, "file", "label")
        assert find_labels(export(PICTURES), give(data)).sha256 == hashlib.sha256(data).hexdigest()


PERSONAL = "Roe^Jane-4711"
BROKEN = {
    "a file that is not there": (
        table({**NAMES, f"{PERSONAL}.png": "ill"}, "image", "label"),
        "",
        "Line 6 of the labels file names no file in EXPORT. Correct the name, or take the line out",
    ),
    "two labels for one file": (
        table([*map(list, NAMES.items()), ["0.png", PERSONAL]], "image", "label"),
        "",
        "line 2 of the labels file, and line 6 of the labels file. Keep one of them",
    ),
    "an empty label": (
        table({**NAMES, "3.png": ""}, "image", "label"),
        "",
        "There is no 'label' in line 5 of the labels file: fill it in, or write n/a",
    ),
    "an empty name": (
        table({**NAMES, "": PERSONAL}, "image", "label"),
        "",
        "There is no 'image' in line 6 of the labels file: fill it in, or take the line out",
    ),
    "no column that names anything": (
        table({f"{PERSONAL}{n}": "ill" for n in range(4)}, "who", "label"),
        "",
        "No column of the labels file names what is in EXPORT",
    ),
    "no line of column names": (
        table(dict(list(NAMES.items())[1:]), *next(iter(NAMES.items()))),
        "",
        "The first line of the labels file names a file: put a line with the names",
    ),
    "a column that is not there": (
        table(NAMES, "image", "label"),
        ":lable",
        "not among the 2 that the first line of the labels file names: did you mean 'label'?",
    ),
    "one label only": (
        table(dict.fromkeys(NAMES, PERSONAL), "image", "label"),
        "",
        "The column 'label' of the labels file gives one label only",
    ),
    "several columns that may be it": (
        table([[name, label, label] for name, label in NAMES.items()], "image", "lung", "heart"),
        "",
        "may be the labels ('lung', 'heart'). Name one, or more: --labels FILE:COLUMN",
    ),
    "too many cells": (
        table([["0.png", "ill", PERSONAL]], "image", "label"),
        "",
        "not as many cells as columns in line 2 of the labels file: give it 2",
    ),
    "a column as key and label": (
        table(NAMES, "image", "label"),
        ":image",
        "The column 'image' of the labels file says which files are meant: name another as label",
    ),
    "no table at all": (f"{PERSONAL}\n".encode(), "", "The labels file is no table"),
}


class TestABrokenTable:
    @pytest.mark.parametrize("broken", BROKEN)
    def test_is_refused_by_line_and_column_with_what_to_do_and_nothing_personal(
        self, export: Build, give: Callable[..., str], broken: str
    ) -> None:
        data, columns, says = BROKEN[broken]
        with pytest.raises(ConfigError) as refused:
            find_labels(export(PICTURES), give(data, columns))
        assert says in str(refused.value)
        assert not any(word in str(refused.value) for word in (PERSONAL, "Roe", "4711", "0.png"))

    def test_advice_is_true(self, export: Build, give: Callable[..., str]) -> None:
        root = export(PICTURES)
        data, _, _ = BROKEN["an empty label"]
        filled = data.replace(b"3.png,", b"3.png,n/a")
        assert set(find_labels(root, give(filled)).by_path) == {"s/0.png", "s/1.png", "s/2.png"}
        data, _, _ = BROKEN["several columns that may be it"]
        assert find_labels(root, give(data, ":lung")).by_path == LABELS
        data, _, _ = BROKEN["no line of column names"]
        assert find_labels(root, give(b"image,label\n" + data)).by_path == LABELS

    def test_of_nearly_as_many_labels_as_files_holds_names_and_no_classes(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        pictures = {f"{number}.png": png(number) for number in range(12)}
        rows = {name: f"P{number}" for number, name in enumerate(pictures)}
        with pytest.raises(ConfigError, match=r"12 different labels to 12 .* no classes"):
            find_labels(export(pictures), give(table(rows, "image", "label")))

    def test_of_more_classes_than_noise_can_say_is_refused(
        self, export: Build, give: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("medprotect.plan.labels.columns.MOST_CLASSES", 1)
        with pytest.raises(ConfigError, match="2 different labels, and noise can say 1"):
            find_labels(export(PICTURES), give(table(NAMES, "image", "label")))

    def test_with_a_name_that_several_folders_have_asks_for_the_path(
        self, export: Build, give: Callable[..., str]
    ) -> None:
        root = export(by_class("a", "b", count=4))
        with pytest.raises(ConfigError, match=r"line 2 .* write the path in EXPORT"):
            find_labels(root, give(table(NAMES, "image", "label")))

    @pytest.mark.parametrize("words", ["absent.csv", "absent.csv:label"])
    def test_that_is_missing_is_refused_with_what_labels_takes(
        self, export: Build, words: str
    ) -> None:
        with pytest.raises(ConfigError, match=r"does not exist.*folders, dicom:KEYWORD"):
            find_labels(export(PICTURES), words)


class TestHeaders:
    def test_a_field_gives_labels(self, export: Build, pydicom_file: Find) -> None:
        mr = pydicom_file("MR_small.dcm")
        parts = ("HEAD", "KNEE", "HEAD")
        files = {f"{n}": dicom(mr, n, BodyPartExamined=part) for n, part in enumerate(parts)}
        found = find_labels(export(files), "dicom:BodyPartExamined")
        assert found.by_path == {"0": "HEAD", "1": "KNEE", "2": "HEAD"}
        assert found.source.columns == ("BodyPartExamined",)
        assert found.source.warnings == ()

    @pytest.mark.parametrize(
        ("words", "says"),
        [("AccessionNumber", "No DICOM file in EXPORT says"), ("Modality", "one label only")],
    )
    def test_a_field_that_tells_nothing_apart_is_refused(
        self, export: Build, pydicom_file: Find, words: str, says: str
    ) -> None:
        files = of_studies(pydicom_file("MR_small.dcm"), 2, AccessionNumber="")
        with pytest.raises(ConfigError, match=says):
            find_labels(export(files), f"dicom:{words}")


def look(root: Path, *, copies: bool = False) -> FoundLabels:
    return find_labels(root, "auto", copies_others=copies)


class TestWhatIsFoundUnasked:
    CLASSES = by_class("ill", "well")

    def test_names_of_folders(self, export: Build) -> None:
        root = export(self.CLASSES)
        found = look(root)
        assert set(found.by_path.values()) == {"ill", "well"}
        assert (found.source.kind, found.source.asked) == ("folders", False)
        assert found.sha256 == find_labels(root, "folders").sha256

    def test_a_table_that_leaves_with_out_comes_before_folders(self, export: Build) -> None:
        rows = {path: "f" if at % 2 else "m" for at, path in enumerate(self.CLASSES)}
        root = export(self.CLASSES | {"labels.csv": table(rows, "file", "label")})
        found = look(root, copies=True)
        assert (found.source.kind, found.by_path) == ("table", rows)
        assert found.source.warnings == ()

    def test_a_table_that_stays_is_not_used_and_two_commands_change_that(
        self, export: Build
    ) -> None:
        data = table({path: "fm"[len(path) % 2] for path in self.CLASSES}, "file", "label")
        found = look(export(self.CLASSES | {"labels.csv": data}))
        assert found.source.kind == "folders"
        (reason,) = found.source.reasons
        for words in ('column "label"', "--others copy", "--labels FILE", "not in OUT"):
            assert words in reason

    def test_a_workbook_never_leaves_with_out(self, export: Build) -> None:
        book = workbook(["file", "label"], *([path, path[0]] for path in self.CLASSES))
        found = look(export(self.CLASSES | {"labels.xlsx": book}), copies=True)
        assert found.source.kind == "folders"
        assert "--others copy" not in found.source.reasons[0]

    def test_participants_of_bids(self, export: Build) -> None:
        files = by_class("sub-01/anat", "sub-02/anat", count=2)
        files["participants.tsv"] = b"participant_id\tgroup\nsub-01\tcontrol\nsub-02\tpatient\n"
        files["participants.json"] = b'{"group": {"Description": "control or patient"}}'
        found = look(export(files), copies=True)
        assert found.by_path["sub-01/anat/0.png"] == "control"
        assert len(found.by_path) == 4

    def test_a_table_by_study(self, export: Build, pydicom_file: Find) -> None:
        rows = {f"{UID}.3.{study}": "ill" if study < 2 else "well" for study in range(4)}
        files = of_studies(pydicom_file("MR_small.dcm"))
        files["studies.csv"] = table(rows, "StudyInstanceUID", "diagnosis")
        assert len(look(export(files), copies=True).by_path) == 8

    def test_a_broken_table_is_not_used_and_it_is_said_why(self, export: Build) -> None:
        rows = dict.fromkeys(self.CLASSES, "ill") | {"absent.png": "well"}
        files = self.CLASSES | {"labels.csv": table(rows, "file", "label")}
        found = look(export(files), copies=True)
        assert found.source.kind == "folders"
        assert "line 22 of a table in EXPORT names no file" in found.source.reasons[
            0
        ].lower().replace("export", "EXPORT")

    def test_a_table_of_something_else_is_not_spoken_of(self, export: Build) -> None:
        data = table({f"drug {n}": n for n in range(9)}, "name", "dose")
        assert look(export(self.CLASSES | {"drugs.csv": data})).source.reasons == ()

    def test_findings_of_reports_that_leave_with_out(
        self, export: Build, pydicom_file: Find
    ) -> None:
        files = of_studies(pydicom_file("MR_small.dcm"))
        for study in range(4):
            sr = report(
                pydicom_file("reportsi.dcm"),
                f"{UID}.3.{study}",
                container(finding("111" if study < 2 else "222")),
            )
            files[f"sr{study}.dcm"] = sr
        root = export(files)
        found = look(root, copies=True)
        assert found.source.kind == "findings"
        assert (found.by_path["0a.dcm"], found.by_path["3b.dcm"]) == ("111 SCT", "222 SCT")
        left = look(root)
        assert left.by_path == {}
        assert "`--others copy` takes it along" in left.source.reasons[-1]
        assert "--labels" not in left.source.reasons[-1]

    def test_nothing_is_told_in_one_line(self, export: Build) -> None:
        found = look(export(PICTURES))
        assert (found.by_path, found.sha256) == ({}, "")
        assert found.source.reasons == (
            "names of folders are not used: all images lie in one folder",
        )

    def test_links_and_what_is_damaged_stop_nothing(self, export: Build, tmp_path: Path) -> None:
        files = {"labels.csv": b"\xff\xfe\0", "x.json": b"{", "b.xlsx": b"PK\x03\x04", "sr": b"\0"}
        root = export(self.CLASSES | files)
        assert look(root, copies=True).source.kind == "folders"
        other = tmp_path / "other"
        other.mkdir()
        (other / "labels.csv").symlink_to(root / "ill" / "0.png")
        assert look(other, copies=True).by_path == {}

    def test_no_pipeline_that_says_any_label_needs_none(self, export: Build) -> None:
        root = export(self.CLASSES)
        assert find_labels(root, "auto", any_label=False).source.kind == ""
        assert find_labels(root, "none").by_path == {}


class Stored:
    """An export that is no folder, and whose files are not to be opened for labels."""

    def walk(self) -> Iterator[Found]:
        yield from (Found(path) for path in sorted(LABELS))

    def find(self, path: str) -> Found | None:
        return None

    def open(self, found: Found) -> BinaryIO:
        raise AssertionError("a file was fetched")


class TestAnExportInAStore:
    def test_takes_a_table_of_paths(self, give: Callable[..., str]) -> None:
        given = give(table(NAMES, "image", "label"))
        assert find_labels(Stored(), given).by_path == LABELS

    def test_holds_none_that_are_found_unasked_and_it_is_said(self) -> None:
        found = find_labels(Stored(), "auto")
        assert found.by_path == {}
        assert "--labels FILE" in found.source.reasons[0]

    @pytest.mark.parametrize("words", ["folders", "dicom:Modality"])
    def test_refuses_what_needs_a_folder(self, words: str) -> None:
        with pytest.raises(ConfigError, match="EXPORT that is a folder"):
            find_labels(Stored(), words)


def test_labels_may_be_given_by_a_program() -> None:
    found = given_labels(LABELS)
    assert (found.by_path, found.source.kind) == (LABELS, "given")
    assert found.sha256 != given_labels({**LABELS, "s/0.png": "well"}).sha256
    assert given_labels({}).sha256 == ""
