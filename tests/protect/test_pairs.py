"""An image in two files is protected, rejected, gone on with and verified as one."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from medprotect.confounder.key import Key
from medprotect.plan.plan import MaskNames
from medprotect.plan.selection import find_candidates
from medprotect.protect.dry_run import plan_export
from medprotect.protect.engine import protect_export
from medprotect.protect.file_check import Fault
from medprotect.protect.journal import Journal, Outcome
from medprotect.protect.resume import staged_path
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Summary
from medprotect.protect.verify import verify_run

RANDOM = np.random.default_rng(3)
KEY = Key(bytes(range(32)))


def settings(root: Path, **options: Any) -> Settings:
    fields: dict[str, Any] = {
        "export": root,
        "out": root.with_name("out"),
        "state": root.with_name("out.medprotect"),
        "candidates": find_candidates(["auto"]),
    }
    return Settings(**fields | options)


def run(root: Path, **options: Any) -> Summary:
    return protect_export(settings(root, **options), KEY)


def faults(root: Path) -> list[Fault]:
    asked = settings(root)
    return verify_run(asked.export, asked.out, asked.state).faults


def outcomes(summary: Summary) -> dict[str, str]:
    return {entry.path: entry.outcome.value for entry in summary.entries}


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def image() -> np.ndarray[Any, Any]:
    return RANDOM.integers(0, 900, (24, 20, 3)).astype(np.int16)


def mask() -> np.ndarray[Any, Any]:
    voxels = np.zeros((24, 20, 3), np.uint8)
    voxels[4:9, 5:11] = 1
    return voxels


def save(path: Path, voxels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Pair(voxels, np.eye(4)), path)


def lines(root: Path) -> dict[str, dict[str, Any]]:
    receipt = json.loads((root.with_name("out.medprotect") / "receipt.json").read_text())
    return {line["path"]: line for line in receipt["files"]}


def tamper(root: Path, name: str, data: bytes, **fields: Any) -> None:
    """Put bytes into OUT, and have journal and receipt say that they belong there."""
    asked = settings(root)
    (asked.out / name).write_bytes(data)
    known: dict[str, Any] = {"sha256_out": hashlib.sha256(data).hexdigest(), "size_out": len(data)}
    with Journal(asked.state) as journal:
        (entry,) = (each for each in journal.entries() if each.path == name)
        journal.record([replace(entry, **known, **fields)])
    path = asked.state / "receipt.json"
    receipt = json.loads(path.read_text())
    next(line for line in receipt["files"] if line["path"] == name).update(known)
    path.write_text(json.dumps(receipt))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs, a mask, a header without voxels, and voxels without a header."""
    root = tmp_path / "export"
    save(root / "a" / "brain.hdr", image())
    save(root / "zipped.hdr.gz", image())
    save(root / "mask.hdr", mask())
    shutil.copy(root / "a" / "brain.hdr", root / "lonely.hdr")
    (root / "lone.img").write_bytes(image().tobytes())
    return root


class TestRun:
    def test_every_file_is_accounted_for(self, root: Path, untouched: Callable[..., Path]) -> None:
        untouched(root)
        planned = {entry.path: entry.outcome.value for entry in plan_export(settings(root))}
        summary = run(root)
        became = outcomes(summary)
        assert became == {
            "a/brain.hdr": "protected",
            "a/brain.img": "protected",
            "lone.img": "rejected",
            "lonely.hdr": "rejected",
            "mask.hdr": "left",
            "mask.img": "left",
            "zipped.hdr.gz": "protected",
            "zipped.img.gz": "protected",
        }
        assert planned == {
            path: "planned" if word == "protected" else word for path, word in became.items()
        }
        before, after = files(root), files(root.with_name("out"))
        assert set(after) == {path for path, word in became.items() if word == "protected"}
        assert after["a/brain.hdr"] == before["a/brain.hdr"]
        assert after["zipped.hdr.gz"] == before["zipped.hdr.gz"]
        assert after["a/brain.img"] != before["a/brain.img"]
        assert faults(root) == []
        said = lines(root)
        assert said["a/brain.hdr"]["voxels"] == "a/brain.img"
        assert said["a/brain.img"]["header"] == "a/brain.hdr"
        assert said["a/brain.hdr"]["images"] == 3
        assert said["lonely.hdr"]["reason"] == "corrupt"

    def test_masks_are_copied_whole_where_that_is_asked_for(self, root: Path) -> None:
        summary = run(root, copy_others=True)
        assert summary.counts[Outcome.COPIED] == 2
        for name in ("mask.hdr", "mask.img"):
            copied = root.with_name("out") / name
            assert copied.read_bytes() == (root / name).read_bytes()
        assert faults(root) == []

    def test_what_is_said_of_masks_holds_for_both_files(self, root: Path) -> None:
        said = MaskNames(masks=("a/*",), images=("mask*",))
        became = outcomes(run(root, mask_names=said))
        assert became["a/brain.hdr"] == became["a/brain.img"] == "left"
        assert became["mask.hdr"] == became["mask.img"] != "left"

    def test_the_header_gets_its_name_last(self, root: Path) -> None:
        """Whoever is killed before that leaves voxels that nothing names."""
        run(root)
        out = root.with_name("out")
        for stem, ends in (("a/brain", ("hdr", "img")), ("zipped", ("hdr.gz", "img.gz"))):
            named = [(out / f"{stem}.{end}").stat().st_ctime_ns for end in ends]
            assert named[0] > named[1]


