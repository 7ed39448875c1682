import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medprotect.errors import (
    ConfigError,
    InputChangedError,
    InputError,
    MedprotectError,
    OutputError,
    UnsafePathError,
)
from medprotect.scan.walk import (
    Found,
    Unsafe,
    check_trees,
    collisions,
    ignores_case,
    join_under,
    open_found,
    walk,
)

from ..waiting import HANG_SECONDS

Export = Callable[..., Path]
Deep = Callable[[str, int], Path]


def paths(root: Path) -> list[str]:
    return [found.path for found in walk(root)]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Deep]:
    """`deep(name, depth)` is a folder with a file below `depth` folders of one name."""

    def make(name: str, depth: int) -> Path:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=descriptor)
            inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)
        return tmp_path

    yield make
    subprocess.run(["rm", "-rf", os.fspath(tmp_path)], check=True)  # too deep for Python's rmtree


class TestWalk:
    def test_every_file_is_found_once_with_its_size_time_and_identity(self, export: Export) -> None:
        root = export({"a.dcm": b"12345", "s/1.dcm": b"1", "s/t/2.dcm": b"22"})
        found = list(walk(root))
        assert [f.path for f in found] == ["a.dcm", "s/1.dcm", "s/t/2.dcm"]
        for entry in found:
            status = (root / entry.path).stat()
            assert (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)
            assert (entry.inode, entry.device) == (status.st_ino, status.st_dev)
            assert entry.unsafe is None

    def test_order_is_the_byte_order_of_whole_paths_not_of_names(self, export: Export) -> None:
        names = ["a/z", "a.txt", "a0", "a-b/c", "B", "b", "é", "z", "a/b/c", "\uff41"]
        root = export(dict.fromkeys(names, b""))
        assert paths(root) == sorted(names, key=os.fsencode)

    def test_two_walks_agree(self, export: Export) -> None:
        root = export({f"{i % 7}/{i % 3}/{i}": b"x" for i in range(200)})
        assert list(walk(root)) == list(walk(root))

    def test_an_empty_export_has_no_entries(self, tmp_path: Path) -> None:
        assert paths(tmp_path) == []

    def test_empty_folders_are_no_entries(self, tmp_path: Path) -> None:
        (tmp_path / "empty" / "emptier").mkdir(parents=True)
        assert paths(tmp_path) == []

    def test_hidden_files_are_found(self, export: Export) -> None:
        assert paths(export({".hidden": b"", ".d/x": b""})) == [".d/x", ".hidden"]

    def test_links_are_entries_and_never_followed(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        root = tmp_path / "export"
        root.mkdir()
        (root / "file").symlink_to(outside / "secret")
        (root / "folder").symlink_to(outside)
        (root / "loop").symlink_to(root)
        (root / "self").symlink_to("self")
        (root / "zero").symlink_to("/dev/zero")
        (root / "gone").symlink_to("nowhere")
        found = list(walk(root))
        assert [f.path for f in found] == ["file", "folder", "gone", "loop", "self", "zero"]
        assert {f.unsafe for f in found} == {Unsafe.SYMLINK}

    def test_pipes_and_sockets_are_entries_and_never_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fspath(tmp_path / "sock"))
        assert [(f.path, f.unsafe) for f in walk(tmp_path)] == [
            ("pipe", Unsafe.FIFO),
            ("sock", Unsafe.SOCKET),
        ]

    def test_devices_are_entries(self, tmp_path: Path) -> None:
        try:
            os.mknod(tmp_path / "null", 0o020600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root can make device files")
        assert [f.unsafe for f in walk(tmp_path)] == [Unsafe.DEVICE]

    def test_a_folder_that_may_not_be_read_is_an_entry(self, nobody: Path) -> None:
        (nobody / "closed").mkdir(mode=0)
        (nobody / "open").mkdir()
        (nobody / "open" / "a").write_bytes(b"")
        (nobody / "open" / "b").touch(mode=0)
        try:
            assert [(f.path, f.unsafe) for f in walk(nobody)] == [
                ("closed", Unsafe.UNREADABLE_FOLDER),
                ("open/a", None),
                ("open/b", Unsafe.UNREADABLE_FILE),
            ]
        finally:
            (nobody / "closed").chmod(0o700)

    def test_a_folder_whose_files_may_not_be_looked_at_lists_each(self, nobody: Path) -> None:
        (nobody / "list").mkdir()
        (nobody / "list" / "a").write_bytes(b"a")
        (nobody / "list").chmod(0o400)  # names can be read, nothing else
        try:
            assert [(f.path, f.unsafe) for f in walk(nobody)] == [
                ("list/a", Unsafe.UNREADABLE_FILE)
            ]
        finally:
            (nobody / "list").chmod(0o700)

    def test_a_missing_root_is_an_entry_not_silence(self, tmp_path: Path) -> None:
        assert list(walk(tmp_path / "gone")) == [Found(".", unsafe=Unsafe.UNREADABLE_FOLDER)]

    def test_names_that_are_not_utf8_are_entries_with_unique_printable_paths(
        self, tmp_path: Path
    ) -> None:
        for name in (b"\xff", b"\\xff", b"\xff\\xff", b"\xff\xff", b"\xffd/inner"):
            path = tmp_path / os.fsdecode(name)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        found = list(walk(tmp_path))
        unsafe = [f for f in found if f.unsafe is Unsafe.NAME]
        assert [f.path for f in found if f.unsafe is None] == ["\\xff"]
        assert len(unsafe) == 4
        assert len({f.path for f in found}) == 5
        for entry in unsafe:
            assert entry.path.startswith("./")
            entry.path.encode("utf-8")

    def test_trees_deeper_than_the_recursion_limit_are_walked(self, deep: Deep) -> None:
        root = deep("d", 1200)
        assert paths(root) == ["d/" * 1200 + "f"]

    def test_trees_longer_than_a_path_may_be_end_in_an_entry(self, deep: Deep) -> None:
        root = deep("d" * 200, 30)
        assert [found.unsafe for found in walk(root)] == [Unsafe.UNREADABLE_FOLDER]

    def test_it_streams(self, export: Export) -> None:
        root = export({f"{i:02}/x": b"" for i in range(20)})
        walking = walk(root)
        assert next(walking).path == "00/x"
        with pytest.raises(OSError, match="not empty"):
            (root / "19").rmdir()  # nothing is held locked, nothing consumed yet
        assert len(list(walking)) == 19


class TestOpenFound:
    def test_a_found_file_opens_and_reads(self, export: Export) -> None:
        root = export({"a/b": b"pixels"})
        (found,) = walk(root)
        with open_found(root, found) as stream:
            assert stream.read() == b"pixels"
            assert stream.mode == "rb"

    @pytest.mark.parametrize("unsafe", list(Unsafe))
    def test_an_unsafe_entry_is_never_opened(self, tmp_path: Path, unsafe: Unsafe) -> None:
        with pytest.raises(UnsafePathError, match="not a plain file"):
            open_found(tmp_path, Found("x", unsafe=unsafe))

    def test_a_changed_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "a").write_bytes(b"12")
        with pytest.raises(InputChangedError):
            open_found(tmp_path, found)

    def test_another_time_is_a_change(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        os.utime(tmp_path / "a", ns=(1, found.mtime_ns + 1))
        with pytest.raises(InputChangedError):
            open_found(tmp_path, found)

    def test_another_file_of_the_same_size_and_time_is_a_change(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "b").write_bytes(b"2")
        os.utime(tmp_path / "b", ns=(1, found.mtime_ns))
        (tmp_path / "b").replace(tmp_path / "a")
        with pytest.raises(InputChangedError):
            open_found(tmp_path, found)

    def test_a_removed_file_is_a_change(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "a").unlink()
        with pytest.raises(InputChangedError):
            open_found(tmp_path, found)

    def test_a_link_put_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "a").symlink_to("b")
        with pytest.raises(UnsafePathError):
            open_found(tmp_path, found)

    def test_a_folder_swapped_for_a_link_is_a_change(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "d").rename(tmp_path / "e")
        other = tmp_path / "other"
        other.mkdir()
        (other / "a").write_bytes(b"2")
        (tmp_path / "d").symlink_to(other)
        with pytest.raises(InputChangedError):
            open_found(tmp_path, found)

    def test_a_pipe_put_in_its_place_does_not_block(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "a").unlink()
        os.mkfifo(tmp_path / "a")
        ended = []

        def open_it() -> None:
            with pytest.raises(InputChangedError):
                open_found(tmp_path, found)
            ended.append(True)

        thread = threading.Thread(target=open_it, daemon=True)
        thread.start()
        thread.join(timeout=HANG_SECONDS)
        assert ended

    def test_messages_hold_no_path(self, tmp_path: Path) -> None:
        (tmp_path / "DOE^JOHN").write_bytes(b"1")
        (found,) = walk(tmp_path)
        (tmp_path / "DOE^JOHN").unlink()
        with pytest.raises(InputChangedError) as caught:
            open_found(tmp_path, found)
        assert "DOE" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_file_without_permission_is_refused(self, nobody: Path) -> None:
        (nobody / "a").write_bytes(b"1")
        (found,) = walk(nobody)
        (nobody / "a").chmod(0)
        with pytest.raises(UnsafePathError, match=os.strerror(errno.EACCES)):
            open_found(nobody, found)


