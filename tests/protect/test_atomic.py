import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medprotect.errors import MedprotectError, OutputError, StorageError
from medprotect.protect.atomic import (
    check_space,
    fsync_dir,
    make_folders,
    mapped_errors,
    publish,
    remove_partials,
    same_filesystem,
    write_file,
)
from medprotect.scan.walk import PARTIAL_NAME

Mount = Callable[..., Path]


@pytest.fixture
def small_disk(tmp_path: Path, mounted: Mount) -> Path:
    """A file system of 1 MiB."""
    return mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def unmeasured() -> dict[str, str]:
    """The environment without coverage, which a process that is killed would leave half written."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


class TestWriteFile:
    def test_all_bytes_are_written(self, tmp_path: Path) -> None:
        data = os.urandom(300_001)
        write_file(tmp_path / "a", data)
        assert (tmp_path / "a").read_bytes() == data

    def test_an_empty_file_is_a_file(self, tmp_path: Path) -> None:
        write_file(tmp_path / "a", b"")
        assert (tmp_path / "a").read_bytes() == b""

    def test_a_view_of_wider_items_is_written_in_bytes(self, tmp_path: Path) -> None:
        write_file(tmp_path / "a", memoryview(b"\1\0\2\0").cast("H"))
        assert (tmp_path / "a").read_bytes() == b"\1\0\2\0"

    def test_the_mode_is_lessened_by_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            write_file(tmp_path / "a", b"1")
            write_file(tmp_path / "b", b"1", mode=0o600)
        finally:
            os.umask(before)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600

    def test_an_existing_file_is_never_written_over(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"old")
        with pytest.raises(OutputError):
            write_file(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"old"

    def test_a_link_is_never_written_through(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_bytes(b"old")
        (tmp_path / "a").symlink_to("target")
        (tmp_path / "b").symlink_to("nowhere")
        for name in ("a", "b"):
            with pytest.raises(OutputError):
                write_file(tmp_path / name, b"new")
        assert (tmp_path / "target").read_bytes() == b"old"
        assert names(tmp_path) == ["a", "b", "target"]

    def test_a_missing_folder_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError):
            write_file(tmp_path / "gone" / "a", b"1")

    def test_a_full_disk_is_a_storage_error_and_leaves_nothing(self, small_disk: Path) -> None:
        with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)) as caught:
            write_file(small_disk / "a", b"x" * 2 * 1024**2)
        assert caught.value.exit_code == 6
        assert names(small_disk) == []

    def test_after_room_is_made_the_write_succeeds(self, small_disk: Path) -> None:
        write_file(small_disk / "other", b"x" * 700_000)
        with pytest.raises(StorageError):
            write_file(small_disk / "a", b"y" * 700_000)
        (small_disk / "other").unlink()
        write_file(small_disk / "a", b"y" * 700_000)
        assert (small_disk / "a").read_bytes() == b"y" * 700_000

    def test_a_file_size_limit_is_a_storage_error_and_leaves_nothing(self, tmp_path: Path) -> None:
        code = """
import resource, signal, sys
from pathlib import Path
from medprotect.errors import StorageError
from medprotect.protect.atomic import write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_file(Path(sys.argv[1]), b"x" * 5000)
except StorageError as error:
    print(error)
