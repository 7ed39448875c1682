"""`run --vault`, `vault` and `restore` as a user gives them, each in a process of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medprotect import demo

Done = subprocess.CompletedProcess[str]
Medprotect = Callable[..., Done]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def medprotect(house: Path) -> Medprotect:
    """`medprotect("run", "export", "out")` in a folder, and with a key, of its own."""
    environment = os.environ | {"XDG_CONFIG_HOME": os.fspath(house / "config"), "NO_COLOR": "1"}

    def run(*arguments: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "medprotect", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            cwd=house,
        )

    return run


@pytest.fixture(scope="module")
def recipient(medprotect: Medprotect) -> str:
    """The word of somebody whose identity lies in ``theirs``."""
    made = medprotect("key", "identity", "theirs")
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def done(medprotect: Medprotect, house: Path, recipient: str) -> Done:
    demo.build(house / "export")
    return medprotect("run", "export", "out", "--vault", "kept/vault", "--recipient", recipient)


def plain_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_run_makes_its_vault_and_says_what_it_gives_back(done: Done, house: Path) -> None:
    assert done.returncode == 4, done.stderr  # some of its files are rejected
    assert re.search(
        r"vault: kept/vault, [\d.]+ MB; .* gives back 24 files, [\d.]+ MB", done.stdout
    )
    assert "not in the vault: 1 symlink" in done.stdout
    assert any(line.startswith("25 in = 11 in OUT + ") for line in done.stdout.splitlines())
    assert re.search(r"vault: at most about [\d.]+ MB", done.stderr)
    assert (house / "kept" / "vault").is_file()
    assert not [path for path in (house / "out").rglob("*") if "vault" in path.name]


@pytest.mark.usefixtures("done")
class TestRestore:
    def test_it_gives_the_export_back(self, medprotect: Medprotect, house: Path) -> None:
        given = medprotect("restore", "out", "back", "--vault", "kept/vault")
        assert given.returncode == 0, given.stderr
        assert "24 files" in given.stdout
        assert "not in the vault: 1 symlink" in given.stdout
        assert plain_files(house / "back") == plain_files(house / "export")

    def test_a_recipient_gets_it_back_too(self, medprotect: Medprotect, house: Path) -> None:
        asked = ("--vault", "kept/vault", "--identity", "theirs", "--json")
        given = medprotect("restore", "out", "theirs-back", *asked)
        assert json.loads(given.stdout)["files"] == 24
        assert plain_files(house / "theirs-back") == plain_files(house / "export")

    def test_another_key_gets_nothing(self, medprotect: Medprotect, house: Path) -> None:
        medprotect("key", "new", "others.key")
        asked = ("--vault", "kept/vault", "--key", "others.key", "--json")
        given = medprotect("restore", "out", "none", *asked)
        assert given.returncode == 2
        assert json.loads(given.stdout)["error"] == "key_file"
        assert "made for others" in given.stderr
        assert not (house / "none").exists()

    def test_a_damaged_vault_gives_nothing(self, medprotect: Medprotect, house: Path) -> None:
        data = (house / "kept" / "vault").read_bytes()
        (house / "damaged").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        given = medprotect("restore", "out", "none", "--vault", "damaged")
        assert given.returncode == 8
        assert given.stderr.startswith("error: The vault is damaged")
        assert not (house / "none").exists()

    def test_a_key_and_an_identity_are_one_too_many(self, medprotect: Medprotect) -> None:
        asked = ("--vault", "kept/vault", "--key", "a", "--identity", "theirs")
        assert medprotect("restore", "out", "none", *asked).returncode == 2


@pytest.mark.usefixtures("done")
class TestVault:
    def test_it_is_made_of_a_finished_run_too(self, medprotect: Medprotect, house: Path) -> None:
        made = medprotect("vault", "export", "out", "later", "--json")
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        assert told["bytes"] == (house / "later").stat().st_size
        assert (told["files"], told["not_kept"]) == (24, {"symlink": 1})
        assert medprotect("vault", "export", "out", "later").returncode == 5

    def test_no_name_of_the_export_goes_on_the_terminal(self, medprotect: Medprotect) -> None:
        made = medprotect("vault", "export", "out", "another")
        for word in ("body.dcm", "fundus", "nifti/"):
            assert word not in made.stdout + made.stderr


class TestAsked:
    def test_a_plan_says_how_large_it_gets(self, medprotect: Medprotect, done: Done) -> None:
        assert done
        plan = medprotect("run", "export", "new", "--vault", "v", "--dry-run")
        assert "vault: at most about 2.7 MB" in plan.stdout
        plan = medprotect("run", "export", "new", "--vault", "v", "--dry-run", "--json")
        assert 2_600_000 < json.loads(plan.stdout)["vault_bytes_at_most"] < 2_800_000

    @pytest.mark.parametrize("place", ["export/v", "new/v", "kept/vault"])
    def test_a_place_that_cannot_be_stops_the_run_before_it_begins(
        self, medprotect: Medprotect, house: Path, done: Done, place: str
    ) -> None:
        assert done
        refused = medprotect("run", "export", "new", "--vault", place)
        assert refused.returncode == 5
        assert not (house / "new").exists()

    def test_so_does_a_recipient_that_is_none_or_has_no_vault(
        self, medprotect: Medprotect, house: Path, recipient: str
    ) -> None:
        slip = recipient[:-1] + ("0" if recipient[-1] != "0" else "1")
        for asked in (("--vault", "v", "--recipient", slip), ("--recipient", recipient)):
            refused = medprotect("run", "export", "new", *asked)
            assert refused.returncode == 2
            assert "recipient" in refused.stderr
        assert not (house / "new").exists()

    def test_a_vault_that_fails_is_told_after_what_became_of_the_run(
        self, medprotect: Medprotect, done: Done
    ) -> None:
        assert done
        for more in ((), ("--json",)):
            failed = medprotect("run", "export", "out", "--vault", "/proc/vault", *more)
            assert failed.returncode == 5
            assert "error: The vault cannot be written" in failed.stderr
            if more:
                told = json.loads(failed.stdout)
                assert told["counts"]["in"] == 25
                assert told["vault"]["error"] == "output"
            else:
                assert any(line.startswith("25 in = ") for line in failed.stdout.splitlines())

    def test_recipients_are_shown_again(
        self, medprotect: Medprotect, recipient: str, done: Done
    ) -> None:
        assert done
        assert medprotect("key", "recipient", "theirs").stdout.strip() == recipient
        assert medprotect("key", "recipient").stdout.startswith("mpr1")
        again = medprotect("key", "identity", "theirs")
        assert again.returncode == 2
        assert "never overwritten" in again.stderr