class TestOtherFormats:
    NAMES = ("a.mhd", "z.mhd", "b.nhdr", "y.nhdr", "c.mha", "d.nrrd")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "export"
        root.mkdir()
        for name in self.NAMES:
            made = SimpleITK.GetImageFromArray(image().T.copy())
            SimpleITK.WriteImage(made, root / name, name[0] in "zy")
        return root

    def test_they_are_protected_and_verified_and_read_by_another_library(self, root: Path) -> None:
        summary = run(root)
        assert summary.counts == {Outcome.PROTECTED: 10}
        found = verify_run(root, root.with_name("out"), root.with_name("out.medprotect"))
        assert found.faults == []
        assert found.read_twice == found.checked == 10
        assert found.images == 3 * len(self.NAMES)
        for name in self.NAMES:
            before, after = (
                SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(folder / name))
                for folder in (root, root.with_name("out"))
            )
            assert 0 < np.abs(before - after).max() < 60
        before, after = files(root), files(root.with_name("out"))
        for name in ("a.mhd", "b.nhdr", "y.nhdr"):
            assert after[name] == before[name]

    def test_a_header_whose_size_is_another_is_found(self, root: Path) -> None:
        """Of compressed voxels, which the header states anew."""
        run(root)
        data = (root.with_name("out") / "z.mhd").read_bytes()
        assert data != (root / "z.mhd").read_bytes()
        tamper(root, "z.mhd", data.replace(b"DataSize = ", b"DataSize = 1"))
        assert [fault.slug for fault in faults(root)] == ["verification"]

    def test_a_header_that_names_other_voxels_is_found(self, root: Path) -> None:
        run(root)
        data = (root / "a.mhd").read_bytes()
        tamper(root, "a.mhd", data.replace(b"a.raw", b"b.raw"))
        (fault,) = faults(root)
        assert fault.detail == "the header does not name the file of its voxels"


class TestRejected:
    def test_two_headers_of_one_file_are_rejected_with_it(self, root: Path) -> None:
        shutil.copy(root / "a" / "brain.hdr", root / "a" / "brain.hdr.gz")
        became = outcomes(run(root))
        assert {became[f"a/brain.{end}"] for end in ("hdr", "hdr.gz", "img")} == {"rejected"}

    def test_two_files_that_may_hold_the_voxels_are_rejected(self, root: Path) -> None:
        shutil.copy(root / "zipped.img.gz", root / "a" / "brain.img.gz")
        became = outcomes(run(root))
        assert {became[f"a/brain.{end}"] for end in ("hdr", "img", "img.gz")} == {"rejected"}

    def test_voxels_that_are_an_image_of_their_own_are_that(self, root: Path) -> None:
        single = nibabel.Nifti1Image(image(), np.eye(4)).to_bytes()
        (root / "a" / "brain.img").write_bytes(single)
        became = outcomes(run(root))
        assert became["a/brain.hdr"] == "rejected"
        assert became["a/brain.img"] == "protected"
        assert faults(root) == []

    def test_a_link_in_place_of_voxels_is_not_followed(self, root: Path) -> None:
        moved = root / "elsewhere.bin"
        (root / "a" / "brain.img").rename(moved)
        (root / "a" / "brain.img").symlink_to(moved)
        became = outcomes(run(root))
        assert became["a/brain.hdr"] == became["a/brain.img"] == "rejected"
        assert became["elsewhere.bin"] == "rejected"

    def test_voxels_cut_short_reject_both(self, root: Path) -> None:
        os.truncate(root / "a" / "brain.img", 500)
        became = outcomes(run(root))
        assert became["a/brain.hdr"] == became["a/brain.img"] == "rejected"
        assert lines(root)["a/brain.img"]["reason"] == "corrupt"

    def test_what_only_the_worker_finds_rejects_both(self, root: Path) -> None:
        """The checksum at the end of the gzipped voxels: not read before the work begins."""
        path = root / "zipped.img.gz"
        data = bytearray(path.read_bytes())
        data[-6] ^= 1
        path.write_bytes(data)
        first = outcomes(run(root))
        assert first["zipped.hdr.gz"] == first["zipped.img.gz"] == "rejected"
        assert not (root.with_name("out") / "zipped.hdr.gz").exists()
        assert outcomes(run(root)) == first
        data[-6] ^= 1
        path.write_bytes(data)
        assert outcomes(run(root))["zipped.hdr.gz"] == "protected"
        assert faults(root) == []