"""
        done = subprocess.run(
            [sys.executable, "-c", code, os.fspath(tmp_path / "a")],
            capture_output=True,
            text=True,
            check=True,
            env=unmeasured(),
        )
        assert os.strerror(errno.EFBIG) in done.stdout
        assert names(tmp_path) == []

    def test_a_read_only_disk_is_an_output_error(self, tmp_path: Path, mounted: Mount) -> None:
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs")
        with pytest.raises(OutputError, match=os.strerror(errno.EROFS)) as caught:
            write_file(disk / "a", b"1")
        assert caught.value.exit_code == 5

    def test_a_folder_without_permission_is_an_output_error(self, nobody: Path) -> None:
        (nobody / "closed").mkdir(mode=0o500)
        with pytest.raises(OutputError, match=os.strerror(errno.EACCES)):
            write_file(nobody / "closed" / "a", b"1")


class TestPublish:
    def test_the_file_moves_and_its_folders_are_made(self, tmp_path: Path) -> None:
        write_file(tmp_path / "tmp", b"1")
        publish(tmp_path / "tmp", tmp_path / "out" / "a" / "b" / "file")
        assert (tmp_path / "out" / "a" / "b" / "file").read_bytes() == b"1"
        assert not (tmp_path / "tmp").exists()

    def test_a_taken_name_is_an_error_and_nothing_is_lost(self, tmp_path: Path) -> None:
        (tmp_path / "final").write_bytes(b"old")
        write_file(tmp_path / "tmp", b"new")
        with pytest.raises(OutputError, match=os.strerror(errno.EEXIST)):
            publish(tmp_path / "tmp", tmp_path / "final")
        assert (tmp_path / "final").read_bytes() == b"old"
        assert (tmp_path / "tmp").read_bytes() == b"new"

    def test_a_broken_link_is_a_taken_name(self, tmp_path: Path) -> None:
        (tmp_path / "final").symlink_to("nowhere")
        write_file(tmp_path / "tmp", b"new")
        with pytest.raises(OutputError):
            publish(tmp_path / "tmp", tmp_path / "final")
        assert (tmp_path / "final").is_symlink()

    def test_a_name_is_replaced_when_told(self, tmp_path: Path) -> None:
        (tmp_path / "final").write_bytes(b"old")
        write_file(tmp_path / "tmp", b"new")
        publish(tmp_path / "tmp", tmp_path / "final", replace=True)
        assert (tmp_path / "final").read_bytes() == b"new"
        assert names(tmp_path) == ["final"]

    def test_a_folder_is_never_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "final").mkdir()
        write_file(tmp_path / "tmp", b"new")
        with pytest.raises(OutputError):
            publish(tmp_path / "tmp", tmp_path / "final", replace=True)
        assert names(tmp_path) == ["final", "tmp"]

    def test_a_file_where_a_folder_must_be_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"old")
        write_file(tmp_path / "tmp", b"new")
        for final in (tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
            with pytest.raises(OutputError):
                publish(tmp_path / "tmp", final)
        assert (tmp_path / "a").read_bytes() == b"old"

    def test_what_cannot_be_linked_is_renamed_but_never_over_a_taken_name(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "tmp").mkdir()  # no file system links folders, as some link no files
        (tmp_path / "tmp" / "a").write_bytes(b"1")
        (tmp_path / "taken").write_bytes(b"old")
        with pytest.raises(OutputError, match=os.strerror(errno.EEXIST)):
            publish(tmp_path / "tmp", tmp_path / "taken")
        publish(tmp_path / "tmp", tmp_path / "final")
        assert names(tmp_path) == ["a", "final", "taken"]
        assert (tmp_path / "taken").read_bytes() == b"old"

    @pytest.mark.parametrize("flush", [True, False])
    def test_its_folder_is_flushed_unless_somebody_else_will(
        self, tmp_path: Path, flush: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_file(tmp_path / "tmp", b"1")
        flushed = []
        flush_to_disk = os.fsync

        def count(descriptor: int) -> None:
            flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
            flush_to_disk(descriptor)

        monkeypatch.setattr(os, "fsync", count)
        publish(tmp_path / "tmp", tmp_path / "final", flush=flush)
        assert flushed == [tmp_path] * flush
        assert names(tmp_path) == ["final"]

    def test_a_missing_file_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError):
            publish(tmp_path / "gone", tmp_path / "final")

    def test_another_file_system_is_crossed_with_bytes_and_mode_kept(
        self, tmp_path: Path, small_disk: Path
    ) -> None:
        data = os.urandom(200_000)
        write_file(small_disk / "tmp", data, mode=0o640)
        assert not same_filesystem(small_disk, tmp_path)
        publish(small_disk / "tmp", tmp_path / "out" / "final")
        assert (tmp_path / "out" / "final").read_bytes() == data
        assert (tmp_path / "out" / "final").stat().st_mode & 0o777 == 0o640
        assert names(tmp_path / "out") == ["final"]
        assert names(small_disk) == []

    def test_on_another_file_system_a_taken_name_is_an_error_too(
        self, tmp_path: Path, small_disk: Path
    ) -> None:
        (tmp_path / "final").write_bytes(b"old")
        write_file(small_disk / "tmp", b"new")
        with pytest.raises(OutputError):
            publish(small_disk / "tmp", tmp_path / "final")
        assert (tmp_path / "final").read_bytes() == b"old"
        assert (small_disk / "tmp").read_bytes() == b"new"
        publish(small_disk / "tmp", tmp_path / "final", replace=True)
        assert (tmp_path / "final").read_bytes() == b"new"
        assert remove_partials(tmp_path) == 0

    def test_a_full_disk_at_the_other_side_leaves_no_final_name(
        self, tmp_path: Path, small_disk: Path
    ) -> None:
        write_file(tmp_path / "tmp", b"x" * 2 * 1024**2)
        with pytest.raises(StorageError):
            publish(tmp_path / "tmp", small_disk / "final")
        assert names(small_disk) == []
        assert (tmp_path / "tmp").stat().st_size == 2 * 1024**2

    def test_a_partial_of_a_killed_run_is_no_obstacle(
        self, tmp_path: Path, small_disk: Path
    ) -> None:
        code = """
