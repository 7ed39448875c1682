"""The Python API: one file as a run writes it; names that are documented, light and run."""

import doctest
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image as Picture

import medprotect
from medprotect.confounder.key import Key
from medprotect.confounder.measured import Protection
from medprotect.errors import ConfigError, CorruptImageError, NotAnImageError, OutputError
from medprotect.protect.engine import protect_export
from medprotect.protect.settings import Settings

from ..confounder.measured_pipeline import shipped_figures

KEY = Key(bytes(range(32)))
ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "python.md"
BLOCK = re.compile(r"^<!-- run -->\n```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)


def by_run(source: Path, folder: Path) -> dict[str, bytes]:
    """What a run writes for a file, and the files beside it, in an export of its own."""
    settings = Settings(
        export=source.parent,
        out=folder / "run-out",
        state=folder / "run-state",
        candidates=medprotect.protect.api.find_candidates(["auto"]),
    )
    protect_export(settings, KEY)
    return {path.name: path.read_bytes() for path in settings.out.iterdir()}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    (tmp_path / "export").mkdir()
    return tmp_path / "export"


@pytest.fixture
def ct(export: Path, pydicom_file: Callable[[str], Path]) -> Path:
    (export / "a.dcm").write_bytes(pydicom_file("CT_small.dcm").read_bytes())
    return export / "a.dcm"


@pytest.fixture
def jpeg(export: Path) -> Path:
    shade = np.random.default_rng(0).integers(0, 255, (40, 32), dtype=np.uint8)
    Picture.fromarray(shade).save(export / "a.jpg")
    return export / "a.jpg"


@pytest.fixture
def header(export: Path) -> Path:
    shade = np.random.default_rng(0).integers(0, 900, (3, 24, 20)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(shade), export / "a.mhd", False)
    return export / "a.mhd"


class TestOneFile:
    def test_the_bytes_are_those_of_a_run(self, ct: Path, tmp_path: Path) -> None:
        before = ct.read_bytes()
        done = medprotect.protect_file(ct, tmp_path / "new" / "b.dcm", key=KEY)
        assert done.path == tmp_path / "new" / "b.dcm"
        assert done.path.read_bytes() == by_run(ct, tmp_path)["a.dcm"] != before
        assert ct.read_bytes() == before
        assert [path.name for path in done.path.parent.iterdir()] == ["b.dcm"]
        assert (done.pipeline, done.strength, done.images) == ("ct", "standard", 1)
        known = shipped_figures("ct")
        assert (done.measured, done.protection) == (known, known.protection if known else None)
        assert 0 < done.share_of_budget <= 1
        assert "experimental_modality" in done.warnings

    def test_references_among_its_own_objects_are_those_of_a_run(
        self, export: Path, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        from pydicom import dcmread
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        made = dcmread(pydicom_file("CT_small.dcm"))
        itself = Dataset()
        itself.ReferencedSOPClassUID = made.SOPClassUID
        itself.ReferencedSOPInstanceUID = made.SOPInstanceUID
        made.ReferencedImageSequence = Sequence([itself])
        made.save_as(export / "a.dcm")
        done = medprotect.protect_file(export / "a.dcm", tmp_path / "b.dcm", key=KEY)
        assert done.path.read_bytes() == by_run(export / "a.dcm", tmp_path)["a.dcm"]
        read = dcmread(done.path)
        (reference,) = read.ReferencedImageSequence
        assert reference.ReferencedSOPInstanceUID == read.SOPInstanceUID != made.SOPInstanceUID

    def test_a_folder_takes_it_under_the_name_of_a_run(self, jpeg: Path, tmp_path: Path) -> None:
        (tmp_path / "new").mkdir()
        done = medprotect.protect_file(jpeg, tmp_path / "new", key=KEY)
        assert done.path == tmp_path / "new" / "a.jpg.png"
        assert done.path.read_bytes() == by_run(jpeg, tmp_path)["a.jpg.png"]

    def test_a_lossy_name_for_a_lossless_file_is_refused(self, jpeg: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"ends in \.png"):
            medprotect.protect_file(jpeg, tmp_path / "b.jpg", key=KEY)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["export"]

    def test_voxels_go_with_their_header(self, header: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="name each other"):
            medprotect.protect_file(header, tmp_path / "b.mhd", key=KEY)
        medprotect.protect_file(header, tmp_path / "new" / "a.mhd", key=KEY)
        written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
        assert written == by_run(header, tmp_path)
        assert len(written) == 2

    def test_neither_source_nor_target_is_written_over(self, ct: Path, tmp_path: Path) -> None:
        before = ct.read_bytes()
        (tmp_path / "mine.dcm").write_bytes(b"mine")
        for target in (ct, ct.parent, tmp_path / "mine.dcm"):
            with pytest.raises(OutputError):
                medprotect.protect_file(ct, target, key=KEY)
        assert ct.read_bytes() == before
        assert (tmp_path / "mine.dcm").read_bytes() == b"mine"
        assert [path.name for path in ct.parent.iterdir()] == ["a.dcm"]

    def test_what_cannot_be_protected_says_why(
        self, export: Path, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        (export / "a.txt").write_text("notes")
        (export / "b.dcm").write_bytes(pydicom_file("MR_truncated.dcm").read_bytes())
        with pytest.raises(NotAnImageError):
            medprotect.protect_file(export / "a.txt", tmp_path / "new", key=KEY)
        with pytest.raises(CorruptImageError):
            medprotect.protect_file(export / "b.dcm", tmp_path / "new.dcm", key=KEY)
        with pytest.raises(medprotect.MedprotectError, match="not a file"):
            medprotect.protect_file(export / "absent", tmp_path / "new.dcm", key=KEY)
        with pytest.raises(ConfigError, match="medprotect key new"):
            medprotect.protect_file(export / "a.txt", tmp_path / "new", key=tmp_path / "no.key")
        assert [path.name for path in tmp_path.iterdir()] == ["export"]

    def test_it_works_in_a_thread_and_leaves_those_of_torch(self, ct: Path, tmp_path: Path) -> None:
        before, done = torch.get_num_threads(), []

        def protect() -> None:
            done.append(medprotect.protect_file(ct, tmp_path / "b.dcm", key=KEY))

        thread = threading.Thread(target=protect)
        thread.start()
        thread.join()
        assert done[0].path.is_file()
        assert torch.get_num_threads() == before


@pytest.fixture
def house(tmp_path: Path, pydicom_file: Callable[[str], Path]) -> Path:
    """A folder as the examples take it."""
    ct = pydicom_file("CT_small.dcm").read_bytes()
    (tmp_path / "EXPORT").mkdir()
    (tmp_path / "EXPORT" / "1.dcm").write_bytes(ct)
    (tmp_path / "EXPORT" / "notes.txt").write_text("notes\n")
    (tmp_path / "slice.dcm").write_bytes(ct)
    return tmp_path


def without_figures(text: str) -> str:
    """Put a word in place of each protection, and of what an image is called by it."""
    text = re.sub(rf"\b({'|'.join(Protection)})\b", "STATE", text)
    return re.sub(r"-?\d\.\d+|\bNone\b", "PROTECTION", text)


class Checker(doctest.OutputChecker):
    def check_output(self, want: str, got: str, flags: int) -> bool:
        return super().check_output(without_figures(want), without_figures(got), flags)


class TestLabels:
    @pytest.mark.parametrize("kind", ["folders", "table", "mapping"])
    def test_they_are_given_as_on_the_command_line_or_by_path(
        self, tmp_path: Path, pydicom_file: Callable[[str], Path], kind: str
    ) -> None:
        root = tmp_path / "labelled"
        for folder in ("ill", "well"):
            (root / folder).mkdir(parents=True)
            shutil.copy(pydicom_file("MR_small.dcm"), root / folder / "a.dcm")
        table = tmp_path / "table.csv"
        table.write_text("path,seen\nill/a.dcm,x\nwell/a.dcm,y\n")
        by_path = {"ill/a.dcm": "x", "well/a.dcm": "y"}
        labels = {"folders": "folders", "table": f"{table}:seen", "mapping": by_path}[kind]
        planned = medprotect.plan_export(root, tmp_path / "out", labels=labels)
        assert {entry.row.pipeline for entry in planned} == {"labels-mr"}
        assert len({entry.row.label for entry in planned}) == 2
        plain = medprotect.plan_export(root, tmp_path / "out")
        assert {entry.row.pipeline for entry in plain} == {"mr"}


class TestNames:
    @pytest.mark.parametrize("name", medprotect.__all__)
    def test_each_is_in_the_page_and_has_an_example_that_runs(
        self, name: str, house: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = getattr(medprotect, name)
        assert found is getattr(importlib.import_module(found.__module__), name)
        assert re.search(rf"^\| `{name}\b", PAGE.read_text(), re.M)
        monkeypatch.chdir(house)
        (test,) = (
            each
            for each in doctest.DocTestFinder(recurse=False).find(found, name, globs={})
            if each.name == name
        )
        assert "medprotect." in (inspect.getdoc(found) or "").partition("Examples")[2]
        assert test.examples
        assert doctest.DocTestRunner(Checker()).run(test).failed == 0

    def test_the_page_names_no_other(self) -> None:
        named = re.findall(r"^\| `(\w+)[^|]*\|", PAGE.read_text(), re.M)
        assert sorted(named) == sorted(medprotect.__all__)
        assert set(medprotect.__all__) <= set(dir(medprotect))
        with pytest.raises(AttributeError, match="no attribute 'protect_all'"):
            medprotect.protect_all  # noqa: B018

    def test_importing_the_package_imports_nothing_heavy(self) -> None:
        script = "import sys, medprotect; dir(medprotect); print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in done.stdout.split()}
        heavy = {"torch", "monai", "numpy", "pydicom", "scipy", "SimpleITK", "typer", "rich"}
        assert "medprotect" in loaded
        assert loaded & heavy == set()


EXAMPLES = BLOCK.findall(PAGE.read_text())


class TestPage:
    def test_all_its_examples_are_run(self) -> None:
        assert len(EXAMPLES) == PAGE.read_text().count("```python") == 3

    @pytest.mark.parametrize(("code", "answer"), EXAMPLES, ids=range(len(EXAMPLES)))
    def test_an_example_prints_what_the_page_says(
        self, code: str, answer: str, house: Path
    ) -> None:
        (house / "script.py").write_text(code)
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=house,
            env=os.environ | {"PYTHONPATH": os.fspath(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        assert without_figures(done.stdout) == without_figures(answer)


class TestFigures:
    """What a page prints of them is an illustration: they change with what is measured."""

    def test_they_are_told_from_all_else(self) -> None:
        assert without_figures("a.dcm ct 0.0 weak") == without_figures("a.dcm ct None unmeasured")
        for other in ("b.dcm ct 0.0 weak", "a.dcm mr 0.0 weak", "a.dcm ct 0.0", "a.dcm ct 1 weak"):
            assert without_figures("a.dcm ct 0.0 weak") != without_figures(other)
