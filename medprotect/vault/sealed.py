"""Bytes that nobody reads without the vault's key, and nobody changes, reorders or shortens.

A vault is a head, in clear, and streams. The head says for whom the key is sealed; a hash of it
goes into every other key, so that all of it is bound to all that follows. Stream 0 is the list of
files; stream n holds file n. Each has a key of its own (HKDF-SHA256, RFC 5869) and is cut into
chunks, sealed one by one with ChaCha20-Poly1305 (RFC 8439) after the STREAM construction (Hoang,
Reyhanitabar, Rogaway, Vizár 2015): the nonce is the number of the chunk and whether it is the last.
The number of the stream and the path of the file are associated data.

::

    head    "medprotect-vault 1" and a line feed, id (16 bytes), count (2),
            sealed keys (80 each), SHA-256 of all that (32)
    chunk   length (4; its highest bit says that it is the last), ciphertext, tag (16)

All numbers are big-endian.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medprotect.errors import ConfigError, VaultError
from medprotect.limits import VAULT_RECIPIENTS
from medprotect.vault.recipients import SEALED_BYTES, Identity, Recipient

MAGIC = b"medprotect-vault 1\n"
_ID_BYTES, _SECRET_BYTES, _HASH_BYTES, _TAG_BYTES = 16, 32, 32, 16
_LAST = 1 << 31
_DAMAGED = "The vault is damaged or was changed; restore it from its backup."


@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the beginning of a vault, and its key.

    Attributes
    ----------
    data : bytes
        As in the file.
    secret : bytes
        The key of the vault; of 32 bytes, for this one alone.
    """

    data: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, recipients: Sequence[Recipient]) -> Self:
        """Return the head of a new vault, and its key.

        Raises
        ------
        ConfigError
            There are too many recipients, or none.
        """
        if not 0 < len(recipients) <= VAULT_RECIPIENTS:
            raise ConfigError(
                f"A vault has at least one recipient, and at most {VAULT_RECIPIENTS}."
            )
        number, secret = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(_SECRET_BYTES)
        sealed = [each.seal(secret, MAGIC + number) for each in recipients]
        body = b"".join([MAGIC, number, len(sealed).to_bytes(2), *sealed])
        return cls(body + hashlib.sha256(body).digest(), secret)

    @classmethod
    def read(cls, stream: BinaryIO, identity: Identity) -> Self:
        """Read a head, and open its key.

        Raises
        ------
        VaultError
            It is damaged, or no vault's.
        KeyFileError
            It was not made for this identity.
        """
        if stream.read(len(MAGIC)) != MAGIC:
            raise VaultError(
                "The file is not a vault of this version of medprotect, or is damaged."
            )
        number = _read(stream, _ID_BYTES)
        count = _read(stream, 2)
        sealed = [_read(stream, SEALED_BYTES) for _ in range(int.from_bytes(count))]
        body = b"".join([MAGIC, number, count, *sealed])
        # Nothing is trusted because of this hash: it tells damage from a key that is not the right.
        if _read(stream, _HASH_BYTES) != hashlib.sha256(body).digest():
            raise VaultError(_DAMAGED)
        secret = identity.open(sealed, MAGIC + number)
        if len(secret) != _SECRET_BYTES:
            raise VaultError(_DAMAGED)
        return cls(body + hashlib.sha256(body).digest(), secret)

    def seal(self, number: int, path: str, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the bytes of a stream.

        Parameters
        ----------
        number : int
            Of the stream; no two of a vault have the same.
        path : str
            Of the file in it.
        parts : iterable of bytes
            What is to be sealed; each becomes a chunk.
        """
        cipher, about = self._cipher(number), _about(number, path)
        index, waiting = 0, b""
        for index, part in enumerate(parts):
            if index:
                yield from _seal(cipher, about, index - 1, waiting, is_last=False)
            waiting = part
        yield from _seal(cipher, about, index, waiting, is_last=True)

    def open(self, stream: BinaryIO, number: int, path: str, largest: int) -> Iterator[bytes]:
        """Yield the parts of a stream, each as it was sealed; the last one ends it.

        Parameters
        ----------
        stream : binary file
            Where it begins.
        number, path
            As it was sealed with.
        largest : int
            Most bytes of a part.

        Raises
        ------
        VaultError
            A chunk was changed, is missing, or stands at another place than where it was.
        """
        cipher, about = self._cipher(number), _about(number, path)
        index, is_last = 0, False
        while not is_last:
            prefix = int.from_bytes(_read(stream, 4))
            length, is_last = prefix & ~_LAST, bool(prefix & _LAST)
            if length > largest + _TAG_BYTES:
                raise VaultError(_DAMAGED)
            try:
                yield cipher.decrypt(_nonce(index, is_last), _read(stream, length), about)
            except InvalidTag:
                raise VaultError(_DAMAGED) from None
            index += 1

    def _cipher(self, number: int) -> ChaCha20Poly1305:
        salt, info = hashlib.sha256(self.data).digest(), b"medprotect vault 1 stream "
        kdf = HKDF(algorithm=SHA256(), length=32, salt=salt, info=info + number.to_bytes(8))
        return ChaCha20Poly1305(kdf.derive(self.secret))


def _seal(
    cipher: ChaCha20Poly1305, about: bytes, index: int, part: bytes, *, is_last: bool
) -> Iterator[bytes]:
    sealed = cipher.encrypt(_nonce(index, is_last), part, about)
    yield (len(sealed) | (_LAST if is_last else 0)).to_bytes(4)
    yield sealed


def _about(number: int, path: str) -> bytes:
    return number.to_bytes(8) + path.encode()


def _nonce(index: int, is_last: bool) -> bytes:
    return index.to_bytes(11) + bytes([is_last])


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise VaultError(_DAMAGED)
    return data


def check_end(stream: BinaryIO) -> None:
    """Check that nothing follows.

    Raises
    ------
    VaultError
        Something does.
    """
    if stream.read(1):
        raise VaultError(_DAMAGED)