class TestGoingOn:
    @pytest.mark.parametrize("outcome", [Outcome.STAGED, Outcome.PLANNED])
    def test_a_kill_between_the_two_names_leaves_no_image_and_ends_the_same(
        self, root: Path, outcome: Outcome
    ) -> None:
        asked = settings(root)
        run(root)
        whole = files(asked.out)
        header = asked.out / "a" / "brain.hdr"
        header.rename(staged_path(asked.state, "a/brain.hdr"))
        with Journal(asked.state) as journal:
            journal.record(
                replace(entry, outcome=outcome)
                for entry in journal.entries()
                if entry.path.startswith("a/")
            )
        assert not header.exists()
        run(root)
        assert files(asked.out) == whole
        assert list((asked.state / "staging").iterdir()) == []
        assert faults(root) == []

    @pytest.mark.parametrize("name", ["a/brain.hdr", "a/brain.img"])
    def test_a_half_that_went_missing_is_made_again(self, root: Path, name: str) -> None:
        run(root)
        whole = files(root.with_name("out"))
        (root.with_name("out") / name).unlink()
        assert [fault.slug for fault in faults(root)] != []
        run(root)
        assert files(root.with_name("out")) == whole
        assert faults(root) == []

    def test_a_changed_half_changes_both(self, root: Path) -> None:
        run(root)
        before = files(root.with_name("out"))
        save(root / "a" / "brain.hdr", image())
        run(root)
        after = files(root.with_name("out"))
        assert after["a/brain.img"] != before["a/brain.img"]
        assert after["zipped.img.gz"] == before["zipped.img.gz"]
        assert faults(root) == []

    def test_another_say_of_masks_takes_back_what_was_done(self, root: Path) -> None:
        run(root)
        summary = run(root, mask_names=MaskNames(masks=("*brain*",)))
        assert outcomes(summary)["a/brain.hdr"] == "left"
        assert not (root.with_name("out") / "a").exists()
        assert faults(root) == []
        again = run(root)
        assert outcomes(again)["a/brain.hdr"] == "protected"
        assert faults(root) == []


class TestTampered:
    def test_clean_voxels_under_a_protected_header_are_found(self, root: Path) -> None:
        run(root)
        tamper(root, "a/brain.img", (root / "a" / "brain.img").read_bytes())
        assert [fault.slug for fault in faults(root)] == ["verification"]

    def test_one_voxel_beyond_its_budget_is_found(self, root: Path) -> None:
        run(root)
        data = bytearray((root.with_name("out") / "a" / "brain.img").read_bytes())
        data[101] ^= 0x10
        tamper(root, "a/brain.img", bytes(data))
        (fault,) = faults(root)
        assert "budget" in fault.detail

    def test_a_field_of_the_header_is_found_and_named(self, root: Path) -> None:
        run(root)
        data = bytearray((root / "a" / "brain.hdr").read_bytes())
        data[150] ^= 1
        tamper(root, "a/brain.hdr", bytes(data))
        (fault,) = faults(root)
        assert "descrip" in fault.detail

    @pytest.mark.parametrize("name", ["a/brain.hdr", "a/brain.img"])
    def test_a_byte_that_the_journal_does_not_know_is_found(self, root: Path, name: str) -> None:
        run(root)
        path = root.with_name("out") / name
        data = bytearray(path.read_bytes())
        data[200] ^= 1
        path.write_bytes(data)
        assert {fault.slug for fault in faults(root)} == {"verification"}

    def test_voxels_that_no_header_names_are_found(self, root: Path) -> None:
        """Clean voxels that the journal calls another's."""
        run(root)
        with Journal(settings(root).state) as journal:
            (entry,) = (each for each in journal.entries() if each.path == "a/brain.img")
        clean = (root / "a" / "brain.img").read_bytes()
        row = replace(entry.row, header="zipped.hdr.gz")
        tamper(root, "a/brain.img", clean, row=row)
        found = [fault.detail for fault in faults(root)]
        assert "no header in OUT names this file of voxels" in found
