import stat
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.errors import StateMismatchError
from medprotect.plan.plan import Action, Row
from medprotect.protect.journal import NAME, Entry, Journal, Outcome
from medprotect.scan.walk import Found, Unsafe


def entry(path: str, outcome: Outcome = Outcome.PLANNED) -> Entry:
    found = Found(path, size=3, mtime_ns=4, inode=5, device=6)
    row = Row(found, Action.PROTECT, kind="dicom CT", out=path, series="s", warnings=("a", "b"))
    return Entry(row, outcome)


class TestJournal:
    def test_lines_are_read_back_as_they_were_in_their_order(self, tmp_path: Path) -> None:
        entries = [entry("b"), entry("a", Outcome.HELD), entry("näme/\u202ex")]
        entries.append(
            Entry(Row(Found("link", unsafe=Unsafe.SYMLINK), Action.REJECT), Outcome.REJECTED)
        )
        with Journal(tmp_path) as journal:
            journal.replace_all(entries)
        with Journal(tmp_path) as journal:
            assert list(journal.entries()) == entries

    def test_a_recorded_line_replaces_the_one_of_its_path(self, tmp_path: Path) -> None:
        done = replace(
            entry("a", Outcome.PROTECTED),
            sha256_in="1",
            sha256_out="2",
            size_out=7,
            images=2,
            share=0.5,
            notes=("icon_image_removed",),
        )
        with Journal(tmp_path) as journal:
            journal.replace_all([entry("a"), entry("b")])
            journal.record([done])
        with Journal(tmp_path) as journal:
            assert list(journal.entries()) == [done, entry("b")]

    def test_facts_are_kept(self, tmp_path: Path) -> None:
        with Journal(tmp_path) as journal:
            assert journal.about("identity") == {}
            journal.state_about("identity", {"strength": "low", "pipelines": {"a": "b"}})
        with Journal(tmp_path) as journal:
            assert journal.about("identity") == {"strength": "low", "pipelines": {"a": "b"}}

    def test_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        with Journal(tmp_path) as journal:
            journal.replace_all([entry("a")])
            assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600

    def test_a_damaged_one_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_bytes(b"not a database, but long enough to look at" * 30)
        with pytest.raises(StateMismatchError, match="damaged"):
            Journal(tmp_path)
