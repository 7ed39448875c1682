"""Fixtures for all tests; real files come from what installed packages ship."""

import hashlib
import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Every test runs as if there were no network: nothing may need it, nothing may call home."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:
            raise OSError(f"a test reached for the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def pydicom_file() -> Callable[[str], Path]:
    """`pydicom_file("CT_small.dcm")` is the path of a test file inside pydicom's wheel."""
    import pydicom

    folder = Path(pydicom.__file__).parent / "data" / "test_files"

    def find(name: str) -> Path:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"pydicom does not ship {name}")
        return path

    return find


def hash_tree(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*"), key=os.fsencode):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        digest.update(os.fsencode(path.relative_to(root)) + b"\0")
        digest.update(f"{kind:o} {status.st_mode:o} ".encode())
        if kind == stat.S_IFREG:
            digest.update(f"{status.st_mtime_ns} ".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        elif kind == stat.S_IFLNK:
            digest.update(os.fsencode(path.readlink()))
    return digest.hexdigest()


@pytest.fixture
def tree_hash() -> Callable[[Path], str]:
    """`tree_hash(folder)`: names, kinds, modes, times and contents of all that lies in it."""
    return hash_tree


@pytest.fixture
def untouched() -> Iterator[Callable[[Path], Path]]:
    """`untouched(folder)` fails the test if anything in the folder differs at its end."""
    before: dict[Path, str] = {}

    def watch(folder: Path) -> Path:
        before[folder] = hash_tree(folder)
        return folder

    yield watch
    changed = [folder for folder, digest in before.items() if hash_tree(folder) != digest]
    assert not changed, f"the input was changed: {changed}"


@pytest.fixture
def export(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`export({"a/b.dcm": source})` is a folder with copies of files; untouched at the end.

    The values are paths to copy or bytes to write.
    """
    made: dict[Path, str] = {}

    def build(files: dict[str, Path | bytes], name: str = "export") -> Path:
        root = tmp_path / name
        root.mkdir()
        for relative, content in files.items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        made[root] = hash_tree(root)
        return root

    yield build
    changed = [root for root, digest in made.items() if hash_tree(root) != digest]
    assert not changed, f"the input was changed: {changed}"


@pytest.fixture
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of a user without privileges, and the test running as that user.

    Where the tests run as root they lay root down for the test, because root may read all.
    """
    folder = tmp_path_factory.mktemp("nobody")
    if os.geteuid() != 0:
        yield folder
        return
    # The way there stays open: another process of the tests may be on it.
    for path in folder.parents:
        if not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(0o711)
    os.chown(folder, 65534, 65534)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def mounted() -> Iterator[Callable[..., Path]]:
    """`mounted(folder, *arguments of mount)` mounts there until the test ends, or skips it."""
    folders: list[Path] = []

    def mount(folder: Path, *arguments: str) -> Path:
        folder.mkdir(exist_ok=True)
        try:
            subprocess.run(
                ["mount", *arguments, os.fspath(folder)], check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a file system takes root and a kernel that lets it")
        folders.append(folder)
        return folder

    yield mount
    for folder in reversed(folders):
        subprocess.run(["umount", "--lazy", os.fspath(folder)], check=True)
