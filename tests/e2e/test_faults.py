"""Faults that come from outside, real ones: disks, permissions, files that change under way."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from ..waiting import HANG_SECONDS
from .conftest import Start, held
from .disks import BLOCK, Disk
from .test_kill import contents, slices

Export = Callable[..., Path]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    shown, _ = process.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in shown
    return process.returncode, shown


@pytest.fixture
def disk() -> Iterator[Callable[[bytes], Disk]]:
    """`disk()` is a disk that can be made to fail; `disk(contents)` one with another's contents."""
    made: list[Disk] = []

    def make(contents: bytes = b"") -> Disk:
        try:
            made.append(Disk(contents))
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a disk that fails takes root, loop devices and mkfs.ext4")
        return made[-1]

    yield make
    for each in made:
        each.remove()


def verified(export: Path, out: Path) -> bool:
    command = [sys.executable, "-m", "medprotect", "verify", os.fspath(export), os.fspath(out)]
    return subprocess.run(command, capture_output=True).returncode == 0


class TestFailingDisk:
    def test_what_cannot_be_read_is_rejected_and_protected_once_it_can(
        self, tmp_path: Path, start: Start, disk: Callable[..., Disk]
    ) -> None:
        bad = disk()
        root = bad.mount(tmp_path / "disk") / "export"
        root.mkdir()
        chance = np.random.default_rng(3)
        for name, side in (("first.png", 64), ("second.png", 1400)):
            stream = BytesIO()
            Picture.fromarray(chance.integers(0, 200, (side, side), np.uint8)).save(stream, "PNG")
            (root / name).write_bytes(stream.getvalue())
            os.sync()
        bad.unmount()
        end = bad.contents.rindex(stream.getvalue()[-100:])
        bad.mount(tmp_path / "disk")
        start_of_loss = end // BLOCK * BLOCK
        lost = bad.lose(start_of_loss)
        code, shown = ended(start(root, tmp_path / "out"))
        assert code == 4, shown
        assert "unsafe_path" in shown
        assert "Input/output error" in shown
        assert contents(tmp_path / "out").keys() == {"first.png"}
        bad.find_again(start_of_loss, lost)
        code, shown = ended(start(root, tmp_path / "out"))
        assert code == 0, shown
        assert contents(tmp_path / "out").keys() == {"first.png", "second.png"}

    def test_one_that_takes_no_more_ends_the_run_and_what_it_took_is_whole(
        self,
        tmp_path: Path,
        start: Start,
        export: Export,
        disk: Callable[..., Disk],
        pydicom_file: Callable[[str], Path],
    ) -> None:
        root = export(slices(pydicom_file("CT_small.dcm"), 40))
        bad = disk()
        out = bad.mount(tmp_path / "disk") / "out"
        process = start(root, out)
        with held(process, out):
            bad.fail_to_write()
        code, shown = ended(process)
        assert code in (5, 6), shown  # the kernel may say EIO, or that all is read-only now
        bad.unmount()
        disk(bad.contents).mount(tmp_path / "disk")
        there = contents(out)
        assert len(there) < 40
        code, shown = ended(start(root, out))
        assert code == 0, shown
        assert there.items() <= contents(out).items()
        assert len(contents(out)) == 40
        assert verified(root, out)