class TestJoinUnder:
    @pytest.mark.parametrize(
        "relative", ["a", "a/b.dcm", "é/漢字.nii.gz", "...", ".a", "a ", "a\\b"]
    )
    def test_plain_paths_are_joined(self, tmp_path: Path, relative: str) -> None:
        assert join_under(tmp_path, relative) == tmp_path / relative

    @pytest.mark.parametrize(
        "relative",
        [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "a/../../b",
            ".",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "a\0b",
            "\udcff",
            "a/" + "x" * 256,
            "é" * 128,
            ".medprotect-0123456789abcdef.part",
            ".medprotect-0123456789abcdef.part/a",
        ],
    )
    def test_escapes_and_names_that_cannot_be_are_refused(
        self, tmp_path: Path, relative: str
    ) -> None:
        with pytest.raises(UnsafePathError) as caught:
            join_under(tmp_path, relative)
        assert "passwd" not in str(caught.value)

    def test_a_link_in_out_is_not_written_through(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a").symlink_to(tmp_path)
        with pytest.raises(UnsafePathError, match="link"):
            join_under(tmp_path / "out", "a/b")

    @given(st.text(max_size=40))
    def test_no_text_leads_out_of_the_root(self, relative: str) -> None:
        root = Path("/nowhere/out")
        try:
            path = join_under(root, relative)
        except UnsafePathError:
            return
        assert Path(os.path.normpath(path)).is_relative_to(root)
        assert os.path.normpath(path) == os.fspath(path)

    @given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "/", "\\"]), max_size=6))
    def test_no_mix_of_dots_leads_out_of_the_root(self, parts: list[str]) -> None:
        root = Path("/nowhere/out")
        try:
            path = join_under(root, "/".join(parts))
        except UnsafePathError:
            return
        assert Path(os.path.normpath(path)).is_relative_to(root)
        assert path != root