import os, sys
from pathlib import Path
from medprotect.protect import atomic
atomic._move = lambda *_: os._exit(9) if ".part" in str(_[0]) else os.link(*_[:2])
atomic.publish(Path(sys.argv[1]), Path(sys.argv[2]))
"""
        final = tmp_path / "out" / "final"
        write_file(small_disk / "tmp", b"new")
        command = [sys.executable, "-c", code, small_disk / "tmp", final]
        killed = subprocess.run(command, env=unmeasured())
        assert killed.returncode == 9
        (partial,) = names(tmp_path / "out")
        assert PARTIAL_NAME.fullmatch(partial)
        publish(small_disk / "tmp", final)
        assert names(tmp_path / "out") == ["final"]


class TestOrder:
    """What must reach the disk before what; the calls are real, and written down as they happen."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        seen: list[str] = []

        def watch(name: str) -> None:
            call = getattr(os, name)

            def watched(*args: Any, **kwargs: Any) -> Any:
                is_open = isinstance(args[0], int)
                path = Path(f"/proc/self/fd/{args[0]}").readlink() if is_open else Path(args[0])
                seen.append(f"{name} {path.name}")
                return call(*args, **kwargs)

            monkeypatch.setattr(os, name, watched)

        for name in ("write", "fsync", "link", "mkdir", "unlink"):
            watch(name)
        return seen

    def test_bytes_are_flushed_before_the_name_and_the_name_before_the_return(
        self, tmp_path: Path, calls: list[str]
    ) -> None:
        write_file(tmp_path / "tmp", b"1")
        assert calls == ["write tmp", "fsync tmp"]
        calls.clear()
        (tmp_path / "out").mkdir()
        calls.clear()
        publish(tmp_path / "tmp", tmp_path / "out" / "final")
        assert calls == ["link tmp", "unlink tmp", "fsync out"]

    def test_new_folders_are_flushed_in_the_one_that_holds_them(
        self, tmp_path: Path, calls: list[str]
    ) -> None:
        make_folders(tmp_path / "a" / "b")
        assert calls == ["mkdir a", f"fsync {tmp_path.name}", "mkdir b", "fsync a"]

    def test_a_copy_to_another_file_system_is_flushed_before_its_name(
        self, tmp_path: Path, small_disk: Path, calls: list[str]
    ) -> None:
        write_file(small_disk / "tmp", b"1")
        calls.clear()
        publish(small_disk / "tmp", tmp_path / "final")
        names_of_calls = [call.split()[0] for call in calls]
        assert names_of_calls[:2] == ["link", "unlink"]  # refused; a stale partial is cleared
        assert names_of_calls[2:5] == ["write", "fsync", "link"]
        assert calls[-1] == f"fsync {tmp_path.name}"


