"""Runs on real files, in this process; the workers are processes of their own, as always."""

import json
import os
import shutil
import signal
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmread

from medprotect import demo
from medprotect.confounder.key import Key
from medprotect.confounder.measured import Protection, caveat_in_words, protection_in_words
from medprotect.errors import (
    HashMismatchError,
    OutputError,
    StateMismatchError,
)
from medprotect.plan.selection import find_candidates
from medprotect.protect import engine, out_tree
from medprotect.protect.engine import Run, protect_export
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.pool import Pool
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Progress, Summary
from medprotect.protect.verify import verify_run

from ..confounder.measured_pipeline import shipped_figures

KEY = Key(bytes(range(32)))


def settings(root: Path, out: Path, **options: Any) -> Settings:
    fields: dict[str, Any] = {
        "export": root,
        "out": out,
        "state": out.with_name(out.name + ".medprotect"),
        "candidates": find_candidates(["auto"]),
        "jobs": 1,
    }
    return Settings(**fields | options)


def run(root: Path, out: Path, key: Key = KEY, begin_anew: bool = False, **options: Any) -> Summary:
    return protect_export(settings(root, out, **options), key, begin_anew=begin_anew)


def verify(root: Path, out: Path) -> list[str]:
    result = verify_run(root, out, out.with_name(out.name + ".medprotect"))
    return [fault.slug for fault in result.faults]


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def times(root: Path) -> dict[str, int]:
    return {p.as_posix(): p.stat().st_mtime_ns for p in root.rglob("*")}


def outcomes(summary: Summary) -> dict[str, str]:
    return {entry.path: entry.outcome.value for entry in summary.entries}


def png(seed: int = 0, size: int = 24) -> bytes:
    stream = BytesIO()
    shade = np.random.default_rng(seed).integers(20, 220, (size, size), dtype=np.uint8)
    Picture.fromarray(shade).save(stream, "PNG")
    return stream.getvalue()


def slice_of(source: Path, series: int, number: int, cut: int = 0) -> bytes:
    dataset = dcmread(source)
    dataset.SeriesInstanceUID = f"1.2.{series}"
    dataset.SOPInstanceUID = f"1.2.{series}.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()[: len(stream.getvalue()) - cut]


