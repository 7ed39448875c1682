"""The guards that other tests lean on must be able to fail."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

Hash = Callable[[Path], str]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a").write_bytes(b"2"),
        lambda root: (root / "a").chmod(0o600),
        lambda root: os.utime(root / "a", ns=(0, 0)),
        lambda root: (root / "a").rename(root / "b"),
        lambda root: (root / "new").touch(),
        lambda root: (root / "new").mkdir(),
        lambda root: (root / "a").unlink(),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("b")),
    ],
)
def test_a_tree_hash_tells_every_change(
    tmp_path: Path, tree_hash: Hash, change: Callable[[Path], object]
) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(0o644)
    (tmp_path / "link").symlink_to("a")
    before = tree_hash(tmp_path)
    assert tree_hash(tmp_path) == before
    change(tmp_path)
    assert tree_hash(tmp_path) != before


def test_the_network_is_closed() -> None:
    with socket.socket() as client, pytest.raises(OSError, match="reached for the network"):
        client.connect(("127.0.0.1", 9))


def test_a_missing_shipped_file_is_named(pydicom_file: Callable[[str], Path]) -> None:
    assert pydicom_file("CT_small.dcm").is_file()
    with pytest.raises(FileNotFoundError, match=r"nothing\.dcm"):
        pydicom_file("nothing.dcm")


def test_nobody_may_not_write_where_it_is_not_allowed(nobody: Path) -> None:
    (nobody / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        (nobody / "closed" / "a").touch()