class TestCollisions:
    def test_distinct_paths_do_not_collide(self) -> None:
        assert collisions(["a", "b", "a/c".replace("a", "d"), "ab"]) == []

    def test_names_that_differ_in_case_collide(self) -> None:
        assert collisions(["x/IMG1", "x/img1", "y/img1"]) == [("x/IMG1", "x/img1")]

    def test_names_that_differ_in_composition_collide(self) -> None:
        assert collisions(["caf\u00e9", "cafe\u0301"]) == [("cafe\u0301", "caf\u00e9")]

    def test_sharp_s_collides_with_double_s(self) -> None:
        assert len(collisions(["Stra\u00dfe", "STRASSE"])) == 1

    def test_folders_that_differ_in_case_only_meet_without_loss(self) -> None:
        assert collisions(["A/x", "a/y"]) == []

    def test_files_of_folders_that_differ_in_case_collide(self) -> None:
        assert collisions(["A/x", "a/X"]) == [("A/x", "a/X")]

    def test_a_file_and_a_folder_of_one_name_collide(self) -> None:
        assert collisions(["a", "A/b", "A/c/d"]) == [("A/b", "A/c/d", "a")]

    def test_a_path_that_comes_twice_collides_with_itself(self) -> None:
        assert collisions(["a.jpg.png", "a.jpg.png"]) == [("a.jpg.png", "a.jpg.png")]

    def test_the_order_of_the_paths_does_not_matter(self) -> None:
        names = ["b", "B", "a/1", "A/1", "c", "C/1"]
        assert collisions(names) == collisions(reversed(names))