def undecodable(source: Path, series: int, number: int) -> bytes:
    """A slice whose header is sound and whose JPEG 2000 codestream is not."""
    data = bytearray(slice_of(source, series, number))
    start = data.index(b"\xff\x93") + 2  # SOD: coded data begin
    data[start : start + 40] = bytes(40)
    del data[len(data) // 2 : len(data) // 2 + 2]
    return bytes(data)


class Demo:
    """The mixed export that `make demo` protects, protected once for all tests."""

    def __init__(self, folder: Path) -> None:
        self.root, self.out = folder / "export", folder / "out"
        self.state = folder / "out.medprotect"
        demo.build(self.root)
        self.before = files(self.root)
        self.summary = run(self.root, self.out, jobs=2)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    made = Demo(tmp_path_factory.mktemp("demo"))
    yield made
    assert files(made.root) == made.before


class TestMixedExport:
    def test_every_file_is_accounted_for_once(self, mixed: Demo) -> None:
        there = [p for p in mixed.root.rglob("*") if p.is_symlink() or not p.is_dir()]
        assert len(mixed.summary.entries) == len(there)
        assert sum(mixed.summary.counts.values()) == len(there)
        assert set(mixed.summary.counts) == {
            Outcome.PROTECTED,
            Outcome.LEFT,
            Outcome.REJECTED,
            Outcome.HELD,
        }
        assert mixed.summary.exit_code == 4

    def test_out_holds_the_protected_and_nothing_else(self, mixed: Demo) -> None:
        protected = {
            entry.row.out for entry in mixed.summary.entries if entry.outcome is Outcome.PROTECTED
        }
        assert set(files(mixed.out)) == protected
        assert "optical/fundus.jpg.png" in protected

    def test_no_file_is_copied_as_it_was(self, mixed: Demo) -> None:
        assert not set(files(mixed.out).values()) & set(mixed.before.values())

    def test_it_verifies(self, mixed: Demo) -> None:
        assert verify(mixed.root, mixed.out) == []

    def test_no_pixel_is_beyond_its_budget(self, mixed: Demo) -> None:
        shares = [e.share for e in mixed.summary.entries if e.outcome is Outcome.PROTECTED]
        assert 0.5 < max(shares) <= 1

    def test_a_torn_series_is_held_as_a_whole(self, mixed: Demo) -> None:
        became = outcomes(mixed.summary)
        assert became["mr/torn-series/1.dcm"] == "held"
        assert became["mr/torn-series/2.dcm"] == "rejected"

    def test_the_receipt_says_what_became_of_every_file(self, mixed: Demo) -> None:
        path = mixed.state / "receipt.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        receipt = json.loads(path.read_text())
        assert receipt["finished"]
        assert receipt["counts"]["in"] == len(mixed.summary.entries)
        assert {line["path"]: line["outcome"] for line in receipt["files"]} == {
            entry.path: entry.state for entry in mixed.summary.entries
        }
        assert sum(receipt["counts"].get(each, 0) for each in Protection) == 11
        with_noise = [e.row for e in mixed.summary.entries if e.outcome is Outcome.PROTECTED]
        known = Counter(shipped_figures(row.pipeline) for row in with_noise)
        assert (receipt["summary"], receipt["caveat"]) == (
            protection_in_words(known),
            caveat_in_words(known),
        )
        assert receipt["key"] == KEY.fingerprint
        assert receipt["statements"] == []  # of no pipeline with decoys
        assert receipt["backend"]["torch"]
        assert all(line.get("reason") for line in receipt["files"] if line["outcome"] == "rejected")

    def test_a_second_run_does_nothing(self, mixed: Demo) -> None:
        before = times(mixed.out)
        began: list[int] = []
        progress = Progress(
            began=lambda entries: began.append(sum(e.outcome is Outcome.PLANNED for e in entries))
        )
        again = protect_export(settings(mixed.root, mixed.out), KEY, progress)
        assert began == [0]
        assert times(mixed.out) == before
        assert outcomes(again) == outcomes(mixed.summary)
        assert [e.sha256_out for e in again.entries] == [
            e.sha256_out for e in mixed.summary.entries
        ]

    def test_another_number_of_workers_gives_the_same_bytes(
        self, mixed: Demo, tmp_path: Path
    ) -> None:
        run(mixed.root, tmp_path / "alone", jobs=1)
        assert files(tmp_path / "alone") == files(mixed.out)

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"strength": "low"}, "strength"),
            ({"candidates": find_candidates(["radiology-grey"])}, "pipelines"),
            ({"keep_uids": True}, "keep_uids"),
            ({"along_z": "independent"}, "along_z"),
            ({"labels": {}, "labels_sha256": "ab"}, "labels"),
        ],
    )
    def test_other_settings_are_refused_by_name(
        self, mixed: Demo, options: dict[str, Any], word: str
    ) -> None:
        with pytest.raises(StateMismatchError, match=word):
            run(mixed.root, mixed.out, **options)

    def test_another_key_is_refused(self, mixed: Demo) -> None:
        with pytest.raises(StateMismatchError, match="key"):
            run(mixed.root, mixed.out, key=Key(bytes(32)))

    def test_the_same_settings_are_still_welcome_after_all_that(self, mixed: Demo) -> None:
        assert run(mixed.root, mixed.out).counts == mixed.summary.counts


