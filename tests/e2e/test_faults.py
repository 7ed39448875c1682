"""Faults that come from outside, real ones: disks, permissions, files that change under way."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Start
from .test_kill import contents, slices

Export = Callable[..., Path]


def until_it_writes(out: Path, process: "subprocess.Popen[str]") -> None:
    while not (out.is_dir() and any(out.iterdir())):
        time.sleep(0.01)
        assert process.poll() is None


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    shown, _ = process.communicate(timeout=300)
    assert "Traceback" not in shown
    return process.returncode, shown


class TestUnderWay:
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
        until_it_writes(tmp_path / "out", process)
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
        until_it_writes(out, process)
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
