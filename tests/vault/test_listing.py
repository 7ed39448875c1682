"""The list of a vault: what reads is what was written, and nothing leads elsewhere."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from medprotect.errors import VaultError
from medprotect.vault.listing import Kept, Listing, check_paths, read_listing, write_listing

FILE = Kept(1, "a/é.dcm", 5, 12, "0" * 64, "a/é.dcm", 6, "1" * 64)
LISTING = Listing((FILE, Kept(3, "b", 0, -1, "2" * 64)), {"symlink": 2})


def written(listing: Listing = LISTING, **changes: Any) -> dict[str, Any]:
    """The document in a list, with a first file that says other things."""
    document: dict[str, Any] = json.loads(zlib.decompress(b"".join(write_listing(listing))))
    document["files"][0] |= changes
    return document


def read(document: object) -> Listing:
    return read_listing([zlib.compress(json.dumps(document).encode())])


def test_it_reads_as_it_was_written() -> None:
    assert read_listing(write_listing(LISTING)) == LISTING
    assert read_listing(bytes([each]) for each in b"".join(write_listing(LISTING))) == LISTING


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": 1.0},
        {"size": True},
        {"size": None},
        {"path": 5},
        {"mtime_ns": 2**63},
        {"out_size": -1},
        {"out": None},
        {"strange": 1},
    ],
)
def test_values_that_are_none_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(VaultError, match="cannot be read"):
        read(written(**changes))


@pytest.mark.parametrize(
    "document", [[], {}, {"format": 2, "files": [], "not_kept": {}}, "x", None, {"format": 1}]
)
def test_documents_that_are_no_list_are_refused(document: object) -> None:
    with pytest.raises(VaultError):
        read(document)


@pytest.mark.parametrize("cut", [1, 5, -1])
def test_a_list_cut_short_or_with_more_behind_is_refused(cut: int) -> None:
    data = b"".join(write_listing(LISTING))
    with pytest.raises(VaultError):
        read_listing([data[:cut]])
    with pytest.raises(VaultError):
        read_listing([data, b"more"])


def test_a_list_that_unfolds_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medprotect.vault.listing.VAULT_LIST_BYTES", 10_000)
    with pytest.raises(VaultError):
        read_listing([zlib.compress(bytes(10_000_000))])


HOSTILE = ["../a", "/a", "a/../b", "", ".", "a//b", "a\0b", "a/", "x" * 256, "\ud800"]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("name", ["path", "out"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, path: str) -> None:
    if (name, path) == ("out", ""):
        return  # of a file that needs none
    listing = read(written(**{name: path}))
    with pytest.raises(VaultError, match="leads out of BACK"):
        check_paths(listing, tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("path", ["b", "b/c"])
def test_two_paths_that_meet_are_refused(tmp_path: Path, path: str) -> None:
    listing = read(written(path=path))
    with pytest.raises(VaultError, match="the same path"):
        check_paths(listing, tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("number", [0, -1, 3, 4])
def test_streams_out_of_order_are_refused(tmp_path: Path, number: int) -> None:
    listing = read(written(number=number))
    with pytest.raises(VaultError, match="the same path"):
        check_paths(listing, tmp_path / "out", tmp_path / "back")


def test_a_path_of_out_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path)
    with pytest.raises(VaultError, match="leads out of BACK"):
        check_paths(LISTING, tmp_path / "out", tmp_path / "back")
