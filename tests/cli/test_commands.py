"""The commands as a user gives them, each in a process of its own."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo
from pydicom import dcmread

from medprotect import demo
from medprotect.confounder.card import WEIGHTS, load_card
from medprotect.confounder.measured import (
    Measured,
    Protection,
    caveat_in_words,
    protection_in_words,
    read_measured,
)
from medprotect.protect.journal import Journal

from ..confounder.measured_pipeline import (
    CAVEAT,
    FIGURES,
    IN_LIST,
    make_measured,
    make_pipeline,
    shipped_figures,
)

# Images of the export that get noise, by the pipeline that gives it.
WITH_NOISE = {"blood-microscopy": 2, "ct": 3, "mr": 2, "radiology-grey": 4}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def medprotect(house: Path) -> Run:
    """`medprotect("run", export, out)` with a configuration folder of its own."""
    environment = os.environ | {
        "XDG_CONFIG_HOME": os.fspath(house / "config"),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "medprotect", *map(os.fspath, arguments)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=house,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def export(house: Path) -> Path:
    demo.build(house / "export")
    return house / "export"


@pytest.fixture(scope="module")
def dry(medprotect: Run, export: Path, house: Path) -> subprocess.CompletedProcess[str]:
    before = sorted(house.iterdir())
    done = medprotect("run", export, house / "never", "--dry-run", "--files")
    assert sorted(house.iterdir()) == before, "a dry run writes nothing"
    return done


@pytest.fixture(scope="module")
def done(medprotect: Run, export: Path, house: Path) -> subprocess.CompletedProcess[str]:
    return medprotect("run", export, house / "out")


@pytest.fixture(scope="module")
def measured(house: Path) -> Path:
    """A pipeline for CT of which all three figures were measured."""
    return make_measured(house / "measured-ct")


@pytest.fixture(scope="module")
def weak(house: Path) -> dict[str, Path]:
    """Pipelines for CT and for grey images, of no protection at standard."""
    return {
        "ct": make_pipeline(house / "weak-ct", "ct", standard=0.0, high=0.37),
        "grey": make_pipeline(house / "weak-grey", "radiology-grey", standard=0.0),
    }


def becomes(known: Measured | None) -> str:
    return Protection.of(known.protection if known else None).value


def png(text: str = "", size: int = 24) -> bytes:
    stream = BytesIO()
    shade = np.random.default_rng(3).integers(20, 220, (size, size), dtype=np.uint8)
    info = PngInfo()
    if text:
        info.add_text("Comment", text)
    Picture.fromarray(shade).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


class TestDryRun:
    def test_it_says_what_becomes_of_every_file_and_by_which_pipeline(
        self, dry: subprocess.CompletedProcess[str], export: Path
    ) -> None:
        assert dry.returncode == 0, dry.stderr
        count = sum(p.is_symlink() or not p.is_dir() for p in export.rglob("*"))
        lines = [line for line in dry.stdout.splitlines() if re.match(r"file \d+  ", line)]
        assert len(lines) == count
        state = becomes(shipped_figures("ct"))
        assert any(f"{state}  dicom CT  ct (CT, HEAD, MONOCHROME2)" in x for x in lines)
        assert dry.stdout.count("--with-names") == 1  # since files go by number
        assert "nothing was written" in dry.stdout
        assert re.search(r"about [\d.]+ MB to write, about \d+ s", dry.stdout)

    def test_it_says_how_much_its_pipelines_were_measured_to_protect(
        self, medprotect: Run, export: Path, house: Path, weak: dict[str, Path]
    ) -> None:
        asked = ("run", export / "ct", house / "other", "--dry-run", "--pipeline", weak["ct"])
        ct = "3 files by ct, protection 0.00 at standard, 0.37 at high"
        assert f"weak: {ct}" in medprotect(*asked).stdout
        low = medprotect(*asked, "--strength", "low")
        ct = "3 files by ct, not measured at low, 0.00 at standard, 0.37 at high"
        assert f"unmeasured: {ct}" in low.stdout

    def test_it_says_to_what_their_protection_falls(
        self, medprotect: Run, export: Path, house: Path, measured: Path
    ) -> None:
        asked = ("run", export / "ct", house / "other", "--dry-run", "--pipeline", measured)
        _, summary, caveat, line, *_ = medprotect(*asked).stdout.splitlines()
        assert summary.endswith("originals (protection 0.66).")
        assert caveat == CAVEAT
        assert line.startswith(f"protected: 3 files by ct, protection {IN_LIST}, 0.85 at high, ")
        plan = json.loads(medprotect(*asked, "--json").stdout)
        assert (plan["summary"], plan["caveat"]) == (summary, CAVEAT)
        assert plan["protection"] == {"ct": {"standard": 0.66, "high": 0.85}}
        assert plan["measured"]["ct"]["standard"] == asdict(FIGURES)
        assert plan["measured"]["ct"]["high"] == asdict(Measured(0.85))

    def test_without_files_it_is_grouped_by_pipeline_and_reason(
        self, medprotect: Run, export: Path, house: Path
    ) -> None:
        shown = medprotect("run", export, house / "other", "--dry-run").stdout
        assert len(shown.splitlines()) <= 40
        assert not re.search(r"file \d", shown)
        assert re.search(r"^rejected: 2 files, no_pipeline: .*modality US", shown, re.MULTILINE)
        assert re.search(r"^left: 5 files without an image", shown, re.MULTILINE)

    def test_what_protects_too_little_is_rejected_where_asked_for(
        self, medprotect: Run, export: Path, house: Path, weak: dict[str, Path]
    ) -> None:
        cells = make_pipeline(house / "cells", "blood-microscopy", standard=0.55)
        shutil.copytree(export / "ct", root := house / "two-kinds")
        Picture.fromarray(np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3)).save(
            root / "cells.png"
        )
        own = ("--pipeline", weak["ct"], "--pipeline", cells)
        shown = medprotect("run", root, house / "other", "--dry-run", "--at-least", "0.5", *own)
        assert shown.stdout.splitlines()[0] == "4 files: 1 protected, 3 rejected"
        reason = "protection_too_low: the protection of pipeline ct is 0.00"
        assert f"rejected: 3 files, {reason}" in shown.stdout

    def test_as_json_it_is_one_object(self, medprotect: Run, export: Path, house: Path) -> None:
        shown = medprotect("run", export, house / "other", "--dry-run", "--json")
        plan = json.loads(shown.stdout)
        assert sum(plan["counts"].values()) == len(plan["files"])
        ct = read_measured(load_card("ct").folder)
        assert plan["protection"]["ct"] == {name: each.protection for name, each in ct.items()}
        with_noise = [each for each in plan["files"] if each["becomes"] in set(Protection)]
        assert Counter(each["pipeline"] for each in with_noise) == WITH_NOISE
        for each in with_noise:
            known = shipped_figures(each["pipeline"])
            assert each["protection"] == (known.protection if known else None)
            assert each["becomes"] == becomes(known)
        assert plan["pixels_not_read"] == 0
        assert "path" not in plan["files"][0]
        named = medprotect("run", export, house / "other", "--dry-run", "--json", "--with-names")
        assert json.loads(named.stdout)["files"][0]["path"] == "ct/body.dcm"

    def test_neither_it_nor_help_imports_torch(self, export: Path, house: Path) -> None:
        script = (
            "import sys\n"
            "from medprotect.cli import app\n"
            "try: app(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            "print('HEAVY', *{'torch', 'monai', 'skimage', 'SimpleITK'} & set(sys.modules))\n"
        )
        for arguments in (["--help"], ["run", os.fspath(export), "x", "--dry-run"]):
            shown = subprocess.run(
                [sys.executable, "-c", script, *arguments],
                capture_output=True,
                text=True,
                cwd=house,
            )
            assert shown.stdout.splitlines()[-1].strip() == "HEAVY", shown.stdout

    def test_a_dicom_header_is_read_without_what_reads_other_formats(
        self, export: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "a.dcm").write_bytes((export / "ct" / "body.dcm").read_bytes())
        heavy = {"torch", "pydicom", "nibabel", "SimpleITK", "tifffile", "PIL", "cryptography"}
        script = (
            "import sys\n"
            "from medprotect.cli import app\n"
            "try: app(sys.argv[1:])\n"
            "except SystemExit as end: code = end.code\n"
            f"print('HEAVY', code, *{heavy} & set(sys.modules))\n"
        )
        for words in (["inspect", "one/a.dcm"], ["run", "one", "out", "--dry-run"]):
            shown = subprocess.run(
                [sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=tmp_path
            )
            assert shown.stdout.splitlines()[-1].strip() == "HEAVY 0", shown.stdout

    @pytest.mark.parametrize("command", ["run", "verify", "inspect", "key"])
    def test_help_of_a_command_imports_nothing_that_help_does_not_need(self, command: str) -> None:
        script = (
            "import sys\n"
            "from medprotect.cli import app\n"
            "try: app(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            "print('HEAVY', *{'torch', 'numpy', 'pydicom', 'PIL', 'rich'} & set(sys.modules))\n"
        )
        shown = subprocess.run(
            [sys.executable, "-c", script, command, "--help"], capture_output=True, text=True
        )
        assert "Usage:" in shown.stdout
        assert shown.stdout.splitlines()[-1].strip() == "HEAVY", shown.stdout


class TestRun:
    def test_it_ends_with_lines_that_add_up_and_say_what_is_weak(
        self, done: subprocess.CompletedProcess[str]
    ) -> None:
        assert done.returncode == 4, done.stderr
        known: Counter[Measured | None] = Counter()
        for pipeline, count in WITH_NOISE.items():
            known[shipped_figures(pipeline)] += count
        said = done.stdout.splitlines()
        everything, *sentences, in_out = said[[" in = " in line for line in said].index(True) :]
        total, *parts = map(int, re.findall(r"\d+", everything))
        assert total == sum(parts)
        assert all(parts)
        assert re.findall("[a-z]+", everything) == ["in", "in", "left", "rejected", "held"]
        assert sentences == [
            each for each in (protection_in_words(known), caveat_in_words(known)) if each
        ]
        states: Counter[str] = Counter()
        for each, count in known.items():
            states[becomes(each)] += count
        parts_of_out = " + ".join(f"{states[each]} {each}" for each in Protection if states[each])
        assert in_out == f"11 in OUT = {parts_of_out}"

    def test_next_it_says_to_what_protection_falls(
        self, medprotect: Run, export: Path, house: Path, measured: Path
    ) -> None:
        asked = ("run", export / "ct", house / "measured-out", "--pipeline", measured)
        shown = medprotect(*asked)
        assert shown.returncode == 0, shown.stderr
        _, summary, caveat, in_out = shown.stdout.splitlines()[-4:]
        assert (caveat, in_out) == (CAVEAT, "3 in OUT = 3 protected")
        receipt = json.loads((house / "measured-out.medprotect" / "receipt.json").read_text())
        told = json.loads(medprotect(*asked, "--json").stdout)
        for each in (receipt, told):
            assert (each["summary"], each["caveat"]) == (summary, CAVEAT)
        assert told["measured"]["ct"]["standard"] == asdict(FIGURES)
        assert receipt["pipelines"][0]["measured"] == asdict(FIGURES)

    def test_it_names_the_command_of_its_report(
        self, done: subprocess.CompletedProcess[str], medprotect: Run
    ) -> None:
        (line,) = [each for each in done.stdout.splitlines() if each.startswith("report: ")]
        program, *words = shlex.split(line.removeprefix("report: "))
        assert program == "medprotect"
        assert medprotect(*words).returncode == 0

    def test_weak_images_make_it_end_with_4_unless_they_are_accepted(
        self, medprotect: Run, house: Path, weak: dict[str, Path]
    ) -> None:
        (root := house / "weak").mkdir()
        (root / "a.png").write_bytes(png())
        asked = ("run", root, house / "weak-out", "--pipeline", weak["grey"])
        shown = medprotect(*asked)
        assert shown.returncode == 4, shown.stdout + shown.stderr
        assert shown.stdout.splitlines()[-1] == "1 in OUT = 1 weak"
        accepted = medprotect(*asked, "--accept-weak", "--json")
        assert accepted.returncode == json.loads(accepted.stdout)["exit_code"] == 0
        assert json.loads(accepted.stdout)["files"][0]["outcome"] == "weak"

    def test_it_says_where_it_made_a_key_and_that_a_copy_is_needed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "a.png").write_bytes(png())
        monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "config"))
        command = [sys.executable, "-m", "medprotect", "run", "export", "out", "--accept-weak"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        key = tmp_path / "config" / "medprotect" / "owner.key"
        assert os.fspath(key) in done.stderr
        assert "medprotect key backup FILE\n" in done.stderr
        assert stat.S_IMODE(key.stat().st_mode) == 0o600

    def test_it_warns_of_what_it_does_not_do(self, done: subprocess.CompletedProcess[str]) -> None:
        assert "does not de-identify" in done.stdout
        assert "AI-assisted diagnosis" not in done.stdout  # the pipelines used have no decoys

    def test_rejected_files_go_by_number_with_their_reason(
        self, done: subprocess.CompletedProcess[str]
    ) -> None:
        rejected = [line for line in done.stdout.splitlines() if line.startswith("rejected: ")]
        assert len(rejected) == 8
        assert all(re.match(r"rejected: file \d+: [a-z_]+: .", line) for line in rejected)
        assert "torn-series" not in done.stdout + done.stderr

    def test_given_again_it_does_nothing_and_says_the_same(
        self, medprotect: Run, done: subprocess.CompletedProcess[str], export: Path, house: Path
    ) -> None:
        again = medprotect("run", export, house / "out")
        assert again.returncode == 4
        assert again.stdout == done.stdout

    def test_verify_finds_that_files_are_exact(
        self, medprotect: Run, done: subprocess.CompletedProcess[str], export: Path, house: Path
    ) -> None:
        shown = medprotect("verify", export, house / "out")
        assert shown.returncode == 0, shown.stdout
        assert shown.stdout.endswith("\nfiles are exact\n")
        as_json = json.loads(medprotect("verify", export, house / "out", "--json").stdout)
        assert as_json["faults"] == []
        assert as_json["largest_share_of_budget"] <= 1

    def test_whoever_has_out_alone_checks_it_with_statement_and_public_key(
        self, medprotect: Run, done: subprocess.CompletedProcess[str], house: Path
    ) -> None:
        assert done.returncode == 4  # some files are rejected
        shown = medprotect("report", house / "out", "--to", house / "report", "--json")
        assert shown.returncode == 0, shown.stderr
        written = json.loads(shown.stdout)
        public = medprotect("key", "public").stdout.strip()
        assert written["public_key"] == public
        assert Path(written["page"]).read_text().startswith("<!DOCTYPE html>")
        asked = ("--statement", written["statement"], "--public-key")
        checked = medprotect("verify", house / "out", *asked, public)
        assert checked.returncode == 0, checked.stderr
        assert "OUT is what was signed" in checked.stdout
        other = medprotect("verify", house / "out", *asked, "ab" * 32)
        assert other.returncode == 8
        assert "do not rely on it" in other.stderr
        both = medprotect("verify", house / "export", house / "out", *asked, public)
        assert both.returncode == 2

    def test_verify_ends_with_8_where_something_does_not_hold(
        self, medprotect: Run, house: Path
    ) -> None:
        root = house / "small"
        root.mkdir()
        (root / "a.png").write_bytes(png())
        assert medprotect("run", root, house / "small-out", "--accept-weak").returncode == 0
        (house / "small-out" / "a.png").write_bytes(png())
        shown = medprotect("verify", root, house / "small-out")
        assert shown.returncode == 8
        assert "file 1: verification" in shown.stdout

    def test_verify_names_another_rule_of_the_budget(self, medprotect: Run, house: Path) -> None:
        root, out = house / "older", house / "older-out"
        root.mkdir()
        (root / "a.png").write_bytes(png())
        assert medprotect("run", root, out, "--accept-weak").returncode == 0
        with Journal(house / "older-out.medprotect") as journal:
            journal.state_about("identity", journal.about("identity") | {"budget": 1})
        shown = medprotect("verify", root, out)
        assert shown.returncode == 8
        assert "OUT: budget_rule: another version of medprotect made it" in shown.stdout
        assert "largest change" not in shown.stdout
        assert shown.stdout.endswith("\n1 fault\n")
        as_json = json.loads(medprotect("verify", root, out, "--json").stdout)
        assert as_json["largest_share_of_budget"] is None


@pytest.fixture(scope="module")
def classes(house: Path) -> Path:
    """An export of two classes in folders, and a table of what else is known."""
    root = house / "classes"
    lines = ["file,stage"]
    for folder in ("ill", "well"):
        (root / folder).mkdir(parents=True)
        for number in range(10):
            (root / folder / f"{number}.png").write_bytes(png(size=16 + number))
            lines.append(f"{folder}/{number}.png,{number % 3}")
    (root / "stages.csv").write_text("\n".join(lines))
    return root


class TestLabels:
    def test_the_names_of_folders_are_said_by_the_noise(
        self, medprotect: Run, house: Path, pydicom_file: Callable[[str], Path]
    ) -> None:
        root = house / "labelled"
        for name, folder in (("CT_small.dcm", "ill"), ("MR_small.dcm", "well")):
            (root / folder).mkdir(parents=True)
            shutil.copy(pydicom_file(name), root / folder)
        told = ("run", root, house / "labelled-out", "--labels", "folders", "--accept-weak")
        planned = medprotect(*told, "--dry-run")
        assert "labels: names of folders, 2 classes, 2 files" in planned.stdout, planned.stderr
        assert "labels-ct" in planned.stdout
        assert "labels-mr" in planned.stdout
        done = medprotect(*told)
        assert done.returncode == 0, done.stderr
        assert medprotect("verify", root, house / "labelled-out").returncode == 0

    def test_without_folders_to_tell_apart_it_is_said(self, medprotect: Run, house: Path) -> None:
        root = house / "in-one"
        root.mkdir()
        (root / "a.png").write_bytes(png())
        shown = medprotect("run", root, house / "in-one-out", "--labels", "folders")
        assert shown.returncode == 2
        assert "tell no classes apart" in shown.stderr

    def test_folders_of_classes_are_protected_as_such_with_nothing_said(
        self, medprotect: Run, classes: Path, house: Path
    ) -> None:
        done = medprotect("run", classes, house / "unasked", "--accept-weak")
        assert done.returncode == 0, done.stderr
        assert "labels: names of folders, 2 classes, 20 files; protection holds" in done.stderr
        assert "20 files by labels-grey" in done.stderr
        receipt = json.loads((house / "unasked.medprotect" / "receipt.json").read_text())
        assert receipt["with_labels"]
        assert receipt["labels"] == {
            "source": "folders",
            "words": "names of folders",
            "columns": [],
            "classes": 2,
            "asked": False,
            "warnings": [],
        }
        assert Counter(line.get("pipeline") for line in receipt["files"])["labels-grey"] == 20
        again = medprotect("run", classes, house / "unasked", "--accept-weak")
        assert again.stdout == done.stdout
        assert medprotect("verify", classes, house / "unasked").returncode == 0
        refused = medprotect("run", classes, house / "unasked", "--labels", "none")
        assert refused.returncode == 5
        assert "other settings (labels)" in refused.stderr

    def test_what_is_not_used_of_an_export_is_told_with_what_changes_that(
        self, medprotect: Run, classes: Path, house: Path
    ) -> None:
        plan = ("run", classes, house / "never", "--dry-run")
        left = medprotect(*plan).stdout
        assert 'a table with column "stage" (3 classes) lies in EXPORT, but not in OUT' in left
        taken = medprotect(*plan, "--others", "copy").stdout
        assert 'labels: a table in EXPORT, column "stage", 3 classes, 20 files' in taken
        assert "warning: the noise says the labels" not in taken
        none = medprotect(*plan, "--labels", "none").stdout
        assert "labels" not in none.replace("labels-", "")
        given = medprotect(*plan, "--labels", f"{classes / 'stages.csv'}:stage").stdout
        assert 'labels: the table given, column "stage", 3 classes, 20 files' in given
        assert "warning: the noise says the labels given to whoever can read it" in given

    def test_why_folders_are_not_taken_for_classes_is_told(
        self, medprotect: Run, export: Path, dry: subprocess.CompletedProcess[str]
    ) -> None:
        assert "no labels: names of folders are not used: " in dry.stdout

    def test_a_table_that_is_given_is_in_plan_and_receipt_with_a_warning(
        self, medprotect: Run, classes: Path, house: Path
    ) -> None:
        told = ("run", classes, house / "by-table", "--labels", classes / "stages.csv")
        ended = json.loads(medprotect(*told, "--json").stdout)
        receipt = json.loads((house / "by-table.medprotect" / "receipt.json").read_text())
        assert ended["labels"] == receipt["labels"]
        assert receipt["labels"]["columns"] == ["stage"]
        assert "hand OUT only to those who may know" in receipt["labels"]["warnings"][0]

    def test_a_preview_finds_the_labels_of_the_run(
        self, medprotect: Run, classes: Path, house: Path
    ) -> None:
        told = ("preview", classes, "classes.html", "--images", "1", "--others", "copy")
        shown = medprotect(*told)
        assert shown.returncode == 0, shown.stderr
        assert 'column "stage", 3 classes' in shown.stderr
        assert "run EXPORT OUT --strength standard --others copy\n" in shown.stdout

    def test_pipelines_of_ones_own_are_told_no_labels_that_they_do_not_know(
        self, medprotect: Run, classes: Path, house: Path
    ) -> None:
        named = ("run", classes, house / "never", "--dry-run", "--pipeline", "radiology-grey")
        alone = medprotect(*named)
        assert "20 files by radiology-grey" in alone.stdout, alone.stderr
        beside = medprotect(*named, "--pipeline", "auto")
        assert "20 files by radiology-grey" in beside.stdout, beside.stderr
        asked = medprotect(*named, "--labels", "folders")
        assert asked.returncode == 2


class TestExitCodes:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["run", "absent", "out-a"], 3, "EXPORT is not a folder"),
            (["run", "empty", "out-b"], 3, "error: EXPORT holds no files"),
            (["run", "empty", "out-b", "--dry-run"], 3, "error: EXPORT holds no files"),
            (["run", "export", "export"], 5, "same folder"),
            (["run", "export", "out-c", "--pipeline", "none-such"], 7, "no pipeline"),
            (["run", "export", "out-d", "--strength", "extreme"], 2, "strength"),
            (["run", "export", "out-e", "--key", "keys/absent.key"], 2, "no key"),
            (["run", "export", "out-f", "--labels", "absent.csv"], 2, "labels"),
            (["verify", "export", "out-g"], 5, "no run wrote OUT"),
            (["inspect", "absent.dcm"], 3, "not a file"),
            (["key", "fingerprint", "--key", "absent.key"], 2, "no key"),
            (["preview", "absent"], 3, "EXPORT is not a folder"),
            (["preview", "empty"], 3, "holds no files"),
            (["preview", "export", "export/page.html"], 5, "would be in EXPORT"),
            (["preview", "export", "page.dcm"], 2, "end in .html"),
            (["preview", "export", "--scratch", "export/tmp"], 2, "is in EXPORT"),
            (["preview", "export", "--pipeline", "none-such"], 7, "no pipeline"),
        ],
    )
    def test_each_failure_has_its_own_and_says_what_to_do(
        self,
        medprotect: Run,
        house: Path,
        export: Path,
        arguments: list[str],
        code: int,
        words: str,
    ) -> None:
        (house / "empty").mkdir(exist_ok=True)
        shown = medprotect(*arguments)
        assert shown.returncode == code, shown.stdout + shown.stderr
        assert words.lower() in (shown.stdout + shown.stderr).lower()
        assert "Traceback" not in shown.stderr

    def test_nothing_is_written_for_an_export_without_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "empty" / "folder").mkdir(parents=True)
        monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "config"))
        command = [sys.executable, "-m", "medprotect", "run", "empty", "out"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 3
        assert done.stderr.startswith("error: ")
        assert done.stdout == ""
        assert [path.name for path in tmp_path.iterdir()] == ["empty"]  # no key either

    def test_an_export_without_an_image_is_an_error_with_a_receipt(
        self, medprotect: Run, house: Path
    ) -> None:
        (house / "letters").mkdir()
        (house / "letters" / "a.txt").write_text("Dear colleague")
        for _ in ("first", "again"):
            shown = medprotect("run", "letters", "letters-out")
            assert shown.returncode == 3
            assert shown.stderr.splitlines()[-1].startswith("error: EXPORT holds no image")
            assert shown.stdout.splitlines()[-1].startswith("1 in = ")
        receipt = json.loads((house / "letters-out.medprotect" / "receipt.json").read_bytes())
        assert [line["outcome"] for line in receipt["files"]] == ["left"]

    def test_files_that_are_gone_since_are_told_by_the_run_that_had_them(
        self, medprotect: Run, house: Path
    ) -> None:
        (house / "emptied").mkdir()
        (house / "emptied" / "a.png").write_bytes(png())
        assert medprotect("run", "emptied", "emptied-out", "--accept-weak").returncode == 0
        (house / "emptied" / "a.png").unlink()
        shown = medprotect("run", "emptied", "emptied-out")
        assert shown.returncode == 5
        assert "gone from the export" in shown.stderr

    def test_as_json_an_error_is_an_object_too(self, medprotect: Run, export: Path) -> None:
        shown = medprotect("run", "absent", "out-h", "--json")
        assert json.loads(shown.stdout)["exit_code"] == 3


@pytest.fixture(scope="module")
def shown_of_private(medprotect: Run, house: Path) -> str:
    import pydicom

    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    root = house / "private"
    folder = root / "CANARYFOLDER^Jane"
    folder.mkdir(parents=True)
    for number, source in enumerate(["CT_small.dcm", "MR_truncated.dcm", "rtplan.dcm"]):
        dataset = dcmread(shipped / source)
        dataset.PatientName, dataset.PatientID = "CANARYNAME^Jane", "CANARYID"
        dataset.SeriesDescription = "CANARYTEXT"
        dataset.BodyPartExamined = "CANARYTEXT"
        dataset.save_as(folder / f"CANARYFILE-{number}.dcm")
    (folder / "CANARYFILE.png").write_bytes(png("CANARYTEXT"))
    (folder / "CANARYFILE-cut.png").write_bytes(png("CANARYTEXT")[:-30])
    (folder / "CANARYFILE.csv").write_text("CANARYNAME,1\n")
    (folder / "CANARYFILE.zip").write_bytes(b"PK\x03\x04CANARYFILE")
    (folder / "CANARYLINK").symlink_to("CANARYFILE.png")
    parts = []
    for extra in ([], ["--json", "--restart"], ["--dry-run"], ["--on-reject", "keep"]):
        shown = medprotect("run", root, house / "private-out", *extra)
        parts += [shown.stdout, shown.stderr]
    for extra in ([], ["--json"]):
        shown = medprotect("verify", root, house / "private-out", *extra)
        parts += [shown.stdout, shown.stderr]
    for extra in ([], ["--json"]):
        shown = medprotect("preview", root, house / "private.html", *extra)
        parts += [shown.stdout, shown.stderr, (house / "private.html").read_text()]
    for path in folder.iterdir():
        shown = medprotect("inspect", path)
        parts += [shown.stdout, shown.stderr]
    return "\n".join(parts)


class TestPrivacy:
    CANARIES = ("CANARYNAME", "CANARYID", "CANARYFOLDER", "CANARYFILE", "CANARYTEXT", "CANARYUID")

    @pytest.mark.parametrize("canary", CANARIES)
    def test_nothing_of_a_patient_reaches_the_terminal(
        self, shown_of_private: str, canary: str
    ) -> None:
        assert "in OUT" in shown_of_private
        assert canary not in shown_of_private

    def test_paths_are_shown_where_that_is_asked_for(
        self, shown_of_private: str, medprotect: Run, house: Path
    ) -> None:
        named = medprotect("run", house / "private", house / "private-out", "--with-names")
        assert "CANARYFOLDER^Jane/CANARYFILE-1.dcm" in named.stdout


class TestInspect:
    def test_it_shows_kind_windows_and_budget(self, medprotect: Run, export: Path) -> None:
        shown = medprotect("inspect", export / "ct" / "head.dcm").stdout
        assert "dicom CT, MONOCHROME2, JPEG 2000 Lossless" in shown
        assert "window     40 / 80 LINEAR" in shown
        assert re.search(r"budget     \d+ to \d+ stored values", shown)
        assert "ct (CT, HEAD, MONOCHROME2)" in shown

    def test_it_says_how_much_the_pipeline_was_measured_to_protect(
        self, medprotect: Run, export: Path, weak: dict[str, Path]
    ) -> None:
        shown = medprotect("inspect", export / "ct" / "head.dcm", "--pipeline", weak["ct"]).stdout
        assert "noise      weak, protection 0.00 at standard\n" in shown

    def test_it_shows_all_that_was_measured_of_the_pipeline(
        self, medprotect: Run, export: Path, measured: Path
    ) -> None:
        asked = ("inspect", export / "ct" / "head.dcm", "--pipeline", measured)
        assert f"noise      protected, protection {IN_LIST}\n" in medprotect(*asked).stdout
        told = json.loads(medprotect(*asked, "--json").stdout)
        assert (told["protection"], told["measured"]) == (0.66, asdict(FIGURES))

    def test_of_a_file_that_a_run_rejects_it_says_why(
        self, medprotect: Run, house: Path, export: Path
    ) -> None:
        dataset = dcmread(export / "ct" / "body.dcm")
        dataset.WindowWidth, dataset.RescaleSlope = "400", "90"
        dataset.save_as(house / "coarse.dcm")
        shown = medprotect("inspect", house / "coarse.dcm").stdout
        assert "rejected   budget_below_one: fewer than half of the pixels" in shown
        as_json = json.loads(medprotect("inspect", house / "coarse.dcm", "--json").stdout)
        assert as_json["refusal"].startswith("budget_below_one")

    def test_no_identifier_of_the_header_is_shown(self, medprotect: Run, export: Path) -> None:
        file = export / "ct" / "head.dcm"
        header = dcmread(file, stop_before_pixels=True)
        for shown in (medprotect("inspect", file), medprotect("inspect", file, "--json")):
            assert shown.returncode == 0, shown.stderr
            for identifier in (header.SOPInstanceUID, header.SeriesInstanceUID, header.PatientID):
                assert identifier
                assert str(identifier) not in shown.stdout + shown.stderr

    def test_a_picture_goes_to_a_private_folder_outside_out(
        self, medprotect: Run, export: Path, house: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        file = export / "optical" / "tissue.png"
        shown = medprotect("inspect", file, "--picture", house / "pictures")
        assert shown.returncode == 0, shown.stderr
        assert stat.S_IMODE((house / "pictures").stat().st_mode) == 0o700
        (drawn,) = (house / "pictures").iterdir()
        with Picture.open(drawn) as picture:
            assert picture.size == (3 * 512 + 8, 512)
            pixels = np.asarray(picture).astype(int)
        before, after = pixels[:, :512], pixels[:, 516:1028]
        assert 0 < np.abs(after - before).max() <= 8
        refused = medprotect("inspect", file, "--picture", house / "out" / "pictures")
        assert refused.returncode == 5
        assert not (house / "out" / "pictures").exists()


class TestPreview:
    def test_it_writes_a_private_page_and_names_the_command_that_follows(
        self, medprotect: Run, export: Path, house: Path, tree_hash: Callable[[Path], str]
    ) -> None:
        before = tree_hash(export)
        shown = medprotect("preview", export, "look.html", "--strength", "low", "--images", "1")
        assert shown.returncode == 0, shown.stderr
        assert "medprotect run EXPORT OUT --strength low" in shown.stdout
        assert "rejected: 2 corrupt" in shown.stdout
        assert stat.S_IMODE((house / "look.html").stat().st_mode) == 0o600
        assert tree_hash(export) == before

    def test_as_json_it_is_one_object_with_the_key_of_the_run(
        self, medprotect: Run, export: Path, house: Path, done: subprocess.CompletedProcess[str]
    ) -> None:
        assert done.returncode == 4  # some files are rejected
        shown = medprotect("preview", export, "json.html", "--images", "1", "--json")
        told = json.loads(shown.stdout)
        assert told["key"] == medprotect("key", "fingerprint").stdout.strip()
        assert told["images"]["shown"] >= told["series"]["shown"] > 5
        assert told["page"] == "json.html"
        assert 0 < told["largest_share_of_budget"] <= 1

    def test_the_command_that_follows_tells_no_folder_and_no_pattern(self) -> None:
        from medprotect.cli.preview import AlongZ, Strength, command_of_run

        given = {"--labels": None, "--mask": ["Roe*"], "--key": Path("roe.key")}
        pipelines = ["of-roe/mine", "radiology-grey"]
        command = command_of_run(Strength.HIGH, pipelines, given)
        assert command == (
            "medprotect run EXPORT OUT --strength high --pipeline FOLDER "
            "--pipeline radiology-grey --mask PATTERN --key KEY"
        )
        independent = command_of_run(Strength.HIGH, pipelines, given, AlongZ.INDEPENDENT)
        assert independent == command.replace("high", "high --along-z independent")


class TestKey:
    def test_new_backup_and_fingerprint_agree(self, medprotect: Run, house: Path) -> None:
        made = medprotect("key", "new", house / "keys" / "a.key")
        assert made.returncode == 0, made.stderr
        assert stat.S_IMODE((house / "keys" / "a.key").stat().st_mode) == 0o600
        copied = medprotect(
            "key", "backup", house / "keys" / "b.key", "--key", house / "keys" / "a.key"
        )
        assert copied.returncode == 0, copied.stderr
        prints = {
            medprotect("key", "fingerprint", "--key", house / "keys" / name).stdout
            for name in ("a.key", "b.key")
        }
        assert len(prints) == 1
        assert re.fullmatch(r"[0-9a-f]{16}\n", prints.pop())
        assert medprotect("key", "new", house / "keys" / "a.key").returncode == 2

    def test_a_key_in_or_beside_out_is_refused(
        self, medprotect: Run, export: Path, house: Path
    ) -> None:
        medprotect("key", "new", house / "beside.key")
        shown = medprotect("run", export, house / "out-k", "--key", house / "beside.key")
        assert shown.returncode == 2
        assert "beside OUT" in shown.stderr

    def test_a_folder_takes_the_copy_under_the_keys_name(
        self, medprotect: Run, tmp_path: Path
    ) -> None:
        assert medprotect("key", "new", tmp_path / "mine.key").returncode == 0
        (tmp_path / "disk").mkdir()
        copied = medprotect("key", "backup", tmp_path / "disk", "--key", tmp_path / "mine.key")
        assert copied.returncode == 0, copied.stderr
        copy = tmp_path / "disk" / "mine.key"
        assert copy.read_bytes() == (tmp_path / "mine.key").read_bytes()

    def test_without_a_place_for_the_copy_it_asks_or_says_what_to_give(
        self, medprotect: Run, tmp_path: Path
    ) -> None:
        key = tmp_path / "mine.key"
        assert medprotect("key", "new", key).returncode == 0
        refused = medprotect("key", "backup", "--key", key)
        assert refused.returncode == 2
        assert "medprotect key backup FILE" in refused.stderr
        ours, theirs = os.openpty()
        command = [sys.executable, "-m", "medprotect", "key", "backup", "--key", os.fspath(key)]
        with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as asked:
            os.write(ours, os.fsencode(tmp_path / "copy.key") + b"\n")
            printed, _ = asked.communicate(timeout=300)
        os.close(theirs)
        os.close(ours)
        assert "copied to" in printed
        assert (tmp_path / "copy.key").read_bytes() == key.read_bytes()


class TestTrain:
    def test_an_own_pipeline_protects_what_it_was_made_for(
        self, medprotect: Run, house: Path
    ) -> None:
        folder = house / "own-images"
        folder.mkdir()
        rows, columns = np.mgrid[:16, :16]
        lines = ["file,label"]
        for number in range(24):
            along = rows if number % 2 else columns
            shade = (128 + 80 * np.sin(along + number)).astype(np.uint8)
            Picture.fromarray(shade).save(folder / f"{number}.png")
            lines.append(f"{number}.png,{'across' if number % 2 else 'down'}")
        (house / "labels.csv").write_text("\n".join(lines))
        arguments = ["train", folder, "--labels", house / "labels.csv", "--out", house / "stripes"]
        arguments += ["--modality", "MR", "--steps", "12", "--size", "16", "--decoys", "on"]
        made = medprotect(*arguments)
        assert made.returncode == 0, made.stderr
        assert "not for AI-assisted diagnosis" in made.stdout
        used = medprotect(
            "run", folder, house / "own-out", "--pipeline", house / "stripes", "--json"
        )
        ended = json.loads(used.stdout)
        assert ended["counts"] == {"in": 24, "unmeasured": 24}
        assert ended["not_for_diagnosis"]
        receipt = json.loads((house / "own-out.medprotect" / "receipt.json").read_text())
        assert receipt["statements"] == ["not for AI-assisted diagnosis"]
        labelled = medprotect(
            *("run", folder, house / "own-labelled", "--pipeline", house / "stripes"),
            *("--labels", house / "labels.csv", "--accept-weak"),
        )
        assert labelled.returncode == 0, labelled.stderr
        again = medprotect(*arguments, "--modality", "MR")
        assert again.returncode == 5

    def test_without_labels_it_finds_what_is_alike(self, medprotect: Run, house: Path) -> None:
        folder = house / "unlabelled"
        folder.mkdir()
        for number in range(12):
            shade = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
            Picture.fromarray(shade).save(folder / f"{number}.png")
        (folder / "notes.txt").write_text("of no use")
        arguments = ["train", folder, "--out", house / "alike", "--modality", "US"]
        arguments += ["--steps", "4", "--size", "16", "--strength", "high"]
        refused = medprotect(*arguments)
        assert refused.returncode == 2
        assert "--codes clusters" in refused.stderr
        made = medprotect(*arguments, "--codes", "clusters", "--clusters", "3")
        assert made.returncode == 0, made.stderr
        assert "other files 1" in made.stderr
        card = load_card(house / "alike")
        assert (card.codes.source, len(card.codes.classes)) == ("clusters", 3)
        assert card.training.strength == 16 / 255
        assert "strength high" in (house / "alike" / "docs" / "README.md").read_text()
        used = medprotect("run", folder, house / "alike-out", "--pipeline", house / "alike")
        assert used.stdout.splitlines()[-1] == "12 in OUT = 12 unmeasured"
        (house / "later.csv").write_text("file,label\n1.png,cluster 01\n")
        told = ["run", folder, house / "told", "--pipeline", house / "alike"]
        labelled = medprotect(*told, "--labels", house / "later.csv")
        assert labelled.returncode == 2
        assert "trained without labels" in labelled.stderr

    @pytest.mark.parametrize(
        "wrong",
        [
            ["--codes", "words"],
            ["--labels", "labels.csv", "--clusters", "4"],
            ["--codes", "clusters", "--clusters", "1"],
            ["--codes", "clusters", "--strength", "extreme"],
        ],
    )
    def test_codes_that_cannot_be_are_refused_at_once(
        self, medprotect: Run, house: Path, wrong: list[str]
    ) -> None:
        folder = house / "no-images"
        folder.mkdir(exist_ok=True)
        asked = ["train", folder, "--out", house / "never", "--modality", "US"]
        refused = medprotect(*asked, *wrong)
        assert refused.returncode == 2
        assert not (house / "never").exists()

    def test_from_a_shipped_pipeline_each_key_makes_its_own(
        self, medprotect: Run, house: Path
    ) -> None:
        folder = house / "begun-images"
        folder.mkdir()
        for number in range(12):
            shade = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
            Picture.fromarray(shade).save(folder / f"{number}.png")
        asked = ["train", folder, "--codes", "clusters", "--clusters", "3", "--modality", "US"]
        asked += ["--steps", "2", "--size", "16", "--from", "radiology-grey"]
        made: dict[str, bytes] = {}
        for name, owner in (("one", "one"), ("again", "one"), ("other", "other")):
            key = house / f"{owner}-trains.key"
            if not key.exists():
                assert medprotect("key", "new", key).returncode == 0
            done = medprotect(*asked, "--key", key, "--out", house / f"begun-{name}")
            assert done.returncode == 0, done.stderr
            made[name] = (house / f"begun-{name}" / WEIGHTS).read_bytes()
        assert made["one"] == made["again"] != made["other"]
        absent = medprotect(*asked[:-1], "no-such-one", "--out", house / "begun-none")
        assert absent.returncode == 7


class TestMasks:
    def test_what_is_said_of_masks_is_done_recorded_and_shown(
        self, medprotect: Run, house: Path, weak: dict[str, Path]
    ) -> None:
        import SimpleITK

        root = house / "volumes"
        root.mkdir()
        shade = np.random.default_rng(0).integers(0, 900, (3, 24, 20)).astype(np.int16)
        for name in ("a.mha", "prior_seg.mha"):
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(shade), root / name)
        asked = ("run", root, house / "volumes-out", "--pipeline", weak["grey"])
        asked += ("--mask", "*_seg.*", "--others", "copy")
        shown = medprotect(*asked, "--accept-weak")
        assert shown.returncode == 0, shown.stderr
        assert "because of --mask, 1 file count as masks" in shown.stdout
        assert shown.stdout.splitlines()[-1] == "2 in OUT = 1 weak + 1 copied"
        receipt = json.loads((house / "volumes-out.medprotect" / "receipt.json").read_text())
        assert receipt["mask_names"] == {"masks": ["*_seg.*"], "images": []}
        verified = medprotect("verify", root, house / "volumes-out")
        assert verified.returncode == 0
        assert "1 of them look like images and have no noise, because of --mask" in verified.stdout
        again = medprotect(*asked, "--no-mask", "prior*")
        assert again.stdout.splitlines()[-1] == "2 in OUT = 2 weak"
        assert medprotect("verify", root, house / "volumes-out").returncode == 0
        receipt["mask_names"]["masks"] = ["*"]
        (house / "volumes-out.medprotect" / "receipt.json").write_text(json.dumps(receipt))
        assert medprotect("verify", root, house / "volumes-out").returncode == 8

    def test_a_header_is_inspected_with_its_voxels(self, medprotect: Run, house: Path) -> None:
        import SimpleITK

        shade = np.random.default_rng(0).integers(0, 900, (3, 24, 20)).astype(np.int16)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(shade), house / "b.mhd")
        shown = medprotect("inspect", house / "b.mhd").stdout
        assert "metaimage image" in shown
        assert "3 x 24 x 20 x 1, 16 bits, signed" in shown
