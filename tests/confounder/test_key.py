"""The owner's key: private, whole, and derived from apart."""

import copy
import hashlib
import hmac
import multiprocessing
import operator
import os
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from pydicom.uid import UID

from medprotect.confounder.key import HEADER, Key, default_key_path
from medprotect.errors import KeyFileError

KEY = Key(bytes(range(32)))
PLAN = {"pipeline_sha256": "ab" * 32, "strength": "standard", "decoys": True}


def test_a_saved_key_loads_again(tmp_path: Path) -> None:
    key = Key.new()
    key.save(tmp_path / "a" / "owner.key")
    assert Key.load(tmp_path / "a" / "owner.key") == key


def test_a_new_key_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KEY.save(tmp_path / "folder" / "owner.key")
    finally:
        os.umask(before)
    assert (tmp_path / "folder" / "owner.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def test_two_new_keys_differ() -> None:
    assert Key.new() != Key.new()


def test_a_key_is_never_written_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    path.write_text("mine")
    with pytest.raises(KeyFileError, match="exists"):
        KEY.save(path)
    assert path.read_text() == "mine"


def test_a_key_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        KEY.save(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "owner.key"
    KEY.save(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Key.load(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "medprotect-key 2\n" + "00" * 32,
        f"{HEADER}\n",
        f"{HEADER}\n{'00' * 31}\n",
        f"{HEADER}\n{'00' * 33}\n",
        f"{HEADER}\n{'zz' * 32}\n",
        f"{HEADER}\n{'00' * 31} 0\n",
        f"{HEADER}\n{'00' * 32}\nmore\n",
        "\xff\xfe",
    ],
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "owner.key"
    path.touch(mode=0o600)
    path.write_text(content, encoding="latin-1")
    with pytest.raises(KeyFileError):
        Key.load(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="medprotect key new"):
        Key.load(tmp_path / "none")


def test_a_folder_and_a_pipe_are_no_key_and_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyFileError):
            Key.load(path)


def test_the_secret_shows_in_no_text_of_the_key() -> None:
    shown = repr(KEY) + str(KEY) + KEY.fingerprint
    assert KEY.secret.hex()[:8] not in shown
    assert "\\x01" not in shown


def test_no_error_shows_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "owner.key"
    path.touch(mode=0o600)
    path.write_text(f"{HEADER}\n{'ab' * 31}\n")
    with pytest.raises(KeyFileError) as caught:
        Key.load(path)
    assert "abab" not in str(caught.value)


def test_the_fingerprint_is_16_hex_digits_of_its_own_subkey() -> None:
    assert re.fullmatch("[0-9a-f]{16}", KEY.fingerprint)
    assert KEY.fingerprint == KEY.subkey("fingerprint")[:8].hex()
    assert KEY.fingerprint != Key(bytes(32)).fingerprint


def test_subkeys_are_those_of_rfc_5869() -> None:
    # HKDF by hand: extract with a salt of zeros, expand to one block.
    extracted = hmac.new(bytes(32), KEY.secret, hashlib.sha256).digest()
    block = hmac.new(extracted, b"medprotect uids\x01", hashlib.sha256).digest()
    assert KEY.subkey("uids") == block


def test_each_purpose_has_another_subkey() -> None:
    purposes = ["uids", "codes", "decoys", "fingerprint"]
    assert len({KEY.subkey(purpose) for purpose in purposes}) == len(purposes)


def test_a_backup_is_the_same_key_and_private(tmp_path: Path) -> None:
    KEY.save(tmp_path / "owner.key")
    assert Key.backup(tmp_path / "owner.key", tmp_path / "copy.key") == KEY
    assert Key.load(tmp_path / "copy.key") == KEY
    assert (tmp_path / "copy.key").stat().st_mode & 0o077 == 0


def test_a_backup_never_replaces_another_key(tmp_path: Path) -> None:
    KEY.save(tmp_path / "owner.key")
    other = Key(bytes(32))
    other.save(tmp_path / "other.key")
    with pytest.raises(KeyFileError):
        Key.backup(tmp_path / "owner.key", tmp_path / "other.key")
    assert Key.load(tmp_path / "other.key") == other


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_no_key(length: int) -> None:
    with pytest.raises(KeyFileError):
        Key(bytes(length))


def test_a_new_uid_is_a_valid_dicom_uid_and_repeats() -> None:
    uid = KEY.new_uid("instance", "1.2.3", **PLAN)
    assert uid.startswith("2.25.")
    assert UID(uid).is_valid
    assert uid == KEY.new_uid("instance", "1.2.3", **PLAN)


def test_everything_that_changes_pixels_changes_the_uid() -> None:
    uids = [
        KEY.new_uid("instance", "1.2.3", **PLAN),
        KEY.new_uid("series", "1.2.3", **PLAN),
        KEY.new_uid("instance", "1.2.4", **PLAN),
        KEY.new_uid("instance", "1.2.3", **{**PLAN, "pipeline_sha256": "cd" * 32}),
        KEY.new_uid("instance", "1.2.3", **{**PLAN, "strength": "low"}),
        KEY.new_uid("instance", "1.2.3", **{**PLAN, "decoys": False}),
        KEY.new_uid("instance", "1.2.3", **PLAN, along_z="independent"),
        Key(bytes(32)).new_uid("instance", "1.2.3", **PLAN),
    ]
    assert len(set(uids)) == len(uids)


def test_uids_of_coherent_noise_are_those_from_before_there_was_a_choice() -> None:
    known = "2.25.24234628596772798293223007468588217193"
    assert KEY.new_uid("instance", "1.2.3", **PLAN) == known
    assert KEY.new_uid("instance", "1.2.3", **PLAN, along_z="coherent") == known


def test_fields_of_a_uid_cannot_run_into_each_other() -> None:
    one = KEY.new_uid("instance", "1.21", **{**PLAN, "pipeline_sha256": "1"})
    two = KEY.new_uid("instance", "1.2", **{**PLAN, "pipeline_sha256": "11"})
    assert one != two


def test_many_new_uids_do_not_collide() -> None:
    uids = {KEY.new_uid("instance", f"1.2.{number}", **PLAN) for number in range(2000)}
    assert len(uids) == 2000
    assert all(len(uid) <= 64 for uid in uids)


def test_the_default_key_lies_in_the_configuration_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_path() == tmp_path / "medprotect" / "owner.key"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", unusable)
        assert default_key_path() == tmp_path / ".config" / "medprotect" / "owner.key"


class TestPickles:
    def test_a_key_is_not_pickled(self) -> None:
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(KeyFileError, match="cannot be pickled"):
                pickle.dumps([KEY], protocol)
        assert copy.deepcopy(KEY) is KEY

    def test_it_reaches_a_process_that_is_started_with_it(self) -> None:
        context = multiprocessing.get_context("spawn")
        read = operator.attrgetter("secret")  # an error there would break the pool
        with ProcessPoolExecutor(1, context, initializer=read, initargs=(KEY,)) as pool:
            assert pool.submit(len, "abc").result() == 3
            with pytest.raises(KeyFileError, match="cannot be pickled"):
                pool.submit(read, KEY).result()
