"""Who can open a vault, and what they tell others."""

import re
import stat
from pathlib import Path

import pytest

from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, KeyFileError
from medprotect.vault.recipients import Identity, Recipient

SECRET = b"s" * 32


def test_a_recipient_is_one_word_that_reads_the_same() -> None:
    recipient = Identity.new().recipient
    word = str(recipient)
    assert re.fullmatch(r"mpr1[0-9a-f]{72}", word)
    assert Recipient.parse(f" {word.upper()}\n") == recipient


def test_every_slip_of_the_pen_is_noticed() -> None:
    word = str(Identity.new().recipient)
    for at in range(len(word)):
        slip = word[:at] + ("0" if word[at] != "0" else "1") + word[at + 1 :]
        with pytest.raises(ConfigError, match="incomplete or mistyped"):
            Recipient.parse(slip)
        with pytest.raises(ConfigError):
            Recipient.parse(word[:at])


def test_a_number_that_is_no_key_is_no_recipient() -> None:
    with pytest.raises(ConfigError):
        Recipient.parse(str(Recipient(bytes(32))))


def test_each_recipient_opens_what_was_sealed_for_all() -> None:
    everyone = [Identity.new() for _ in range(3)]
    sealed = [each.recipient.seal(SECRET, b"a vault") for each in everyone]
    for each in everyone:
        assert each.open(sealed, b"a vault") == SECRET


def test_others_do_not_and_not_for_another_vault() -> None:
    identity = Identity.new()
    sealed = [identity.recipient.seal(SECRET, b"a vault")]
    with pytest.raises(KeyFileError, match="made for others"):
        Identity.new().open(sealed, b"a vault")
    with pytest.raises(KeyFileError):
        identity.open(sealed, b"another")


def test_an_owner_has_one_and_the_same_identity(tmp_path: Path) -> None:
    key = Key.new()
    key.save(tmp_path / "owner.key")
    assert Identity.load(tmp_path / "owner.key") == Identity.of(key)
    assert Identity.of(key) != Identity.of(Key.new())
    assert Identity.of(key).secret not in (key.secret, key.subkey("codes"))


def test_its_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    identity, path = Identity.new(), tmp_path / "identity"
    identity.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load(path) == identity
    with pytest.raises(KeyFileError, match="never overwritten"):
        Identity.new().save(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Identity.load(path)


def test_its_text_shows_no_secret() -> None:
    identity = Identity.new()
    assert repr(identity.secret) not in repr(identity)
    assert identity.secret.hex() not in repr(identity)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    path.write_text("medprotect-identity 2\n" + "00" * 32 + "\n")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a medprotect identity"):
        Identity.load(path)
