"""References among the files of an export, after a run: whoever follows one finds the image."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.fileset import FileSet

from medprotect.confounder.key import Key
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Journal, Outcome
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Summary
from medprotect.protect.verify import verify_run

KEY = Key(bytes(range(32)))
FIRST = "PT000000/ST000000/SE000000/IM000000"
OWN = ("SOPInstanceUID", "SeriesInstanceUID")
ENDINGS = (*OWN, "SOPInstanceUIDInFile")
SECOND = "PT000000/ST000000/SE000000/IM000001"


def reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = uid
    return item


def evidence(uids: list[str], series: str) -> Dataset:
    inner, outer = Dataset(), Dataset()
    inner.SeriesInstanceUID = series
    inner.ReferencedSOPSequence = [reference(uid) for uid in uids]
    outer.StudyInstanceUID = "1.2.3"
    outer.ReferencedSeriesSequence = [inner]
    return outer


def written(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def build(folder: Path) -> Path:
    """A file-set of two slices that refer to each other, and a report on one and on a third."""
    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    file_set = FileSet()
    for number in (1, 2):
        dataset = dcmread(shipped / "CT_small.dcm")
        dataset.SeriesInstanceUID, dataset.InstanceNumber = "1.2.7", number
        dataset.SOPInstanceUID = f"1.2.7.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.ReferencedImageSequence = [reference(f"1.2.7.{3 - number}"), reference("1.9")]
        file_set.add(dataset)
    with warnings.catch_warnings():  # it leaves its temporary folder to be collected
        warnings.simplefilter("ignore", ResourceWarning)
        file_set.write(folder / "export")
    file_set._stage["t"].cleanup()
    report = dcmread(shipped / "reportsi.dcm")
    report.CurrentRequestedProcedureEvidenceSequence = [evidence(["1.2.7.1", "1.9"], "1.2.7")]
    (folder / "export" / "report.dcm").write_bytes(written(report))
    (folder / "export" / "notes.txt").write_text("see 1.2.7.1\n")
    return folder / "export"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run(build(folder))
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    """The same export, with what a run has made of it."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "export"


def settings(root: Path, out: str = "out", jobs: int = 1, **options: bool) -> Settings:
    place = root.with_name(out)
    return Settings(
        export=root,
        out=place,
        state=place.with_name(place.name + ".medprotect"),
        candidates=find_candidates(["radiology-grey"]),
        jobs=jobs,
        copy_others=True,
        **options,
    )


def run(root: Path, out: str = "out", jobs: int = 1, **options: bool) -> Summary:
    return protect_export(settings(root, out, jobs, **options), KEY)


