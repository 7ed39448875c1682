"""What a run finds of an earlier one, on the disk as a kill at any moment leaves it."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.confounder.key import Key
from medprotect.errors import OutputError, StateMismatchError
from medprotect.plan.selection import find_candidates
from medprotect.protect.journal import Entry, Journal, Outcome
from medprotect.protect.resume import (
    STAGING,
    claim,
    claim_backend,
    hold,
    reconcile,
    restart,
    staged_path,
)
from medprotect.protect.settings import Settings

KEY = Key(bytes(range(32)))
NAMES = ("a.png", "b/c.png", "b/d.png", "e.txt")


def png(seed: int) -> bytes:
    stream = BytesIO()
    shade = np.random.default_rng(seed).integers(20, 220, (16, 16), dtype=np.uint8)
    Picture.fromarray(shade).save(stream, "PNG")
    return stream.getvalue()


class Place:
    """An export with a state folder and OUT, and what runs do there short of making noise."""

    def __init__(self, folder: Path) -> None:
        self.export, self.out, self.state = (folder / n for n in ("export", "out", "state"))
        self.candidates = find_candidates(["auto"])
        for number, name in enumerate(NAMES):
            self.write(name, b"text" if name.endswith("txt") else png(number))
        self.out.mkdir()
        self.state.mkdir()
        self.journal = Journal(self.state)

    def write(self, name: str, data: bytes) -> None:
        (self.export / name).parent.mkdir(parents=True, exist_ok=True)
        (self.export / name).write_bytes(data)

    def settings(self, **options: Any) -> Settings:
        places = {"export": self.export, "out": self.out, "state": self.state}
        return Settings(**{**places, "candidates": self.candidates, **options})

    def reconcile(self, **options: Any) -> dict[str, Entry]:
        return {entry.path: entry for entry in reconcile(self.journal, self.settings(**options))}

    def finish(self, entry: Entry, outcome: Outcome = Outcome.PROTECTED, **fields: Any) -> Entry:
        """Write and record a file as a run does; the bytes stand for the protected ones."""
        data = b"protected " + entry.path.encode()
        at_work = self.out / entry.row.out
        path = staged_path(self.state, entry.path) if outcome is Outcome.STAGED else at_work
        if outcome in (Outcome.PROTECTED, Outcome.COPIED, Outcome.STAGED):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        done = replace(
            entry,
            outcome=outcome,
            sha256_in=hashlib.sha256((self.export / entry.path).read_bytes()).hexdigest(),
            sha256_out=hashlib.sha256(data).hexdigest(),
            size_out=len(data),
            **fields,
        )
        self.journal.record([done])
        return done

    def in_out(self) -> set[str]:
        return {p.relative_to(self.out).as_posix() for p in self.out.rglob("*") if p.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.journal:
        yield made


@pytest.fixture
def done(place: Place) -> Place:
    """All three pictures are protected."""
    for entry in place.reconcile().values():
        if entry.row.out:
            place.finish(entry)
    return place


def outcomes(entries: dict[str, Entry]) -> dict[str, str]:
    return {path: entry.outcome.value for path, entry in entries.items()}


class TestReconcile:
    def test_a_first_run_plans_all_and_says_so_in_the_journal(self, place: Place) -> None:
        told: list[int] = []
        entries = reconcile(place.journal, place.settings(), told.append)
        assert [entry.path for entry in entries] == list(NAMES)
        assert told == [1, 2, 3, 4]
        assert [entry.outcome for entry in entries] == [Outcome.PLANNED] * 3 + [Outcome.LEFT]
        stored = [replace(e, row=replace(e.row, traits=None)) for e in entries]
        assert list(place.journal.entries()) == stored

    def test_what_is_done_and_lies_in_out_is_kept(self, done: Place) -> None:
        assert set(outcomes(done.reconcile()).values()) == {"protected", "left"}

    def test_a_touched_file_is_kept_and_a_changed_one_is_not(self, done: Place) -> None:
        os.utime(done.export / "a.png", ns=(1, 1))
        done.write("b/c.png", png(99))
        entries = done.reconcile()
        assert entries["a.png"].outcome is Outcome.PROTECTED
        assert entries["a.png"].row.found.mtime_ns == 1
        assert entries["b/c.png"].outcome is Outcome.PLANNED
        assert done.in_out() == {"a.png", "b/d.png"}, "the old form of a changed file goes"

    def test_a_change_that_time_and_size_hide_is_seen_by_rehash(self, done: Place) -> None:
        path = done.export / "a.png"
        status, data = path.stat(), bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert done.reconcile()["a.png"].outcome is Outcome.PROTECTED
        assert done.reconcile(rehash=True)["a.png"].outcome in (Outcome.PLANNED, Outcome.REJECTED)

    @pytest.mark.parametrize("hurt", ["gone", "short", "link"])
    def test_a_file_of_out_that_is_not_as_written_is_done_again(
        self, done: Place, hurt: str, tmp_path: Path
    ) -> None:
        path = done.out / "a.png"
        data = path.read_bytes()
        path.unlink()
        if hurt == "short":
            path.write_bytes(data[:-1])
        if hurt == "link":
            (tmp_path / "elsewhere").write_bytes(data)
            path.symlink_to(tmp_path / "elsewhere")
        assert done.reconcile()["a.png"].outcome is Outcome.PLANNED
        assert not os.path.lexists(path)
        if hurt == "link":
            assert (tmp_path / "elsewhere").read_bytes() == data

    def test_a_new_file_is_planned_beside_the_others(self, done: Place) -> None:
        done.write("b/new.png", png(50))
        became = outcomes(done.reconcile())
        assert became.pop("b/new.png") == "planned"
        assert set(became.values()) == {"protected", "left"}

    def test_a_file_that_is_gone_is_not_passed_over(self, done: Place) -> None:
        (done.export / "b" / "c.png").unlink()
        (done.export / "e.txt").unlink()  # nothing of it is in OUT
        with pytest.raises(StateMismatchError, match="1 files are protected in OUT but gone"):
            done.reconcile()
        assert "b/c.png" in done.in_out()

    def test_one_replaced_by_a_link_leaves_out(self, done: Place) -> None:
        (done.export / "a.png").unlink()
        (done.export / "a.png").symlink_to("b/c.png")
        entries = done.reconcile()
        assert entries["a.png"].row.reason == "unsafe_path"
        assert done.in_out() == {"b/c.png", "b/d.png"}

    def test_a_name_in_out_that_the_journal_does_not_vouch_for_goes(self, place: Place) -> None:
        """The kill came after the file got its name and before its line said so."""
        place.reconcile()
        (place.out / "a.png").write_bytes(b"whole")
        assert place.reconcile()["a.png"].outcome is Outcome.PLANNED
        assert place.in_out() == set()

    def test_what_no_run_wrote_is_never_removed_and_never_overwritten(self, done: Place) -> None:
        (done.out / "new.png").write_bytes(b"mine")
        (done.out / "mine.txt").write_bytes(b"mine")
        done.reconcile()
        done.write("new.png", png(51))
        with pytest.raises(OutputError, match="1 names in OUT are taken"):
            done.reconcile()
        assert {"new.png", "mine.txt"} <= done.in_out()

    def test_staged_files_are_kept_where_they_are_whole(self, place: Place) -> None:
        a, c, d, _ = place.reconcile().values()
        place.finish(a, Outcome.STAGED)
        place.finish(c, Outcome.STAGED)
        staged_path(place.state, c.path).write_bytes(b"torn")
        staged_path(place.state, d.path).write_bytes(b"of no line")
        (place.state / STAGING / ".medprotect-0123456789abcdef.part").write_bytes(b"partial")
        entries = place.reconcile()
        assert outcomes(entries) | {"a.png": "staged", "b/c.png": "planned"} == outcomes(entries)
        left = list((place.state / STAGING).iterdir())
        assert left == [staged_path(place.state, "a.png")]

    def test_a_staged_file_whose_name_a_power_cut_took_is_done_again(self, place: Place) -> None:
        place.finish(place.reconcile()["a.png"], Outcome.STAGED)
        staged_path(place.state, "a.png").unlink()
        assert outcomes(place.reconcile())["a.png"] == "planned"

    def test_a_rejection_stands_with_its_reason_also_when_the_file_is_touched(
        self, place: Place
    ) -> None:
        entry = place.reconcile()["a.png"]
        row = replace(entry.row, reason="corrupt", detail="its decoder crashed on it")
        place.finish(replace(entry, row=row), Outcome.REJECTED)
        for mtime in (None, 1, 2):
            if mtime:
                os.utime(place.export / "a.png", ns=(mtime, mtime))
            found = place.reconcile()["a.png"]
            assert found.outcome is Outcome.REJECTED
            assert (found.row.reason, found.row.detail) == ("corrupt", "its decoder crashed on it")

    @pytest.mark.parametrize("reason", ["changed", "too_large", "error"])
    def test_a_rejection_that_may_pass_is_tried_again(self, place: Place, reason: str) -> None:
        entry = place.reconcile()["a.png"]
        place.finish(replace(entry, row=replace(entry.row, reason=reason)), Outcome.REJECTED)
        found = place.reconcile()["a.png"]
        assert (found.outcome, found.row.reason) == (Outcome.PLANNED, "")

    def test_what_is_to_be_done_again_is_planned_from_its_header(self, place: Place) -> None:
        for _ in range(2):
            traits = place.reconcile()["a.png"].row.traits
            assert traits is not None, "the estimate of size and time needs them"

    def test_others_come_and_go_with_the_option(self, done: Place) -> None:
        entry = done.reconcile(copy_others=True)["e.txt"]
        assert entry.outcome is Outcome.PLANNED
        done.finish(entry, Outcome.COPIED)
        assert done.reconcile(copy_others=True)["e.txt"].outcome is Outcome.COPIED
        assert done.reconcile()["e.txt"].outcome is Outcome.LEFT
        assert "e.txt" not in done.in_out()

    def test_emptied_folders_leave_out(self, done: Place) -> None:
        done.write("b/c.png", b"no picture")
        done.write("b/d.png", b"no picture")
        done.reconcile()
        assert [path.name for path in done.out.iterdir()] == ["a.png"]


class TestHold:
    def series(self, place: Place) -> list[Entry]:
        entries = list(place.reconcile().values())
        return [replace(e, row=replace(e.row, series="s")) for e in entries[:3]] + entries[3:]

    def test_a_series_with_a_rejected_file_is_held_and_its_work_forgotten(
        self, place: Place
    ) -> None:
        one, two, three, text = self.series(place)
        one = replace(one, outcome=Outcome.PROTECTED, sha256_out="ab")
        two = replace(two, outcome=Outcome.REJECTED)
        held = hold([one, two, three, text])
        assert [entry.outcome.value for entry in held] == ["held", "rejected", "held", "left"]
        assert held[0].sha256_out == ""

    def test_files_of_no_series_are_never_held(self, place: Place) -> None:
        one, two, *_ = place.reconcile().values()
        held = hold([one, replace(two, outcome=Outcome.REJECTED)])
        assert held[0].outcome is Outcome.PLANNED


class TestClaim:
    def test_out_is_the_first_runs_and_of_no_other_settings(self, place: Place) -> None:
        settings = place.settings()
        claim(place.journal, settings, settings.identity(KEY))
        claim(place.journal, settings, settings.identity(KEY))
        others = {
            "key": settings.identity(Key(bytes(32))),
            "strength": place.settings(strength="low").identity(KEY),
            "labels": place.settings(labels_sha256="ab").identity(KEY),
            "keep_uids": place.settings(keep_uids=True).identity(KEY),
            "along_z": place.settings(along_z="independent").identity(KEY),
            "named, pipelines": place.settings(
                candidates=find_candidates(["radiology-grey"])
            ).identity(KEY),
        }
        for word, identity in others.items():
            with pytest.raises(StateMismatchError, match=rf"\({word}\)"):
                claim(place.journal, settings, identity)

    def test_files_of_somebody_else_are_in_the_way(self, place: Place) -> None:
        (place.out / "deep").mkdir()
        settings = place.settings()
        claim(place.journal, settings, settings.identity(KEY))
        place.journal.state_about("identity", {})
        (place.out / "deep" / "thesis.txt").write_bytes(b"mine")
        with pytest.raises(OutputError, match="not empty"):
            claim(place.journal, settings, settings.identity(KEY))

    def test_other_arithmetic_is_refused_by_name(self, place: Place) -> None:
        claim_backend(place.journal, {"numpy": "2.0", "machine": "x86_64"})
        claim_backend(place.journal, {"numpy": "2.0", "machine": "x86_64"})
        with pytest.raises(StateMismatchError, match=r"\(numpy\)"):
            claim_backend(place.journal, {"numpy": "2.1", "machine": "x86_64"})

    def test_images_may_join_a_run_that_only_copied_so_far(self, place: Place) -> None:
        claim_backend(place.journal, {"machine": "x86_64"})
        claim_backend(place.journal, {"machine": "x86_64", "torch": "2.10"})
        with pytest.raises(StateMismatchError, match=r"\(torch\)"):
            claim_backend(place.journal, {"machine": "x86_64", "torch": "2.11"})


class TestRestart:
    def test_only_what_the_run_wrote_goes(self, done: Place) -> None:
        (done.out / "b" / "mine.txt").write_bytes(b"mine")
        settings = done.settings()
        done.journal.state_about("identity", settings.identity(KEY))
        restart(done.journal, settings)
        assert done.in_out() == {"b/mine.txt"}
        assert list(done.journal.entries()) == []
        assert done.journal.about("identity") == done.journal.about("backend") == {}
