"""Coded findings in structured reports: what somebody has said that images show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medprotect.plan.labels.headers import read_headers, read_ids, read_values
from medprotect.scan.walk import Found, Tree

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_OF_REPORTS = b"1.2.840.10008.5.1.4.1.1.88."
"""Begins the SOP class UIDs of structured reports (PS3.6 annex A), which stand in file meta."""

_FINDING = ("121071", "DCM")
_MOST_DEPTH = 64


@dataclass(slots=True)
class _Said:
    """Findings of a part of a report, and images that it refers to."""

    findings: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)


def label_by_findings(export: Path | Tree, files: Sequence[Found]) -> dict[str, tuple[str, ...]]:
    """Return the codes of the findings of each image: sorted, each once.

    A finding holds for the images that it refers to, else for those that the part of the report
    around it refers to, else for the study.

    Parameters
    ----------
    export : Path or Tree
        Root of the export.
    files : sequence of Found
        All of it; only where one is a report, headers of the others are read.
    """
    of_images: dict[str, set[str]] = {}
    of_studies: dict[str, set[str]] = {}
    reports = set()
    for path, report in read_headers(export, files, (), only=_OF_REPORTS):
        reports.add(path)
        rest = _read_part(report, of_images, 0)
        for study in read_values(report, ["StudyInstanceUID"]):
            of_studies.setdefault(study, set()).update(rest.findings)
    if not any(of_images.values()) and not any(of_studies.values()):
        return {}
    ids = read_ids(export, [each for each in files if each.path not in reports])
    by_path: dict[str, set[str]] = {}
    for keyword, of_ids in (("SOPInstanceUID", of_images), ("StudyInstanceUID", of_studies)):
        for uid, findings in of_ids.items():
            for path in ids[keyword].get(uid, ()):
                by_path.setdefault(path, set()).update(findings)
    return {path: tuple(sorted(findings)) for path, findings in by_path.items() if findings}


def _read_part(part: "Dataset", of_images: dict[str, set[str]], depth: int) -> _Said:
    """Return what is said below a part and holds for no image there; note what does for some."""
    said = _Said()
    for item in _items(part, "ContentSequence") if depth < _MOST_DEPTH else ():
        below = _read_part(item, of_images, depth + 1)
        own = _finding(item)
        if own:
            below.findings.add(own)
        below.images.update(
            uid
            for each in _items(item, "ReferencedSOPSequence")
            for uid in read_values(each, ["ReferencedSOPInstanceUID"])
        )
        if below.findings and below.images:
            _note(below, of_images)
            below.findings = set()
        said.findings |= below.findings
        said.images |= below.images
    if said.findings and said.images:
        _note(said, of_images)
        said.findings = set()
    return said


def _note(said: _Said, of_images: dict[str, set[str]]) -> None:
    for uid in said.images:
        of_images.setdefault(uid, set()).update(said.findings)


def _finding(item: "Dataset") -> str:
    """Return the code of an item that is a finding, else ""."""
    if read_values(item, ["ValueType"]) != ("CODE",):
        return ""
    names = [_code(each) for each in _items(item, "ConceptNameCodeSequence")]
    values = [_code(each) for each in _items(item, "ConceptCodeSequence")]
    return " ".join(values[0]) if names == [_FINDING] and values else ""


def _code(item: "Dataset") -> tuple[str, str]:
    value, scheme = (read_values(item, [word]) for word in ("CodeValue", "CodingSchemeDesignator"))
    return " ".join(value), " ".join(scheme)


def _items(part: "Dataset", keyword: str) -> "Iterator[Dataset]":
    try:
        yield from part.get(keyword) or ()
    except Exception:  # a damaged report says nothing more
        return