class TestUnderWay:
    @pytest.mark.parametrize("place", ["export", "out"])
    def test_a_disk_that_is_taken_away_costs_nothing_but_another_run(
        self,
        tmp_path: Path,
        start: Start,
        disk: Callable[..., Disk],
        pydicom_file: Callable[[str], Path],
        place: str,
    ) -> None:
        there = disk()
        folders = {"export": tmp_path / "export", "out": tmp_path / "out"}
        folders[place] = there.mount(tmp_path / "disk") / place
        for name, data in slices(pydicom_file("CT_small.dcm"), 60).items():
            assert isinstance(data, bytes)
            (folders["export"] / name).parent.mkdir(parents=True, exist_ok=True)
            (folders["export"] / name).write_bytes(data)
        process = start(*folders.values())
        with held(process, folders["out"]):
            there.unmount()
        code, shown = ended(process)
        assert code in ((4,) if place == "export" else (5, 6)), shown
        there.mount(tmp_path / "disk")
        code, shown = ended(start(*folders.values()))
        assert code == 0, shown
        assert len(contents(folders["out"])) == 60
        assert verified(*folders.values())

    def test_a_folder_that_may_no_longer_be_written_ends_the_run(
        self,
        tmp_path: Path,
        start: Start,
        export: Export,
        pydicom_file: Callable[[str], Path],
    ) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        root = export(slices(pydicom_file("CT_small.dcm"), 60))
        process = start(root, tmp_path / "out")
        with held(process, tmp_path / "out"):
            (tmp_path / "out").chmod(0o500)
        code, shown = ended(process)
        assert code == 5, shown
        (tmp_path / "out").chmod(0o700)
        code, shown = ended(start(root, tmp_path / "out"))
        assert code == 0, shown
        assert len(contents(tmp_path / "out")) == 60

    @pytest.mark.parametrize("name", ["out", "out.medprotect"])
    def test_a_folder_that_is_moved_away_ends_the_run_and_the_next_makes_it_whole(
        self,
        tmp_path: Path,
        start: Start,
        export: Export,
        pydicom_file: Callable[[str], Path],
        name: str,
    ) -> None:
        """As an unmounted share: its name then leads to an empty folder."""
        root = export(slices(pydicom_file("CT_small.dcm"), 120))
        process = start(root, tmp_path / "out")
        with held(process, tmp_path / "out"):
            (tmp_path / name).rename(tmp_path / "elsewhere")
            (tmp_path / name).mkdir()
        code, shown = ended(process)
        assert code in (5, 6), shown
        shutil.rmtree(tmp_path / name)
        (tmp_path / "elsewhere").rename(tmp_path / name)
        code, shown = ended(start(root, tmp_path / "out"))
        assert code == 0, shown
        assert len(contents(tmp_path / "out")) == 120

    def test_files_that_change_under_way_are_rejected_and_their_series_held(
        self,
        tmp_path: Path,
        start: Start,
        pydicom_file: Callable[[str], Path],
    ) -> None:
        root = tmp_path / "changing"
        for name, data in slices(pydicom_file("CT_small.dcm"), 120).items():
            assert isinstance(data, bytes)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        out = tmp_path / "out"
        process = start(root, out)
        with held(process, out):
            last = root / "10" / "8.dcm"
            last.write_bytes(last.read_bytes() + b"\0\0")
        code, shown = ended(process)
        assert code == 4, shown
        assert "changed" in shown
        assert not (out / "10" / "8.dcm").exists()
        assert {path.name for path in (out / "10").iterdir()} == {"picture.png"}

    def test_a_folder_of_out_that_may_not_be_written_ends_the_run(
        self,
        tmp_path: Path,
        start: Start,
        export: Export,
        mounted: Callable[..., Path],
        pydicom_file: Callable[[str], Path],
    ) -> None:
        root = export(slices(pydicom_file("CT_small.dcm"), 20))
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro", "tmpfs")
        code, shown = ended(start(root, disk / "out"))
        assert code == 5, shown

    def test_no_more_inodes_is_a_full_disk(
        self,
        tmp_path: Path,
        start: Start,
        export: Export,
        mounted: Callable[..., Path],
        pydicom_file: Callable[[str], Path],
    ) -> None:
        root = export(slices(pydicom_file("CT_small.dcm"), 60))
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=100m,nr_inodes=40", "tmpfs")
        code, shown = ended(start(root, disk / "out"))
        assert code == 6, shown
        subprocess.run(["mount", "-o", "remount,nr_inodes=400", os.fspath(disk)], check=True)
        code, shown = ended(start(root, disk / "out"))
        assert code == 0, shown
        assert len(contents(disk / "out")) == 60