def faults(root: Path, out: str = "out") -> list[str]:
    place = settings(root, out)
    return [fault.detail for fault in verify_run(root, place.out, place.state).faults]


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def named(dataset: Dataset, top: bool = True) -> Iterator[tuple[str, str]]:
    """Every keyword that names an instance or a series, with its value."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from named(item, top=False)
        elif not (top and element.keyword in OWN) and element.keyword.endswith(ENDINGS):
            yield element.keyword, str(element.value)


def test_every_reference_in_out_leads_to_an_image_in_out(root: Path) -> None:
    before = files(root)
    summary = run(root, jobs=2)
    assert files(root) == before
    assert summary.counts == {Outcome.PROTECTED: 2, Outcome.COPIED: 3}
    out = settings(root).out
    images = [dcmread(out / name) for name in (FIRST, SECOND)]
    new = {str(image.SOPInstanceUID) for image in images}
    series = {str(image.SeriesInstanceUID) for image in images}
    assert (len(new), len(series)) == (2, 1)
    assert not new & {"1.2.7.1", "1.2.7.2"}
    found = set()
    for name in (FIRST, SECOND, "report.dcm", "DICOMDIR"):
        found |= {value for _, value in named(dcmread(out / name))}
    assert found - {"0"} == new | series | {"1.9"}  # the report had an empty one before
    assert (out / "notes.txt").read_bytes() == before["notes.txt"]
    assert faults(root) == []


def test_the_file_set_can_be_read_as_one(done: Path) -> None:
    out = settings(done).out
    file_set = FileSet(out / "DICOMDIR")
    assert len(file_set) == 2
    for instance in file_set:
        assert instance.load().SOPInstanceUID == instance.SOPInstanceUID
        assert instance.load().SeriesInstanceUID == instance.SeriesInstanceUID
    file_set._stage["t"].cleanup()


def test_the_receipt_lists_every_reference_that_was_remapped(done: Path) -> None:
    place = settings(done)
    lines = {
        line["path"]: line.get("remapped", {})
        for line in json.loads((place.state / "receipt.json").read_text())["files"]
    }
    first, second = (dcmread(place.out / name) for name in (FIRST, SECOND))
    assert lines[FIRST] == {"instance 1.2.7.2": second.SOPInstanceUID}
    assert lines[SECOND] == {"instance 1.2.7.1": first.SOPInstanceUID}
    report = {"instance 1.2.7.1": first.SOPInstanceUID, "series 1.2.7": first.SeriesInstanceUID}
    assert lines["report.dcm"] == report
    assert lines["DICOMDIR"] == report | lines[FIRST]
    assert lines["notes.txt"] == {}


def test_a_copied_report_leaves_its_picture_behind(root: Path) -> None:
    path = root / "report.dcm"
    report, icon = dcmread(path), Dataset()
    icon.Rows = icon.Columns = 16
    icon.add_new("PixelData", "OB", bytes(range(256)))
    report.IconImageSequence = [icon]
    path.write_bytes(written(report))
    run(root)
    place = settings(root)
    copied = dcmread(place.out / "report.dcm")
    assert "IconImageSequence" not in copied
    lines = json.loads((place.state / "receipt.json").read_text())["files"]
    (line,) = (each for each in lines if each["path"] == "report.dcm")
    assert line["notes"] == ["icon_image_removed", "references_remapped"]
    assert faults(root) == []
    copied.IconImageSequence = [icon]
    (place.out / "report.dcm").write_bytes(written(copied))
    assert faults(root)


def test_kept_uids_leave_references_and_copies_as_they_are(root: Path) -> None:
    before = files(root)
    run(root, keep_uids=True)
    after = files(settings(root).out)
    assert {name for name in after if after[name] != before[name]} == {FIRST, SECOND}
    assert faults(root) == []


def damage(root: Path) -> bytes:
    """Cut the second slice, so that it is rejected; return what it was."""
    path = root / SECOND
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    return data


def test_a_reference_to_an_image_that_was_rejected_stays(root: Path) -> None:
    damage(root)
    summary = run(root, hold_series=False)
    assert summary.counts[Outcome.REJECTED] == 1
    out = settings(root).out
    assert ("ReferencedSOPInstanceUID", "1.2.7.2") in named(dcmread(out / FIRST))
    values = dict.fromkeys(value for _, value in named(dcmread(out / "DICOMDIR")))
    assert {"1.2.7.1", "1.2.7.2"} & set(values) == {"1.2.7.2"}
    assert faults(root) == []


def test_files_are_done_again_once_what_they_refer_to_is_protected(root: Path) -> None:
    whole = damage(root)
    run(root, hold_series=False)
    report = (settings(root).out / "report.dcm").read_bytes()
    (root / SECOND).write_bytes(whole)
    summary = run(root, hold_series=False)
    assert summary.counts == {Outcome.PROTECTED: 2, Outcome.COPIED: 3}
    run(root, "fresh", hold_series=False)
    assert files(settings(root).out) == files(settings(root, "fresh").out)
    assert (settings(root).out / "report.dcm").read_bytes() == report
    assert faults(root) == []


@pytest.mark.parametrize("after", [1, 3, 4, 5])
def test_a_run_cut_off_at_any_line_of_its_journal_ends_with_the_same_bytes(
    root: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, lines = Journal.record, []

    def cut(self: Journal, entries: object) -> None:
        lines.append(1)
        if len(lines) > after:
            raise KeyboardInterrupt
        record(self, entries)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", cut)
        with pytest.raises(KeyboardInterrupt):
            run(root)
    run(root)
    run(root, "fresh")
    assert files(settings(root).out) == files(settings(root, "fresh").out)
    assert faults(root) == []
    assert list((settings(root).state / "staging").iterdir()) == []


def tamper(root: Path, name: str, edit: Callable[[Dataset], object]) -> None:
    """Change a file of OUT, and let journal and receipt say that it was written so."""
    place = settings(root)
    dataset = dcmread(place.out / name)
    edit(dataset)
    data = written(dataset)
    (place.out / name).write_bytes(data)
    known = {"sha256_out": hashlib.sha256(data).hexdigest(), "size_out": len(data)}
    with Journal(place.state) as journal:
        (entry,) = (each for each in journal.entries() if each.path == name)
        journal.record([replace(entry, **known)])
    receipt = json.loads((place.state / "receipt.json").read_text())
    next(line for line in receipt["files"] if line["path"] == name).update(known)
    (place.state / "receipt.json").write_text(json.dumps(receipt))


def refer(dataset: Dataset, uid: str) -> None:
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = uid


def evidence_series(dataset: Dataset) -> Dataset:
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    series: Dataset = study.ReferencedSeriesSequence[0]
    return series


TAMPERINGS: dict[str, tuple[str, Callable[[Dataset], object]]] = {
    "an image names the old UID": (FIRST, lambda d: refer(d, "1.2.7.2")),
    "an image names another image": (FIRST, lambda d: refer(d, str(d.SOPInstanceUID))),
    "a report names the old UID": (
        "report.dcm",
        lambda d: evidence_series(d).ReferencedSOPSequence.__setitem__(0, reference("1.2.7.1")),
    ),
    "a report names another where none was protected": (
        "report.dcm",
        lambda d: evidence_series(d).ReferencedSOPSequence.__setitem__(1, reference("1.8")),
    ),
    "a report names the old series": (
        "report.dcm",
        lambda d: setattr(evidence_series(d), "SeriesInstanceUID", "1.2.7"),
    ),
    "a report lacks a reference": (
        "report.dcm",
        lambda d: evidence_series(d).ReferencedSOPSequence.pop(1),
    ),
    "a report says another thing": ("report.dcm", lambda d: setattr(d, "PatientAge", "007Y")),
    "a directory names the old UID": (
        "DICOMDIR",
        lambda d: setattr(
            d.DirectoryRecordSequence[-1], "ReferencedSOPInstanceUIDInFile", "1.2.7.2"
        ),
    ),
    "a directory names another file": (
        "DICOMDIR",
        lambda d: setattr(d.DirectoryRecordSequence[-1], "ReferencedFileID", ["A", "B"]),
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_verify_sees(done: Path, name: str) -> None:
    tamper(done, *TAMPERINGS[name])
    (fault,) = faults(done)
    assert "reference" in fault or "differs" in fault


def test_verify_sees_a_journal_that_lists_other_references(done: Path) -> None:
    place = settings(done)
    with Journal(place.state) as journal:
        (entry,) = (each for each in journal.entries() if each.path == "report.dcm")
        journal.record([replace(entry, remapped={})])
    assert any("other references" in each for each in faults(done))
