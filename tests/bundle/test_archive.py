"""Bundles from outside: read whole or refused, and no path of theirs leads anywhere else."""

import hashlib
import os
import stat
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from medprotect.bundle import archive
from medprotect.bundle.archive import SUMS, Contents, pack, read_bundle
from medprotect.errors import HashMismatchError, MedprotectError, PipelineError

FILES = {"card.toml": b"format = 1\n", "configs/metadata.json": b"{}", "models/a b.pt": b"\0" * 99}


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as written:
        for name, data in entries:
            written.writestr(name, data)
    return path


class TestPack:
    def test_the_same_files_give_the_same_bytes_in_any_order(self) -> None:
        backwards = dict(reversed(FILES.items()))
        assert pack(FILES, "grey") == pack(backwards, "grey")
        assert pack(FILES, "grey") != pack({**FILES, "card.toml": b"format = 2\n"}, "grey")

    def test_nothing_in_it_says_when_or_where_it_was_made(self) -> None:
        with zipfile.ZipFile(BytesIO(pack(FILES, "grey"))) as written:
            for entry in written.infolist():
                assert entry.date_time == (1980, 1, 1, 0, 0, 0)
                assert entry.create_system == 3
                assert entry.external_attr >> 16 == stat.S_IFREG | 0o644
                assert entry.compress_type == zipfile.ZIP_STORED

    def test_it_reads_as_it_was_written(self, tmp_path: Path) -> None:
        path = tmp_path / "a.zip"
        path.write_bytes(pack(FILES, "grey"))
        assert read_bundle(path).files == FILES


class TestIdentity:
    def test_folder_and_zip_of_the_same_files_are_the_same_bundle(self, tmp_path: Path) -> None:
        contents = Contents(FILES)
        contents.write(tmp_path / "folder")
        (tmp_path / "a.zip").write_bytes(pack(FILES, "any name"))
        zipped(tmp_path / "b.zip", *FILES.items())
        found = {read_bundle(tmp_path / name).sha256 for name in ("folder", "a.zip", "b.zip")}
        assert found == {contents.sha256}

    @pytest.mark.parametrize("name", FILES)
    def test_any_other_byte_or_file_is_another_bundle(self, name: str) -> None:
        before = Contents(FILES).sha256
        assert Contents({**FILES, name: FILES[name] + b" "}).sha256 != before
        assert Contents({**FILES, f"{name}2": b""}).sha256 != before
        assert Contents({each: FILES[each] for each in FILES if each != name}).sha256 != before

    def test_sha256sum_finds_the_same_hashes(self, exported: Contents, tmp_path: Path) -> None:
        exported.write(tmp_path / "folder")
        check = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
        done = subprocess.run(check, cwd=tmp_path / "folder", capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        sums = (tmp_path / "folder" / SUMS).read_bytes()
        assert hashlib.sha256(sums).hexdigest() == exported.sha256

    def test_a_bundle_that_is_not_as_its_sums_say_is_refused(
        self, exported: Contents, tmp_path: Path
    ) -> None:
        exported.write(tmp_path / "folder")
        assert read_bundle(tmp_path / "folder").sha256 == exported.sha256
        (tmp_path / "folder" / "configs" / "more.json").write_text("{}")
        with pytest.raises(HashMismatchError, match="SHA256SUMS"):
            read_bundle(tmp_path / "folder")


class TestPaths:
    @pytest.mark.parametrize(
        "name",
        [
            "../evil",
            "a/../../evil",
            "/etc/evil",
            "a//b",
            "./a",
            "..",
            "a\\..\\b",
            "C:evil",
            "a\nb",
            "caf\u00e9",
            "a" * 300,
        ],
    )
    def test_a_path_that_could_lead_elsewhere_is_refused(self, name: str, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", ("card.toml", b""), (name, b"evil"))
        with pytest.raises(PipelineError, match="lead out of its folder"):
            read_bundle(path)
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
    def test_a_link_or_a_device_in_a_zip_is_refused(self, kind: int, tmp_path: Path) -> None:
        entry = zipfile.ZipInfo("models/link")
        entry.create_system = 3
        entry.external_attr = (kind | 0o777) << 16
        path = zipped(tmp_path / "a.zip", ("card.toml", b""), (entry, b"/etc/passwd"))
        with pytest.raises(PipelineError, match="link or a device"):
            read_bundle(path)

    def test_a_link_in_a_folder_is_refused(self, tmp_path: Path) -> None:
        Contents(FILES).write(tmp_path / "folder")
        (tmp_path / "folder" / "link").symlink_to("/etc/passwd")
        with pytest.raises(PipelineError, match="link or a device"):
            read_bundle(tmp_path / "folder")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize("other", ["card.toml", "CARD.toml"])
    def test_two_files_of_one_name_are_refused(self, other: str, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", ("card.toml", b"1"), (other, b"2"))
        with pytest.raises(PipelineError, match="two files of one name"):
            read_bundle(path)

    def test_what_is_written_is_its_users_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            Contents(FILES).write(tmp_path / "folder", ["card.toml", "models/a b.pt"])
        finally:
            os.umask(before)
        there = {path.relative_to(tmp_path / "folder"): path for path in tmp_path.rglob("*.*")}
        assert set(map(str, there)) == {"card.toml", "models/a b.pt"}
        modes = {stat.S_IMODE(path.stat().st_mode) & 0o77 for path in tmp_path.rglob("*")}
        assert modes == {0}


class TestSizes:
    def test_a_bomb_is_refused_before_it_is_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archive, "LARGEST_BYTES", 1_000_000)
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as written:
            for number in range(3):
                written.writestr(f"{number}", b"\0" * 600_000)
        with pytest.raises(PipelineError, match="larger"):
            read_bundle(tmp_path / "a.zip")

    def test_too_many_files_are_refused(self, tmp_path: Path) -> None:
        for count, slug in ((archive.MOST_FILES + 1, "larger"), (archive.MOST_FILES, "")):
            path = zipped(tmp_path / f"{count}.zip", *((f"{n}", b"") for n in range(count)))
            if slug:
                with pytest.raises(PipelineError, match=slug):
                    read_bundle(path)
            else:
                assert len(read_bundle(path).files) == count

    @pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 60])
    def test_what_is_no_bundle_is_an_error_of_ours(self, data: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(PipelineError, match="nor a readable zip"):
            read_bundle(tmp_path / "a.zip")
        with pytest.raises(PipelineError, match="nor a readable zip"):
            read_bundle(tmp_path / "missing")

    def test_a_zip_cut_or_damaged_anywhere_is_the_same_or_refused(self, tmp_path: Path) -> None:
        whole = pack({**FILES, SUMS: Contents(FILES).sums.encode()}, "grey")
        expected = Contents(FILES).sha256
        path = tmp_path / "a.zip"
        refused = 0
        for at in range(0, len(whole), 3):
            flipped = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
            for data in (whole[:at], flipped):
                path.write_bytes(data)
                try:
                    assert read_bundle(path).sha256 == expected
                except MedprotectError:
                    refused += 1
        assert refused > len(whole) // 3
