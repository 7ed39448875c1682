"""References of two files beside each other: read by pydicom, apart from how we write them."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from medprotect.imaging.dicom.dictionary import name_of, vr_of
from medprotect.imaging.dicom.elements import PIXEL_DATA

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_INSTANCE = {
    "ReferencedSOPInstanceUID",
    "ReferencedSOPInstanceUIDInFile",
    "MultiFrameSourceSOPInstanceUID",
    "SOPInstanceUIDOfConcatenationSource",
}
_LOWER_LEVEL = "OffsetOfReferencedLowerLevelDirectoryEntity"
_OFFSETS = ("OffsetOfTheNextDirectoryRecord", _LOWER_LEVEL)
_ROOT_OFFSETS = (
    "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity",
    "OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity",
)


def read_new_uids(original: Path | BinaryIO, protected: Path | BinaryIO) -> dict[str, str]:
    """Return the new UIDs of a protected file by the names of the old, as pydicom reads them.

    {} where one of the files cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            before, after = _read_own(original), _read_own(protected)
        except Exception:  # pydicom raises what it likes on odd headers
            return {}
    return {
        f"{kind} {old}": after[kind]
        for kind, old in before.items()
        if old and after[kind] and old != after[kind]
    }


def _read_own(file: Path | BinaryIO) -> dict[str, str]:
    from pydicom import dcmread

    keywords = {"instance": "SOPInstanceUID", "series": "SeriesInstanceUID"}
    tags = list(keywords.values())
    dataset = dcmread(file, force=True, stop_before_pixels=True, specific_tags=tags)
    return {
        kind: str(dataset.get(keyword) or "").strip(" \0") for kind, keyword in keywords.items()
    }


def named_references(dataset: "Dataset") -> dict[str, str]:
    """Return what every reference of a data set names, by its path, as in `changes.Difference`."""
    return dict(_walk(dataset, ""))


def compare_references(
    before: "Dataset", after: "Dataset", uids: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    """Return the paths of the references that were rightly remapped, and of those that are wrong.

    A reference is wrong where it names something else than its original does, or than what became
    of that; what is missing or new is for the comparison of all elements to see.
    """
    old, new = named_references(before), named_references(after)
    right, wrong = set(), []
    for path, name in old.items():
        kind = name.partition(" ")[0]
        expected = f"{kind} {uids[name]}" if name in uids else name
        if path in new and new[path] != expected:
            wrong.append(path)
        elif expected != name:
            right.add(path)
    return right, wrong


def _walk(dataset: "Dataset", path: str) -> Iterator[tuple[str, str]]:
    for tag in list(dataset.keys()):
        if not path and tag == PIXEL_DATA:
            continue
        name = name_of(int(tag))
        vr = dataset.get_item(tag).VR
        if vr in (None, "UN"):
            vr = vr_of(int(tag))
        kind = _kind(name, nested=bool(path))
        if kind and vr == "UI":
            yield path + name, f"{kind} {str(dataset[tag].value or '').strip(' ' + chr(0))}"
        elif vr == "SQ" and dataset[tag].VR == "SQ":
            for index, item in enumerate(dataset[tag].value or ()):
                yield from _walk(item, f"{path}{name}[{index}].")


def _kind(keyword: str, *, nested: bool) -> str:
    if keyword in _INSTANCE or (nested and keyword == "SOPInstanceUID"):
        return "instance"
    return "series" if nested and keyword == "SeriesInstanceUID" else ""


def compare_offsets(before: "Dataset", after: "Dataset") -> tuple[set[str], list[str]]:
    """Return the paths of a DICOMDIR's offsets that lead where they led, and of the others."""
    right: set[str] = set()
    wrong: list[str] = []
    records = [each.get("DirectoryRecordSequence") or [] for each in (before, after)]
    if len(records[0]) != len(records[1]):
        return right, ["DirectoryRecordSequence"]
    tells = [[record.seq_item_tell for record in each] for each in records]
    at = [{tell: index for index, tell in enumerate(each)} for each in tells]
    levels = [("", before, after, _ROOT_OFFSETS)]
    for index, (one, other) in enumerate(zip(*records, strict=True)):
        levels.append((f"DirectoryRecordSequence[{index}].", one, other, _OFFSETS))
    for path, one, other, keywords in levels:
        for keyword in keywords:
            old, new = one.get(keyword), other.get(keyword)
            if old == new and at[0].get(old) == at[1].get(new):
                continue
            is_right = old in at[0] and at[0][old] == at[1].get(new)
            if is_right:
                right.add(path + keyword)
            else:
                wrong.append(path + keyword)
    return right, wrong
