"""A vault of a run gives the export back as it was, or nothing at all."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.confounder.key import Key
from medprotect.errors import (
    ConfigError,
    InputError,
    KeyFileError,
    MedprotectError,
    OutputError,
    StateLockedError,
    StorageError,
    VaultError,
    VerificationError,
)
from medprotect.protect.journal import Journal, Outcome
from medprotect.vault.difference import PIECE_BYTES, Base, encode_piece
from medprotect.vault.listing import Kept, Listing, write_listing
from medprotect.vault.make import Progress, make_vault
from medprotect.vault.recipients import Identity
from medprotect.vault.restore import restore_export
from medprotect.vault.sealed import Head

from .conftest import FILES, KEY, OWNER, PATIENT, Run, protect


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """By path, the bytes of each plain file and when they were last changed."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


class TestGettingBack:
    def test_the_export_comes_back_byte_for_byte_whatever_became_of_it(self, run: Run) -> None:
        with Journal(run.state) as journal:
            outcomes = {entry.outcome for entry in journal.entries()}
        assert outcomes == {Outcome.PROTECTED, Outcome.COPIED, Outcome.REJECTED}
        made = run.keep()
        assert run.restore() == made.listing
        assert files(run.back) == files(run.export)
        assert len(files(run.back)) == len(FILES)

    def test_so_do_files_that_were_left(self, small_run: Run) -> None:
        small_run.restore()
        assert files(small_run.back) == files(small_run.export)

    def test_links_are_told_of_and_not_followed(self, run: Run) -> None:
        assert run.keep().listing.not_kept == {"symlink": 1}
        assert run.restore().not_kept == {"symlink": 1}
        assert not os.path.lexists(run.back / "link")

    def test_each_recipient_opens_it_and_nobody_else(self, run: Run) -> None:
        first, second = Identity.new(), Identity.new()
        run.keep(first.recipient, second.recipient, first.recipient)
        for identity in (first, second, OWNER):
            run.restore(identity)
            assert files(run.back) == files(run.export)
            shutil.rmtree(run.back)
        for stranger in (Identity.new(), Identity.of(Key.new())):
            with pytest.raises(KeyFileError, match="made for others"):
                run.restore(stranger)
            assert run.nothing_is_left

    def test_what_it_holds_is_not_to_be_seen(self, run: Run) -> None:
        run.keep()
        data = run.vault.read_bytes()
        for word in (PATIENT, "notes.txt", "file,class", "DICM", "ct.dcm"):
            assert word.encode() not in data
        assert run.vault.stat().st_mode & 0o777 == 0o600
        run.restore()
        assert run.back.stat().st_mode & 0o777 == 0o700

    def test_two_vaults_of_a_run_have_nothing_in_common(self, run: Run) -> None:
        run.keep()
        first = run.vault.read_bytes()
        run.vault.unlink()
        run.keep()
        second = run.vault.read_bytes()
        blocks = {first[at : at + 32] for at in range(20, len(first) - 32)}
        assert not any(second[at : at + 32] in blocks for at in range(20, len(second) - 32))

    def test_files_that_others_put_into_out_do_not_matter(self, run: Run) -> None:
        run.keep()
        (run.out / "more.txt").write_bytes(b"more")
        run.restore()
        assert files(run.back) == files(run.export)

    def test_what_a_killed_process_left_is_cleared_away(self, run: Run) -> None:
        run.keep()
        left = run.back.with_name(".back.part")
        (left / "folder").mkdir(parents=True)
        (left / "folder" / "clean.dcm").write_bytes(b"clean")
        (left / "link").symlink_to(run.export)
        run.restore()
        assert files(run.back) == files(run.export)
        assert not left.exists()
        assert not (run.back / "folder").exists()

    @pytest.mark.slow
    def test_a_file_of_many_pieces_takes_no_more_memory_than_one(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "export", tmp_path / "out", tmp_path / "out.medprotect")
        run.export.mkdir()
        piece = os.urandom(PIECE_BYTES)
        with (run.export / "b.bin").open("wb") as stream:
            for index in range(96):
                stream.write(index.to_bytes(8) + piece[8:])
        protect(tmp_path, {"c.txt": b"c"}, copy_others=False)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, os.fspath(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 32 * 1024
        assert files(run.back) == files(run.export)


MEASURED = """
import resource, sys
from pathlib import Path
import imagecodecs
from medprotect.confounder.key import Key
from medprotect.vault.make import make_vault
from medprotect.vault.make import Progress, make_vault
from medprotect.vault.recipients import Identity
from medprotect.vault.restore import restore_export

imagecodecs.zstd_encode(bytes(100))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
root, key = Path(sys.argv[1]), Key(b"k" * 32)
out, vault = root / "out", root / "vault"
make_vault(root / "export", out, root / "out.medprotect", vault, key)
restore_export(out, vault, root / "back", Identity.of(key))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
"""Prints by how many kB the memory of a process grew."""


def is_refused(run: Run) -> bool:
    """Whether a vault is refused with one of our errors, and nothing is left."""
    try:
        run.restore()
    except (VaultError, KeyFileError):
        return run.nothing_is_left
    return False


class TestDamage:
    @pytest.mark.slow
    def test_every_byte_counts(self, small_run: Run) -> None:
        data = small_run.vault.read_bytes()
        passed = []
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 1 << at % 8
            small_run.vault.write_bytes(changed)
            if not is_refused(small_run):
                passed.append(at)
        assert passed == []

    @pytest.mark.slow
    def test_every_truncation_is_noticed(self, small_run: Run) -> None:
        data = small_run.vault.read_bytes()
        passed = []
        for length in range(len(data)):
            small_run.vault.write_bytes(data[:length])
            if not is_refused(small_run):
                passed.append(length)
        assert passed == []

    def test_a_byte_more_is_noticed(self, small_run: Run) -> None:
        data = small_run.vault.read_bytes()
        for more in (b"\0", data):
            small_run.vault.write_bytes(data + more)
            assert is_refused(small_run)

    def test_files_that_changed_places_are_noticed(self, small_run: Run) -> None:
        head, listing, first, *others = streams(small_run.vault.read_bytes())
        assert len(others) == 2
        assert len(others[0]) == len(others[1])  # nothing but their places tells them apart
        small_run.vault.write_bytes(b"".join([head, listing, first, others[1], others[0]]))
        assert is_refused(small_run)
        small_run.vault.write_bytes(b"".join([head, listing, first, others[0], others[0]]))
        assert is_refused(small_run)

    def test_a_file_of_another_vault_of_the_same_run_is_noticed(self, small_run: Run) -> None:
        mine = streams(small_run.vault.read_bytes())
        small_run.vault.unlink()
        small_run.keep()
        other = streams(small_run.vault.read_bytes())
        for at in range(len(mine)):
            mixed = [*mine[:at], other[at], *mine[at + 1 :]]
            small_run.vault.write_bytes(b"".join(mixed))
            assert is_refused(small_run)

    @pytest.mark.parametrize("data", [b"", b"medprotect-vault 2\n", b"\x89PNG", bytes(9999)])
    def test_what_is_no_vault_is_called_so(self, small_run: Run, data: bytes) -> None:
        small_run.vault.write_bytes(data)
        with pytest.raises(VaultError, match="not a vault"):
            small_run.restore()

    def test_a_vault_that_is_missing_is_called_so(self, small_run: Run) -> None:
        small_run.vault.unlink()
        with pytest.raises(ConfigError, match="cannot be opened"):
            small_run.restore()


def streams(vault: bytes) -> list[bytes]:
    """Cut a vault of small files into its head, its list and its files."""
    at = 19 + 16 + 2 + 80 + 32
    parts = [vault[:at]]
    while at < len(vault):
        end = at + 4 + (int.from_bytes(vault[at : at + 4]) & 0x7FFFFFFF)
        parts.append(vault[at:end])
        at = end
    return parts


class TestOutThatChanged:
    @pytest.mark.parametrize("change", ["other", "longer", "missing", "link"])
    def test_nothing_is_restored(self, run: Run, change: str) -> None:
        run.keep()
        path = run.out / "volume.nii"
        data = path.read_bytes()
        path.unlink()
        if change == "other":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        if change == "longer":
            path.write_bytes(data + b"!")
        if change == "link":
            path.symlink_to(run.export / "volume.nii")
        with pytest.raises(VaultError, match=r"(of|from) OUT"):
            run.restore()
        assert run.nothing_is_left

    def test_without_out_nothing_is_restored(self, run: Run) -> None:
        run.keep()
        shutil.rmtree(run.out)
        with pytest.raises(OutputError, match="not a folder"):
            run.restore()


class TestMaking:
    def refused(self, run: Run, error: type[MedprotectError], match: str, **asked: Key) -> None:
        with pytest.raises(error, match=match):
            run.keep(**asked)
        assert run.nothing_is_left
        assert not run.vault.exists()

    def test_a_file_that_changed_since_is_noticed(self, run: Run) -> None:
        path = run.export / "volume.nii"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        self.refused(run, VerificationError, r"file \d+: .* is not the one that was protected")

    def test_a_rejected_file_that_changed_since_is_noticed(self, run: Run) -> None:
        path = run.export / "broken.dcm"
        with Journal(run.state) as journal:
            (entry,) = [e for e in journal.entries() if e.path == "broken.dcm"]
            journal.record([replace(entry, sha256_in="0" * 64)])
        assert path.is_file()
        self.refused(run, VerificationError, "is not the one that the run read")

    def test_files_that_are_new_or_gone_are_noticed(self, run: Run) -> None:
        (run.export / "notes.txt").rename(run.export / "other.txt")
        self.refused(run, VerificationError, "1 files are new, 1 are gone")

    def test_a_file_of_out_that_changed_is_noticed(self, run: Run) -> None:
        (run.out / "volume.nii").write_bytes(b"")
        self.refused(run, VerificationError, r"file \d+: .* not the one that was written")

    def test_another_key_than_the_runs_makes_none(self, run: Run) -> None:
        self.refused(run, KeyFileError, "The run used the key", key=Key.new())

    def test_a_run_that_is_not_finished_has_none(self, run: Run) -> None:
        with Journal(run.state) as journal:
            journal.record([next(journal.entries()).planned_again()])
        self.refused(run, OutputError, "not finished")

    def test_no_run_has_none(self, run: Run) -> None:
        shutil.rmtree(run.state)
        run.state.mkdir()
        self.refused(run, OutputError, "holds no journal")

    def test_a_file_that_cannot_be_read_stops_it(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("medprotect.vault.make.fold", fail)
        self.refused(run, InputError, r"file \d+ cannot be read \(Input/output error\)")


class TestPlaces:
    @pytest.mark.parametrize("folder", ["export", "out", "out/sub", "linked"])
    def test_a_vault_never_lies_in_the_export_or_in_out(self, run: Run, folder: str) -> None:
        (run.export.parent / "linked").symlink_to(run.out)
        place = run.export.parent / folder / "vault"
        with pytest.raises(OutputError, match="in the export or in OUT"):
            keep_at(run, place)
        assert not place.exists()

    def test_nor_in_the_out_of_another_run(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other.medprotect").mkdir()
        with pytest.raises(OutputError, match="would be in an OUT"):
            keep_at(run, tmp_path / "other" / "vault")
        run.keep()
        with pytest.raises(OutputError, match="would be in an OUT"):
            restore_export(run.out, run.vault, tmp_path / "other" / "back", OWNER)

    def test_a_vault_is_never_overwritten(self, run: Run) -> None:
        run.vault.write_bytes(b"precious")
        with pytest.raises(OutputError, match="never overwritten"):
            run.keep()
        assert run.vault.read_bytes() == b"precious"

    def test_back_is_a_new_folder(self, run: Run) -> None:
        run.keep()
        run.back.mkdir()
        with pytest.raises(OutputError, match="BACK exists"):
            run.restore()
        assert list(run.back.iterdir()) == []

    @pytest.mark.parametrize("name", ["out/back", "out"])
    def test_back_never_lies_in_out(self, run: Run, name: str) -> None:
        run.keep()
        with pytest.raises(OutputError, match="BACK"):
            restore_export(run.out, run.vault, run.export.parent / name, OWNER)

    def test_two_do_not_restore_to_one_place(self, run: Run) -> None:
        run.keep()
        asked = []

        def progress(words: str, _done: int, _total: int) -> None:
            if words == "restoring" and not asked:
                asked.append(words)
                with pytest.raises(StateLockedError, match="same BACK"):
                    run.restore()

        restore_export(run.out, run.vault, run.back, OWNER, progress)
        assert asked
        assert files(run.back) == files(run.export)

    def test_a_place_that_cannot_be_written_is_told(self, run: Run) -> None:
        run.keep()
        with pytest.raises(OutputError, match="The vault cannot be written"):
            keep_at(run, Path("/proc/vault"))
        with pytest.raises(OutputError, match="BACK cannot be written"):
            restore_export(run.out, run.vault, Path("/proc/back"), OWNER)


def keep_at(run: Run, vault: Path, progress: Progress = lambda *_: None) -> None:
    make_vault(run.export, run.out, run.state, vault, KEY, progress=progress)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class TestNoRoom:
    def test_no_vault_is_left(self, run: Run) -> None:
        with ExitStack() as stack, pytest.raises(StorageError, match="The vault could not be"):
            # Not before the journal is closed: it would be the first to find no room.
            keep_at(run, run.vault, lambda *_: stack.enter_context(largest_file(4096)))
        assert run.nothing_is_left
        assert not run.vault.exists()

    def test_nothing_is_restored(self, run: Run) -> None:
        run.keep()
        with largest_file(4096), pytest.raises(StorageError, match="BACK could not be written"):
            run.restore()
        assert run.nothing_is_left


class TestHostile:
    """Whoever knows a recipient can make a vault for it."""

    def make(self, run: Run, kept: list[Kept], bodies: list[list[bytes]]) -> None:
        head = Head.new([OWNER.recipient])
        data = [head.data, *head.seal(0, "", write_listing(Listing(tuple(kept), {})))]
        for each, parts in zip(kept, bodies, strict=True):
            data += head.seal(each.number, each.path, parts)
        run.vault.write_bytes(b"".join(data))

    @pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil"])  # noqa: S108
    def test_no_path_leads_elsewhere(self, small_run: Run, path: str) -> None:
        self.make(small_run, [Kept(1, path, 0, 0, "")], [[b"\0"]])
        with pytest.raises(VaultError, match="leads out of BACK"):
            small_run.restore()
        assert small_run.nothing_is_left

    def test_a_size_beyond_the_disk_is_refused_at_once(self, small_run: Run) -> None:
        self.make(small_run, [Kept(1, "a", 2**60, 0, "")], [[b"\0"]])
        with pytest.raises(StorageError, match="BACK could not be written"):
            small_run.restore()
        assert small_run.nothing_is_left

    def test_more_or_fewer_pieces_than_the_size_asks_for_are_refused(self, small_run: Run) -> None:
        piece = encode_piece(b"abc", 0, Base(None, 0, 3))
        digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        self.make(small_run, [Kept(1, "a", 3, 0, digest)], [[piece]])
        small_run.restore()
        assert (small_run.back / "a").read_bytes() == b"abc"
        shutil.rmtree(small_run.back)
        for parts in ([piece, piece], [piece, b"\0"], [b""]):
            self.make(small_run, [Kept(1, "a", 3, 0, digest)], [parts])
            assert is_refused(small_run)
        self.make(small_run, [Kept(1, "a", 3, 0, digest[::-1])], [[piece]])
        assert is_refused(small_run)
