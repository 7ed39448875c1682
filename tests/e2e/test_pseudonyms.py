"""De-identification by another program first, protection after; see docs/officers/README.md."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

pytest.importorskip("dicognito")

from dicognito.anonymizer import Anonymizer

NAMES = [b"CompressedSamples", b"Original", b"1.3.6.1.4.1.5962.1."]
"""The patient in one file, one that is put in, and the root of all UIDs of both."""

Medprotect = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def medprotect(tmp_path: Path) -> Medprotect:
    environment = os.environ | {"XDG_CONFIG_HOME": os.fspath(tmp_path / "config")}

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "medprotect", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


@pytest.fixture
def export(tmp_path: Path, pydicom_file: Callable[[str], Path]) -> Path:
    """Two slices of one series, of which the second refers to the first, de-identified."""
    (folder := tmp_path / "EXPORT").mkdir()
    anonymizer = Anonymizer(seed="a project of ours")
    first = ""
    for number in (1, 2):
        dataset = dcmread(pydicom_file("CT_small.dcm"))
        dataset.InstanceNumber = number
        dataset.OperatorsName = "Original^Name"
        dataset.BurnedInAnnotation = (
            "NO"  # without, dicognito does not say that identity is removed
        )
        dataset.SOPInstanceUID += f".{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if first:
            item = Dataset()
            item.ReferencedSOPClassUID = dataset.SOPClassUID
            item.ReferencedSOPInstanceUID = first
            dataset.SourceImageSequence = [item]
        first = str(dataset.SOPInstanceUID)
        anonymizer.anonymize(dataset)
        dataset.save_as(folder / f"{number}.dcm")
    return folder


def datasets(folder: Path) -> Iterator[Dataset]:
    for path in sorted(folder.glob("*.dcm")):
        yield dcmread(path)


class TestDeidentifiedFirst:
    def test_pseudonyms_stay_and_nothing_of_before_comes_back(
        self, export: Path, tmp_path: Path, medprotect: Medprotect
    ) -> None:
        out = tmp_path / "OUT"
        run = medprotect("run", export, out, "--accept-weak")
        assert run.returncode == 0, run.stderr
        assert "identity was removed" not in run.stdout + run.stderr
        assert medprotect("verify", export, out).returncode == 0
        for before, after in zip(datasets(export), datasets(out), strict=True):
            for kept in ("PatientID", "PatientName", "StudyDate", "StudyInstanceUID"):
                assert after[kept].value == before[kept].value
            assert after.SOPInstanceUID != before.SOPInstanceUID
        everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
        state = tmp_path / "OUT.medprotect"
        everything += b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
        assert not [name for name in NAMES if name in everything]

    def test_series_and_references_hold(
        self, export: Path, tmp_path: Path, medprotect: Medprotect
    ) -> None:
        out = tmp_path / "OUT"
        assert medprotect("run", export, out, "--accept-weak").returncode == 0
        first, second = datasets(out)
        assert first.SeriesInstanceUID == second.SeriesInstanceUID
        (reference,) = second.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == first.SOPInstanceUID
        given = {each.SOPInstanceUID for each in datasets(export)}
        assert "SourceImageSequence" not in first, "it would say whose copy it is"
        assert not given & {first.SOPInstanceUID, reference.ReferencedSOPInstanceUID}


class TestDeidentifiedAfter:
    def test_what_is_changed_after_the_run_is_no_longer_what_it_wrote(
        self, export: Path, tmp_path: Path, medprotect: Medprotect
    ) -> None:
        out = tmp_path / "OUT"
        assert medprotect("run", export, out, "--accept-weak").returncode == 0
        anonymizer = Anonymizer(seed="another")
        for path in out.glob("*.dcm"):
            dataset = dcmread(path)
            anonymizer.anonymize(dataset)
            dataset.save_as(path)
        assert medprotect("verify", export, out).returncode == 8
