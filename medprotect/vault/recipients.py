"""Who can open a vault: its owner, and whoever's public half it was made for.

The key of a vault is sealed for each by HPKE (RFC 9180, base mode: X25519, HKDF-SHA256,
ChaCha20-Poly1305). The owner is a recipient like others: the private half is a subkey of the
owner's key.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from medprotect.confounder import key as owner
from medprotect.confounder.key import Key
from medprotect.confounder.private_file import parse_secret, read_private, write_private
from medprotect.errors import ConfigError, KeyFileError

HEADER = "medprotect-identity 1"
PURPOSE = "vault recipient"
"""Of the owner's subkey: who knows it can open vaults, and make no noise."""

SEALED_BYTES = 32 + 32 + 16
"""Of a sealed key: HPKE's encapsulated key, the key itself, and a tag."""

_PREFIX = "mpr1"
_CHECK_DIGITS = 8
_BYTES = 32
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class Recipient:
    """The public half of an identity: what a vault is made for.

    Attributes
    ----------
    public : bytes
        32 bytes.
    """

    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` shows of a recipient.

        Raises
        ------
        ConfigError
            The text is none, or has a slip of the pen.
        """
        digits = text.strip().lower()
        try:
            public = bytes.fromhex(digits.removeprefix(_PREFIX)[:-_CHECK_DIGITS])
            if len(public) != _BYTES or str(cls(public)) != digits:
                raise ValueError
            cls(public).seal(bytes(_BYTES), b"")  # some numbers are no keys
        except ValueError:
            raise ConfigError(
                "The word of a recipient is incomplete or mistyped. Ask for it again; `medprotect "
                "key recipient` shows it."
            ) from None
        return cls(public)

    def __str__(self) -> str:
        check = hashlib.sha256(_PREFIX.encode() + self.public).hexdigest()[:_CHECK_DIGITS]
        return f"{_PREFIX}{self.public.hex()}{check}"

    def seal(self, secret: bytes, about: bytes) -> bytes:
        """Seal a secret so that this recipient alone can open it.

        Parameters
        ----------
        secret : bytes
            32 bytes.
        about : bytes
            What it is for; has to be the same when it is opened.
        """
        public = X25519PublicKey.from_public_bytes(self.public)
        return _SUITE.encrypt(secret, public, info=about)


@dataclass(frozen=True, slots=True)
class Identity:
    """The secret half: who has it can open the vaults made for it.

    Attributes
    ----------
    secret : bytes
        32 bytes.
    """

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Return an identity of fresh random bytes."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def of(cls, key: Key) -> Self:
        """Return that of the owner of a key."""
        return cls(key.subkey(PURPOSE))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file of an identity, or of an owner's key.

        Raises
        ------
        KeyFileError
            The file is missing, neither, or open to anyone but its owner.
        """
        text = read_private(path, "medprotect key identity FILE")
        if text.startswith(owner.HEADER + "\n"):
            return cls.of(Key.load(path))
        return cls(parse_secret(text, HEADER, "identity", _BYTES))

    def save(self, path: Path) -> None:
        """Write a new file, readable by its owner alone; never over an existing one.

        Raises
        ------
        KeyFileError
            The file exists or cannot be written.
        """
        write_private(path, HEADER, self.secret)

    @property
    def recipient(self) -> Recipient:
        """The public half."""
        return Recipient(self._private.public_key().public_bytes_raw())

    @property
    def _private(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.secret)

    def open(self, sealed: list[bytes], about: bytes) -> bytes:
        """Return the secret that was sealed for this identity among others.

        Raises
        ------
        KeyFileError
            None was.
        """
        for each in sealed:
            try:
                return _SUITE.decrypt(each, self._private, info=about)
            except (InvalidTag, ValueError):
                continue
        raise KeyFileError(
            "This key does not open the vault: it was made for others. Name the owner's key with "
            "--key, or a recipient's with --identity."
        )
