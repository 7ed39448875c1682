"""Which images a finding of a structured report holds for."""

from collections.abc import Callable
from pathlib import Path

from medprotect.plan.labels.findings import label_by_findings
from medprotect.scan.walk import walk

from .labelled import UID, container, dicom, finding, image, of_studies, report

Build = Callable[..., Path]
Find = Callable[[str], Path]
STUDY = f"{UID}.3.0"


def read(root: Path) -> dict[str, tuple[str, ...]]:
    return label_by_findings(root, list(walk(root)))


def test_a_finding_holds_for_the_images_that_it_refers_to(
    export: Build, pydicom_file: Find
) -> None:
    items = [
        finding("111", f"{UID}.1.0"),
        finding("222", f"{UID}.1.1"),
        finding("333", f"{UID}.1.1"),
    ]
    sr = report(pydicom_file("reportsi.dcm"), STUDY, container(*items))
    root = export({"sr.dcm": sr} | of_studies(pydicom_file("MR_small.dcm"), 1))
    assert read(root) == {"0a.dcm": ("111 SCT",), "0b.dcm": ("222 SCT", "333 SCT")}


def test_else_for_those_that_the_part_of_the_report_around_it_refers_to(
    export: Build, pydicom_file: Find
) -> None:
    parts = [container(finding(value), image(f"{UID}.1.{at}")) for at, value in enumerate("12")]
    sr = report(pydicom_file("reportsi.dcm"), STUDY, container(*parts))
    root = export({"sr.dcm": sr} | of_studies(pydicom_file("MR_small.dcm"), 1))
    assert read(root) == {"0a.dcm": ("1 SCT",), "0b.dcm": ("2 SCT",)}


def test_else_for_the_study(export: Build, pydicom_file: Find) -> None:
    sr = report(pydicom_file("reportsi.dcm"), STUDY, container(finding("111")))
    root = export({"sr.dcm": sr} | of_studies(pydicom_file("MR_small.dcm"), 2))
    assert read(root) == {"0a.dcm": ("111 SCT",), "0b.dcm": ("111 SCT",)}


def test_without_reports_or_with_damaged_ones_nothing_is_said(
    export: Build, pydicom_file: Find
) -> None:
    sr = report(pydicom_file("reportsi.dcm"), STUDY, container(finding("111")))
    cut = {f"{at}.dcm": sr[:at] for at in range(300, len(sr), 53)}
    files = {"a.dcm": dicom(pydicom_file("MR_small.dcm"), 1)}
    assert read(export(files | {"real.dcm": pydicom_file("reportsi.dcm").read_bytes()})) == {}
    read(export(files | cut, "cut"))
