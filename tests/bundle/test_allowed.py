"""The list of bundles whose programs may run."""

import os
import stat
from pathlib import Path

import pytest

from medprotect.bundle.allowed import allow, default_allow_list, read_allow_list
from medprotect.errors import ConfigError

ONE, TWO = "ab" * 32, "cd" * 32


def test_without_a_list_nothing_is_allowed(tmp_path: Path) -> None:
    assert read_allow_list(tmp_path / "list") == frozenset()


def test_what_was_allowed_is_on_the_list_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "list"
    for sha256 in (ONE, TWO, ONE):
        allow(path, sha256, "a name")
    assert read_allow_list(path) == {ONE, TWO}
    assert len(path.read_text().splitlines()) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_lies_beside_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path))
    assert default_allow_list() == tmp_path / "medprotect" / "allowed-bundles"


def test_comments_and_empty_lines_are_no_hashes(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(f"# mine\n\n{ONE}  of a colleague {TWO}\n")
    assert read_allow_list(path) == {ONE}


@pytest.mark.parametrize("line", [ONE[:-1], ONE.upper(), f"x{ONE}", f"{ONE}{TWO}"])
def test_a_line_that_is_no_hash_is_an_error(line: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{TWO}\n{line}\n")
    with pytest.raises(ConfigError, match="Line 2"):
        read_allow_list(tmp_path / "list")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_can_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "list"
    allow(path, ONE, "")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="can be written by others"):
        read_allow_list(path)
