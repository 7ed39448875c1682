import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.confounder.measured import Measured
from medprotect.errors import OutputError, StateMismatchError, StorageError
from medprotect.plan.plan import Action, Row
from medprotect.protect.journal import FORMAT, NAME, Entry, Journal, Outcome
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

    @pytest.mark.parametrize(
        "measured", [None, Measured(0.26), Measured(0.26, 0.1, 0.05, "jpeg-10")]
    )
    def test_what_was_measured_is_read_back(
        self, measured: Measured | None, tmp_path: Path
    ) -> None:
        line = entry("a")
        line = replace(line, row=replace(line.row, measured=measured))
        with Journal(tmp_path) as journal:
            journal.replace_all([line])
        with Journal(tmp_path) as journal:
            assert list(journal.entries()) == [line]

    @pytest.mark.parametrize(
        ("protection", "measured"), [(0.26, Measured(0.26)), (0.0, Measured(0.0)), (None, None)]
    )
    def test_a_line_of_before_says_the_protection_alone(
        self, protection: float | None, measured: Measured | None, tmp_path: Path
    ) -> None:
        with Journal(tmp_path) as journal:
            journal.replace_all([entry("a")])
        connection = sqlite3.connect(tmp_path / NAME)
        ((text,),) = connection.execute("SELECT line FROM files").fetchall()
        line = json.loads(text)
        del line["row"]["measured"]
        line["row"]["protection"] = protection
        connection.execute("UPDATE files SET line=?", (json.dumps(line),))
        connection.commit()
        connection.close()
        with Journal(tmp_path) as journal:
            (found,) = journal.entries()
        assert found.row.measured == measured

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

    def test_what_is_not_recorded_whole_is_not_recorded_at_all(self, tmp_path: Path) -> None:
        unwritable = replace(entry("b", Outcome.PROTECTED), share={1})  # type: ignore[arg-type]
        with Journal(tmp_path) as journal:
            journal.replace_all([entry("a"), entry("b")])
            with pytest.raises(TypeError):
                journal.record([entry("a", Outcome.HELD), unwritable])
        with Journal(tmp_path) as journal:
            assert list(journal.entries()) == [entry("a"), entry("b")]

    def test_lines_that_were_recorded_survive_a_kill(self, tmp_path: Path) -> None:
        script = (
            "import os, sys; from pathlib import Path\n"
            "from medprotect.plan.plan import Action, Row\n"
            "from medprotect.protect.journal import Entry, Journal, Outcome\n"
            "from medprotect.scan.walk import Found\n"
            "entry = Entry(Row(Found('a'), Action.PROTECT))\n"
            "journal = Journal(Path(sys.argv[1]))\n"
            "journal.replace_all([entry])\n"
            "journal.record([Entry(entry.row, Outcome.STAGED)])\n"
            "os._exit(9)\n"
        )
        done = subprocess.run([sys.executable, "-c", script, os.fspath(tmp_path)])
        assert done.returncode == 9
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Journal(tmp_path) as journal:
            assert [each.outcome for each in journal.entries()] == [Outcome.STAGED]
        assert [path.name for path in tmp_path.iterdir()] == [NAME]

    def test_a_full_disk_is_told_as_one_and_nothing_is_lost(
        self, tmp_path: Path, mounted: Callable[..., Path]
    ) -> None:
        disk = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
        with Journal(disk) as journal:
            journal.replace_all([entry("a")])
            with pytest.raises(StorageError, match="make room"):
                journal.replace_all([entry(f"{number:0200}") for number in range(4000)])
        with Journal(disk) as journal:
            assert list(journal.entries()) == [entry("a")]

    def test_one_of_another_format_is_refused(self, tmp_path: Path) -> None:
        with Journal(tmp_path) as journal:
            journal.replace_all([entry("a")])
        connection = sqlite3.connect(tmp_path / NAME)
        connection.execute(f"PRAGMA user_version={FORMAT + 1}")
        connection.close()
        with pytest.raises(StateMismatchError, match="another version"):
            Journal(tmp_path)

    def test_a_damaged_one_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_bytes(b"not a database, but long enough to look at" * 30)
        with pytest.raises(StateMismatchError, match="damaged"):
            Journal(tmp_path)

    @pytest.mark.parametrize("line", ["{", "[]", '"a"', "{}", '{"row": 1}'])
    def test_a_line_that_is_none_is_damage(self, tmp_path: Path, line: str) -> None:
        with Journal(tmp_path) as journal:
            journal.replace_all([entry("a")])
        connection = sqlite3.connect(tmp_path / NAME)
        connection.execute("UPDATE files SET line=?", (line,))
        connection.commit()
        connection.close()
        with Journal(tmp_path) as journal, pytest.raises(StateMismatchError, match="damaged"):
            list(journal.entries())

    def test_damage_anywhere_in_it_is_told_or_harmless(self, tmp_path: Path) -> None:
        entries = [entry(f"{number:040}") for number in range(60)]
        with Journal(tmp_path) as journal:
            journal.replace_all(entries)
        data = (tmp_path / NAME).read_bytes()
        chance = random.Random(5)  # noqa: S311 - places, no secrets
        told = 0
        for _ in range(60):
            hurt = bytearray(data)
            at = chance.randrange(len(hurt) - 600)
            hurt[at : at + 600] = chance.randbytes(600)
            (tmp_path / NAME).write_bytes(hurt)
            try:
                with Journal(tmp_path) as journal:
                    list(journal.entries())
            except (StateMismatchError, StorageError):
                told += 1
        assert told > 20

    def test_a_folder_that_may_not_be_written_is_told(self, nobody: Path) -> None:
        nobody.chmod(0o500)
        with pytest.raises(OutputError, match="Permission denied"):
            Journal(nobody)