class TestKills:
    """What a kill between two steps leaves, by stopping the process after its nth system call."""

    CODE = """
import os, sys
from pathlib import Path
from medprotect.protect import atomic

folder, steps = Path(sys.argv[1]), int(sys.argv[2])

def counted(call):
    def wrapper(*args, **kwargs):
        global steps
        if steps == 0:
            os._exit(9)
        steps -= 1
        return call(*args, **kwargs)
    return wrapper

for name in ("open", "write", "fsync", "close", "link", "mkdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
atomic.write_file(folder / "tmp", b"whole")
atomic.publish(folder / "tmp", folder / "out" / "sub" / "final")
"""

    def test_the_final_name_is_absent_or_whole_after_every_step(self, tmp_path: Path) -> None:
        for steps in range(60):
            folder = tmp_path / str(steps)
            folder.mkdir()
            command = [sys.executable, "-c", self.CODE, folder, str(steps)]
            done = subprocess.run(command, env=unmeasured())
            final = folder / "out" / "sub" / "final"
            if final.exists():
                assert final.read_bytes() == b"whole"
            if done.returncode == 0:
                assert names(folder) == ["final", "out", "sub"]
                break
            assert done.returncode == 9
        assert done.returncode == 0
        assert steps > 8


class TestMakeFolders:
    def test_existing_folders_are_fine(self, tmp_path: Path) -> None:
        make_folders(tmp_path / "a" / "b")
        make_folders(tmp_path / "a" / "b")
        assert names(tmp_path) == ["a", "b"]

    def test_the_mode_is_given(self, tmp_path: Path) -> None:
        make_folders(tmp_path / "state", mode=0o700)
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700

    def test_a_file_in_the_way_is_an_output_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"")
        for folder in (tmp_path / "a", tmp_path / "a" / "b"):
            with pytest.raises(OutputError):
                make_folders(folder)

    def test_fsync_dir_of_a_missing_folder_is_an_output_error(self, tmp_path: Path) -> None:
        fsync_dir(tmp_path)
        with pytest.raises(OutputError):
            fsync_dir(tmp_path / "gone")


class TestSpace:
    def test_enough_space_passes(self, tmp_path: Path) -> None:
        check_space(tmp_path, 0, reserve_bytes=0)

    def test_the_reserve_is_kept(self, small_disk: Path) -> None:
        check_space(small_disk, 1024**2, reserve_bytes=0)
        check_space(small_disk, 0, reserve_bytes=1024**2)
        with pytest.raises(StorageError, match="free space"):
            check_space(small_disk, 1024, reserve_bytes=1024**2)
        with pytest.raises(StorageError):
            check_space(small_disk, 0)  # the usual reserve is larger than this disk

    def test_what_is_written_counts(self, small_disk: Path) -> None:
        write_file(small_disk / "a", b"x" * 600_000)
        with pytest.raises(StorageError):
            check_space(small_disk, 600_000, reserve_bytes=0)


class TestRemovePartials:
    def test_only_partial_names_are_removed(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        kept = [".medprotect-1.part", "x.part", ".medprotect-0123456789abcdef.part.dcm", "a.dcm"]
        for name in kept:
            (tmp_path / name).write_bytes(b"")
        for folder in ("", "a", "a/b"):
            (tmp_path / folder / ".medprotect-0123456789abcdef.part").write_bytes(b"")
        assert remove_partials(tmp_path) == 3
        assert names(tmp_path) == sorted([*kept, "a", "b"])

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / ".medprotect-0123456789abcdef.part").write_bytes(b"")
        (tmp_path / "out" / "up").symlink_to("..")
        assert remove_partials(tmp_path / "out") == 0


class TestMappedErrors:
    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (errno.ENOSPC, StorageError),
            (errno.EDQUOT, StorageError),
            (errno.EIO, StorageError),
            (errno.ESTALE, StorageError),
            (errno.ENOTCONN, StorageError),
            (errno.EACCES, OutputError),
            (errno.EPERM, OutputError),
            (errno.EROFS, OutputError),
            (errno.EEXIST, OutputError),
            (errno.ENAMETOOLONG, OutputError),
        ],
    )
    def test_each_kind_has_its_error_and_no_path(
        self, number: int, expected: type[MedprotectError]
    ) -> None:
        with pytest.raises(MedprotectError) as caught, mapped_errors():
            raise OSError(number, os.strerror(number), "/export/DOE^JOHN.dcm")
        assert type(caught.value) is expected
        assert "DOE" not in str(caught.value)
        assert re.search(r"; \w", str(caught.value)), "says what to do next"

    def test_an_error_without_a_number_is_a_storage_error(self) -> None:
        with pytest.raises(StorageError), mapped_errors():
            raise OSError("re-wrapped by a library")

    def test_other_exceptions_pass(self) -> None:
        with pytest.raises(ValueError, match="other"), mapped_errors():
            raise ValueError("other")