class TestCheckTrees:
    @pytest.fixture
    def trees(self, tmp_path: Path) -> Path:
        (tmp_path / "export" / "sub").mkdir(parents=True)
        (tmp_path / "export" / "a").write_bytes(b"1")
        (tmp_path / "done").mkdir()
        (tmp_path / "linked").symlink_to("export")
        (tmp_path / "inside").symlink_to("export/sub")
        (tmp_path / "above").symlink_to(".")
        (tmp_path / "broken").symlink_to("nowhere")
        (tmp_path / "file").write_bytes(b"")
        return tmp_path

    @pytest.mark.parametrize(
        ("out", "state"),
        [
            ("out", "out.medprotect"),
            ("done", "done.medprotect"),
            ("new/deep/out", "new/deep/out.medprotect"),
            ("export2", "export2.medprotect"),
            ("export/../out", "out.medprotect"),
        ],
    )
    def test_places_beside_each_other_are_fine(
        self, trees: Path, untouched: Callable[[Path], Path], out: str, state: str
    ) -> None:
        untouched(trees)
        check_trees(trees / "export", trees / out, trees / state)

    @pytest.mark.parametrize(
        ("out", "state"),
        [
            ("export", "state"),
            ("export/", "state"),
            ("export/out", "state"),
            ("export/sub", "state"),
            ("export/new/out", "state"),
            (".", "state"),
            ("", "state"),
            ("..", "state"),
            ("linked", "state"),
            ("linked/out", "state"),
            ("inside", "state"),
            ("inside/out", "state"),
            ("above", "state"),
            ("above/export", "state"),
            ("done/../export", "state"),
            ("out", "out"),
            ("out", "out/state"),
            ("state/out", "state"),
            ("out", "export"),
            ("out", "export/state"),
            ("out", "linked/state"),
            ("out", "."),
            ("done", "above/done/x"),
            ("broken", "state"),
            ("out", "broken"),
            ("file", "state"),
            ("file/out", "state"),
            ("out", "file"),
        ],
    )
    def test_places_in_each_other_are_refused_before_anything_is_written(
        self, trees: Path, untouched: Callable[[Path], Path], out: str, state: str
    ) -> None:
        untouched(trees)
        with pytest.raises(OutputError) as caught:
            check_trees(trees / "export", trees / out, trees / state)
        assert caught.value.exit_code == 5
        assert os.fspath(trees) not in str(caught.value)

    def test_the_export_may_be_given_by_a_link_but_not_outwitted_by_it(self, trees: Path) -> None:
        check_trees(trees / "linked", trees / "out", trees / "state")
        with pytest.raises(OutputError):
            check_trees(trees / "linked", trees / "export" / "out", trees / "state")

    def test_relative_paths_are_understood(
        self, trees: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(trees / "export")
        check_trees(Path(), Path("../out"), Path("../out.medprotect"))
        with pytest.raises(OutputError):
            check_trees(Path(), Path("out"), Path("../state"))

    @pytest.mark.parametrize("export", ["gone", "file", "broken"])
    def test_an_export_that_is_no_folder_is_an_input_error(self, trees: Path, export: str) -> None:
        with pytest.raises(InputError) as caught:
            check_trees(trees / export, trees / "out", trees / "state")
        assert caught.value.exit_code == 3

    def test_a_path_with_nul_is_a_configuration_error(self, trees: Path) -> None:
        with pytest.raises(ConfigError):
            check_trees(trees / "export", trees / "o\0ut", trees / "state")

    def test_an_export_that_may_not_be_read_is_an_input_error(self, nobody: Path) -> None:
        (nobody / "export").mkdir(mode=0o300)
        with pytest.raises(InputError, match="read"):
            check_trees(nobody / "export", nobody / "out", nobody / "state")

    @pytest.mark.parametrize(("out", "state"), [("closed/out", "state"), ("out", "closed/state")])
    def test_a_place_that_may_not_be_written_is_refused(
        self, nobody: Path, out: str, state: str
    ) -> None:
        (nobody / "export").mkdir()
        (nobody / "closed").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="cannot be written"):
            check_trees(nobody / "export", nobody / out, nobody / state)

    def test_a_bind_mount_of_the_export_is_the_export(
        self, trees: Path, mounted: Callable[..., Path]
    ) -> None:
        other = mounted(trees / "elsewhere", "--bind", os.fspath(trees / "export"))
        for out in (other, other / "out"):
            with pytest.raises(MedprotectError):
                check_trees(trees / "export", out, trees / "state")