class TestGoingOn:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "export"
        root.mkdir()
        for number in range(4):
            (root / f"{number}.png").write_bytes(png(number))
        return root

    def test_only_what_changed_is_done_again(self, root: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        run(root, out)
        before, first = files(out), times(out)
        os.utime(root / "0.png", ns=(1, 1))  # touched, the same bytes
        (root / "1.png").write_bytes(png(11))  # another image
        (root / "4.png").write_bytes(png(4))  # new
        (out / "2.png").unlink()
        (out / "3.png").write_bytes(before["3.png"][:-5])
        summary = run(root, out)
        after = files(out)
        assert summary.counts == {Outcome.PROTECTED: 5}
        assert after["0.png"] == before["0.png"]
        assert times(out)[(out / "0.png").as_posix()] == first[(out / "0.png").as_posix()]
        assert after["1.png"] != before["1.png"]
        assert after["2.png"] == before["2.png"]
        assert after["3.png"] == before["3.png"]
        assert verify(root, out) == []

    def test_a_file_of_out_changed_in_place_is_found_by_rehash(
        self, root: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        run(root, out)
        before = files(out)
        data = bytearray(before["2.png"])
        data[-20] ^= 1
        (out / "2.png").write_bytes(data)
        assert "verification" in verify(root, out)
        run(root, out, rehash=True)
        assert files(out) == before

    def test_a_file_gone_from_the_export_is_not_passed_over(
        self, root: Path, tmp_path: Path
    ) -> None:
        run(root, tmp_path / "out")
        (root / "1.png").unlink()
        with pytest.raises(StateMismatchError, match="1 files are protected in OUT but gone"):
            run(root, tmp_path / "out")
        assert "gone" in verify(root, tmp_path / "out")

    def test_beginning_anew_removes_what_the_run_wrote_and_nothing_else(
        self, root: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        run(root, out)
        (out / "mine.txt").write_text("not the run's")
        (root / "1.png").unlink()
        (root / "3.png").rename(root / "third.png")
        with pytest.raises(OutputError, match="not empty"):
            run(root, out, strength="low", begin_anew=True)
        assert set(files(out)) == {"mine.txt"}
        (out / "mine.txt").unlink()
        run(root, out, strength="low", begin_anew=True)
        assert {path.name for path in out.rglob("*")} == {"0.png", "2.png", "third.png"}

    def test_folders_that_are_empty_then_go_too(self, root: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "c.png").write_bytes(png(5))
        run(root, out)
        (root / "a").rename(root / "z")
        run(root, out, begin_anew=True)
        assert {path.name for path in out.iterdir()} == {f"{n}.png" for n in range(4)} | {"z"}

    def test_an_out_of_somebody_else_is_refused(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match="not empty"):
            run(root, tmp_path / "out")
        assert set(files(tmp_path / "out")) == {"thesis.txt"}

    def test_verification_finds_what_is_missing_strange_or_new(
        self, root: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        run(root, out)
        (out / "0.png").unlink()
        (out / "strange.png").write_bytes(png(9))
        (root / "later.png").write_bytes(png(8))
        assert sorted(verify(root, out)) == ["foreign", "new", "verification"]

    def test_verification_trusts_no_journal_on_pixels(self, root: Path, tmp_path: Path) -> None:
        """A run that was tampered with, journal and all, still fails on its bounds."""
        import hashlib

        from medprotect.protect.journal import Journal

        out = tmp_path / "out"
        run(root, out)
        pixels = np.array(Picture.open(root / "0.png"))
        pixels[4, 4] ^= 128
        Picture.fromarray(pixels).save(out / "0.png")
        data = (out / "0.png").read_bytes()
        with Journal(tmp_path / "out.medprotect") as journal:
            (entry,) = (each for each in journal.entries() if each.path == "0.png")
            digest = hashlib.sha256(data).hexdigest()
            journal.record([replace(entry, sha256_out=digest, size_out=len(data))])
        assert verify(root, out) == ["receipt", "verification"]


class TestSeries:
    def test_it_is_looked_at_once_and_its_folder_flushed_once(
        self, tmp_path: Path, pydicom_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "export"
        root.mkdir()
        for number in range(4):
            content = slice_of(pydicom_file("J2K_pixelrep_mismatch.dcm"), 1, number)
            (root / f"{number}.dcm").write_bytes(content)
        looked, flushed = [], []
        look, flush = Run._of_series, out_tree.fsync_dir

        def count_looks(run: Run, series: str) -> list[Entry]:
            looked.append(len(looked))
            return look(run, series)

        def count_flushes(folder: Path) -> None:
            flushed.append(folder)
            flush(folder)

        monkeypatch.setattr(Run, "_of_series", count_looks)
        monkeypatch.setattr(out_tree, "fsync_dir", count_flushes)
        assert run(root, tmp_path / "out").counts == {Outcome.PROTECTED: 4}
        assert flushed == [tmp_path / "out"]
        # When its last file is there, and when references are settled.
        assert len(looked) == 2

    @pytest.fixture
    def root(self, tmp_path: Path, pydicom_file: Callable[[str], Path]) -> Path:
        """Two series of three; one file of the second cannot be decoded, as its worker finds."""
        root = tmp_path / "export"
        root.mkdir()
        source = pydicom_file("J2K_pixelrep_mismatch.dcm")
        for series in (1, 2):
            for number in range(3):
                name = f"{series}-{number}.dcm"
                (root / name).write_bytes(slice_of(source, series, number))
        (root / "2-1.dcm").write_bytes(undecodable(source, 2, 1))
        return root

    def test_it_is_whole_or_absent_and_keep_lets_the_others_go(
        self, root: Path, tmp_path: Path, pydicom_file: Callable[[str], Path]
    ) -> None:
        out = tmp_path / "out"
        summary = run(root, out)
        assert outcomes(summary) == {
            "1-0.dcm": "protected",
            "1-1.dcm": "protected",
            "1-2.dcm": "protected",
            "2-0.dcm": "held",
            "2-1.dcm": "rejected",
            "2-2.dcm": "held",
        }
        assert summary.exit_code == 4
        assert set(files(out)) == {"1-0.dcm", "1-1.dcm", "1-2.dcm"}
        assert list((tmp_path / "out.medprotect" / "staging").iterdir()) == []

        kept = run(root, out, hold_series=False)
        assert kept.counts == {Outcome.PROTECTED: 5, Outcome.REJECTED: 1}
        assert set(files(out)) == {f"{s}-{n}.dcm" for s in (1, 2) for n in range(3)} - {"2-1.dcm"}

        held = run(root, out)
        assert held.counts == summary.counts
        assert set(files(out)) == {"1-0.dcm", "1-1.dcm", "1-2.dcm"}

        good = slice_of(pydicom_file("J2K_pixelrep_mismatch.dcm"), 2, 1)
        (root / "2-1.dcm").write_bytes(good)
        mended = run(root, out, accept_weak=True)
        assert mended.counts == {Outcome.PROTECTED: 6}
        assert mended.exit_code == 0
        assert verify(root, out) == []


class TestPipelines:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "export"
        root.mkdir()
        (root / "a.png").write_bytes(png())
        (root / "notes.txt").write_text("kept apart")
        return root

    def test_one_whose_weights_were_touched_is_refused(self, root: Path, tmp_path: Path) -> None:
        folder = tmp_path / "own"
        (card,) = (each.card for each in find_candidates(["radiology-grey"]))
        shutil.copytree(card.folder, folder)
        weights = folder / "models" / "generator.safetensors"
        data = bytearray(weights.read_bytes())
        data[-9] ^= 4
        weights.write_bytes(data)
        with pytest.raises(HashMismatchError):
            run(root, tmp_path / "out", candidates=find_candidates([os.fspath(folder)]))
        assert files(tmp_path / "out") == {}

    def test_labels_change_the_noise(self, root: Path, tmp_path: Path) -> None:
        for name in ("Hand", "CXR"):
            classes = {"a.png": name, "elsewhere.png": "CXR" if name == "Hand" else "Hand"}
            run(root, tmp_path / name, labels=classes, labels_sha256=name)
        assert files(tmp_path / "Hand") != files(tmp_path / "CXR")

    def test_others_are_copied_where_that_is_asked_for_and_taken_back(
        self, root: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        summary = run(root, out, copy_others=True)
        assert summary.counts == {Outcome.PROTECTED: 1, Outcome.COPIED: 1}
        assert files(out)["notes.txt"] == b"kept apart"
        assert verify(root, out) == []
        assert run(root, out).counts == {Outcome.PROTECTED: 1, Outcome.LEFT: 1}
        assert set(files(out)) == {"a.png"}

    def test_state_may_lie_on_another_file_system(
        self, root: Path, tmp_path: Path, mounted: Callable[..., Path]
    ) -> None:
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs")
        summary = run(root, tmp_path / "out", state=disk / "state")
        assert summary.counts[Outcome.PROTECTED] == 1
        assert set(files(tmp_path / "out")) == {"a.png"}


class TestSignals:
    def test_one_that_comes_while_the_receipt_is_written_is_told_of(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else who runs again and again, as `watch` does, would never hear of it."""
        (root := tmp_path / "export").mkdir()
        (root / "0.png").write_bytes(png(0))
        write = engine.write_receipt

        def write_and_be_told(*arguments: Any) -> None:
            write(*arguments)
            os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(engine, "write_receipt", write_and_be_told)
        summary = run(root, tmp_path / "out", accept_weak=True)
        assert summary.told == signal.SIGTERM
        assert not summary.interrupted
        assert summary.exit_code == 0


class TestCrash:
    def test_a_worker_that_dies_costs_one_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first file's worker is killed when it has the file; another takes the rest."""
        root = tmp_path / "export"
        root.mkdir()
        for number in range(4):
            (root / f"{number}.png").write_bytes(png(number))
        hand_out, killed = Pool._hand_out, []

        def hand_out_and_kill(self: Pool, tasks: Any) -> None:
            if killed:
                return hand_out(self, tasks)
            (worker,) = self._workers.values()
            killed.append(worker.pid)
            os.kill(worker.pid or 0, signal.SIGSTOP)  # it gets the file and does not begin
            hand_out(self, tasks)
            os.kill(worker.pid or 0, signal.SIGSEGV)
            os.kill(worker.pid or 0, signal.SIGCONT)
            return None

        monkeypatch.setattr(Pool, "_hand_out", hand_out_and_kill)
        summary = run(root, tmp_path / "out")
        became = outcomes(summary)
        assert became.pop("0.png") == "rejected"
        assert set(became.values()) == {"protected"}
        (reason,) = (e.row.detail for e in summary.entries if e.path == "0.png")
        assert "crashed" in reason
