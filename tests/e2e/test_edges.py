"""The whole program at its edges: hostile names, unsafe entries, places, full disks."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import DataElement, dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword

from ..waiting import HANG_SECONDS

Export = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]
Hash = Callable[[Path], str]

HOSTILE = [
    "../../../../tmp/evil",
    "/tmp/evil",  # noqa: S108
    "C:\\evil",
    "..\\..\\evil",
    "CON",
    "x" * 300,
    "a\u202egnp.exe",
    "\u0430\u0435\u043e",
    "%2e%2e%2fevil",
    "$(touch evil)",
    "-rf",
    ".",
    "..",
    "~/evil",
]


@pytest.fixture
def medprotect(tmp_path: Path) -> Run:
    """`medprotect("run", export, out)` in a process of its own, with a key of its own."""
    environment = os.environ | {"XDG_CONFIG_HOME": os.fspath(tmp_path / "config")}

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "medprotect", *map(os.fspath, arguments)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=HANG_SECONDS,
            **options,  # type: ignore[call-overload]
        )

    return run


def dicom(source: Path, number: int, text: str) -> bytes:
    """A real image whose identifiers and names are `text`."""
    dataset = dcmread(source)
    texts = dict.fromkeys(("PatientID", "PatientName", "SeriesDescription", "StudyID"), text)
    uids = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    uid = text.encode("ascii", "replace").decode() + f".{number}"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in (texts | dict.fromkeys(uids, uid)).items():
        tag = tag_for_keyword(keyword) or 0
        dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


class TestPaths:
    def test_no_header_value_leads_a_file_out_of_out(
        self,
        tmp_path: Path,
        medprotect: Run,
        export: Export,
        pydicom_file: Callable[[str], Path],
    ) -> None:
        source = pydicom_file("MR_small.dcm")
        names = [f"{i % 7}/{i:03}.dcm" for i in range(200)]
        files = {name: dicom(source, i, HOSTILE[i % len(HOSTILE)]) for i, name in enumerate(names)}
        root = export(files)
        evil = [Path("/tmp/evil"), Path("/tmp/evil.dcm")]  # noqa: S108
        assert not any(path.exists() for path in evil)
        done = medprotect("run", root, tmp_path / "out")
        assert done.returncode in (0, 4), done.stderr
        assert not any(path.exists() for path in evil)
        there = {path.name for path in tmp_path.iterdir()}
        assert there <= {"export", "out", "out.medprotect", "config"}
        made = {
            path.relative_to(tmp_path / "out").as_posix()
            for path in (tmp_path / "out").rglob("*")
            if path.is_file()
        }
        assert made <= set(names)

    def test_unsafe_entries_are_rejected_and_never_followed(
        self,
        tmp_path: Path,
        medprotect: Run,
        export: Export,
        pydicom_file: Callable[[str], Path],
    ) -> None:
        root = export({"a.dcm": pydicom_file("MR_small.dcm")})
        secret = tmp_path / "secret.dcm"
        secret.write_bytes(pydicom_file("CT_small.dcm").read_bytes())
        (root / "link.dcm").symlink_to(secret)
        (root / "loop").symlink_to(root)
        (root / "zero.dcm").symlink_to("/dev/zero")
        os.mkfifo(root / "pipe.dcm")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.fspath(root / "sock.dcm"))
        try:
            done = medprotect("run", root, tmp_path / "out")
            assert done.returncode == 4, done.stderr
            made = {path.name for path in (tmp_path / "out").rglob("*")}
            assert made <= {"a.dcm"}
            shown = done.stdout + done.stderr
            assert "unsafe_path" in shown or "unsafe" in shown
            assert "secret" not in shown
            assert "Traceback" not in shown
        finally:
            for name in ("link.dcm", "loop", "zero.dcm", "pipe.dcm", "sock.dcm"):
                (root / name).unlink()

    @pytest.mark.parametrize("out", ["export", "export/out", ".", "linked", "linked/out"])
    def test_a_place_in_the_export_ends_with_exit_code_5_before_anything_is_written(
        self,
        tmp_path: Path,
        medprotect: Run,
        export: Export,
        tree_hash: Hash,
        pydicom_file: Callable[[str], Path],
        out: str,
    ) -> None:
        root = export({"a.dcm": pydicom_file("MR_small.dcm")})
        (tmp_path / "linked").symlink_to("export")
        before = tree_hash(tmp_path)
        done = medprotect("run", root, tmp_path / out)
        assert done.returncode == 5, done.stderr
        assert "Traceback" not in done.stderr
        assert tree_hash(tmp_path) == before


class TestState:
    def test_state_is_for_the_owner_alone_and_nothing_of_it_is_in_out(
        self,
        tmp_path: Path,
        medprotect: Run,
        export: Export,
        pydicom_file: Callable[[str], Path],
    ) -> None:
        root = export({"a.dcm": pydicom_file("MR_small.dcm"), "b.txt": b"text"})
        before = os.umask(0o022)
        try:
            done = medprotect("run", root, tmp_path / "out")
        finally:
            os.umask(before)
        assert done.returncode in (0, 4), done.stderr
        state = tmp_path / "out.medprotect"
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        for path in (*state.rglob("*"), *(tmp_path / "config").rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        made = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert [path.name for path in made] in ([], ["a.dcm"])
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in made)


class TestFullDisk:
    def test_it_ends_with_exit_code_6_leaves_whole_files_and_goes_on_when_there_is_room(
        self,
        tmp_path: Path,
        medprotect: Run,
        export: Export,
        tree_hash: Hash,
        mounted: Callable[..., Path],
        pydicom_file: Callable[[str], Path],
    ) -> None:
        source = pydicom_file("examples_overlay.dcm")  # 320 kB
        root = export({f"{i:03}.dcm": dicom(source, i, "1.2.3") for i in range(60)})
        done = medprotect("run", root, tmp_path / "whole", "--accept-weak")
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "whole").iterdir())) == 60
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=24m", "tmpfs")
        done = medprotect("run", root, disk / "out")
        assert done.returncode == 6, done.stderr
        assert "Traceback" not in done.stderr
        for path in (disk / "out").rglob("*.dcm"):
            name = path.relative_to(disk / "out")
            assert path.read_bytes() == (tmp_path / "whole" / name).read_bytes()
        subprocess.run(["mount", "-o", "remount,size=100m", os.fspath(disk)], check=True)
        done = medprotect("run", root, disk / "out", "--accept-weak")
        assert done.returncode == 0, done.stderr
        expected = {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}
        assert {p.name: p.read_bytes() for p in (disk / "out").iterdir()} == expected
