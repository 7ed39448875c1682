"""The owner's secret: seeds codes and decoys, derives new UIDs.

One secret of 32 random bytes; each purpose has its own subkey (HKDF-SHA256, RFC 5869), so that
what one purpose lets out says nothing about another.
"""

import hashlib
import hmac
import os
import secrets
import shlex
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, Self

from medprotect.confounder.along_z import COHERENT
from medprotect.confounder.private_file import parse_secret, read_private, write_private
from medprotect.errors import KeyFileError

HEADER = "medprotect-key 1"
SECRET_BYTES = 32
UID_FORMAT = 1


def default_key_path() -> Path:
    """Return where `medprotect run` keeps the key: in the user's configuration folder."""
    # The XDG specification: a relative path in the variable is to be ignored.
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    root = configured if configured.is_absolute() else Path.home() / ".config"
    return root / "medprotect" / "owner.key"


@dataclass(frozen=True, slots=True)
class Key:
    """The owner's key; its text form never shows the secret.

    Parameters
    ----------
    secret : bytes
        32 random bytes.

    Raises
    ------
    KeyFileError
        `secret` has another length.

    Examples
    --------
    >>> from pathlib import Path
    >>> import medprotect
    >>> key = medprotect.Key.new()
    >>> key.save(Path("owner.key"))
    >>> medprotect.Key.load(Path("owner.key")) == key
    True
    >>> len(key.fingerprint)
    16
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise KeyFileError(f"The key does not hold {SECRET_BYTES} bytes. Make a new one.")

    @classmethod
    def new(cls) -> Self:
        """Return a key of fresh random bytes."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file.

        Raises
        ------
        KeyFileError
            The file is missing, no key, or open to anyone but its owner.
        """
        text = read_private(path, f"medprotect key new {shlex.quote(str(path))}")
        return cls(parse_secret(text, HEADER, "key", SECRET_BYTES))

    def save(self, path: Path) -> None:
        """Write a new key file, readable by its owner alone; never over an existing one.

        Raises
        ------
        KeyFileError
            The file exists or cannot be written.
        """
        write_private(path, HEADER, self.secret)

    @classmethod
    def backup(cls, path: Path, to: Path) -> Self:
        """Copy the key file `path` to `to`, read the copy again, and return the key.

        Raises
        ------
        KeyFileError
            `path` is no key, `to` exists, or the copy does not read the same.
        """
        key = cls.load(path)
        key.save(to)
        if cls.load(to) != key:
            raise KeyFileError(f"The copy {to} does not read the same; try another disk.")
        return key

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled, unless it is to start a process: pickles are kept on disks."""
        if get_spawning_popen() is None:
            raise KeyFileError("A key cannot be pickled. Load it from its file where it is needed.")
        return type(self), (self.secret,)

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell keys apart and reveal nothing of them."""
        return self.subkey("fingerprint")[:8].hex()

    def subkey(self, purpose: str) -> bytes:
        """Return the 32-byte subkey for one purpose.

        Parameters
        ----------
        purpose : str
            ``uids``, ``codes``, ``decoys``, ``phases``, ``fingerprint`` ...
        """
        info = f"medprotect {purpose}".encode()
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self.secret)

    def new_uid(
        self,
        kind: str,
        source_uid: str,
        *,
        pipeline_sha256: str,
        strength: str,
        decoys: bool,
        along_z: str = COHERENT,
    ) -> str:
        """Derive the UID of a protected object from that of its source.

        The same inputs give the same UID, so a resumed run agrees with itself; any other pixel
        stream (pipeline, strength, decoys, way along z) has another UID. In the form of PS3.5 B.2,
        without the version bits of a UUID: ``2.25.`` and 128 bits.

        Parameters
        ----------
        kind : str
            ``instance`` or ``series``.
        source_uid : str
            UID in the export.
        pipeline_sha256, strength : str
            From the plan.
        decoys : bool
            Whether the pipeline's decoys are on.
        along_z : str
            ``coherent`` or ``independent``.
        """
        fields = [
            str(UID_FORMAT),
            kind,
            source_uid,
            pipeline_sha256,
            strength,
            "decoys" if decoys else "no decoys",
        ]
        if along_z != COHERENT:  # the UIDs of coherent noise are older than the choice
            fields.append(f"{along_z} along z")
        digest = hmac.new(self.subkey("uids"), _encode(fields), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _encode(fields: list[str]) -> bytes:
    """Join texts so that no two lists give the same bytes: each with its length before it."""
    parts = [text.encode() for text in fields]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