class TestCase:
    """Names that differ in case are one folder where the file system says so, and only there."""

    PLACES = (("A", "state"), ("A/out", "state"), ("Out", "oUT"), ("new/out", "NEW/Out/state"))

    @pytest.fixture
    def ignoring(self, tmp_path: Path, mounted: Callable[..., Path]) -> Path:
        """A file system that ignores case."""
        disk = tmp_path / "disk"
        disk.touch()
        os.truncate(disk, 64 * 1024**2)
        for make, mount in (
            (["mkfs.vfat"], ["-o", "loop"]),
            (["mkntfs", "-F", "-Q"], ["-t", "lowntfs-3g", "-o", "loop,ignore_case"]),
        ):
            try:
                subprocess.run([*make, os.fspath(disk)], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            return mounted(tmp_path / "mnt", *mount, os.fspath(disk))
        pytest.skip("there is neither mkfs.vfat nor mkntfs to make a disk that ignores case")

    @pytest.mark.parametrize(("out", "state"), PLACES)
    def test_here_they_are_as_this_file_system_says(
        self, tmp_path: Path, out: str, state: str
    ) -> None:
        (tmp_path / "a").mkdir()
        if (tmp_path / "A").exists():
            with pytest.raises(OutputError, match="same folder"):
                check_trees(tmp_path / "a", tmp_path / out, tmp_path / state)
        else:
            check_trees(tmp_path / "a", tmp_path / out, tmp_path / state)

    @pytest.mark.parametrize(("out", "state"), PLACES)
    def test_where_case_is_ignored_they_are_one(self, ignoring: Path, out: str, state: str) -> None:
        (ignoring / "a").mkdir()
        with pytest.raises(OutputError, match="same folder"):
            check_trees(ignoring / "a", ignoring / out, ignoring / state)
        assert ignores_case(ignoring)

    def test_where_both_are_there_they_are_two(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "A").mkdir(exist_ok=True)
        if len(list(tmp_path.iterdir())) == 2:
            check_trees(tmp_path / "a", tmp_path / "A", tmp_path / "state")

    def test_the_file_system_is_asked_not_guessed(self, tmp_path: Path) -> None:
        (tmp_path / "lower").mkdir()
        says = (tmp_path / "LOWER").exists()
        assert ignores_case(tmp_path) is says
        assert ignores_case(tmp_path / "lower" / "absent") is says

    def test_a_place_that_is_named_from_here_is_asked_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "lower").mkdir()
        monkeypatch.chdir(tmp_path / "lower")
        assert ignores_case(Path("absent")) is (tmp_path / "LOWER").exists()

    def test_a_disk_is_not_taken_for_the_one_that_it_is_mounted_in(
        self, tmp_path: Path, mounted: Callable[..., Path]
    ) -> None:
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "none")
        assert ignores_case(disk) is None
        with pytest.raises(OutputError):  # nothing there to ask: better refused than written into
            check_trees(None, disk / "out", disk / "OUT")
        (disk / "a").touch()
        check_trees(None, disk / "out", disk / "OUT")
