"""What a run says of itself to others: without paths, and signed by the owner.

Paths may be personal, and hashes of clean files would tell who has a copy: both stay in the house,
in the receipt. A statement names files of OUT by what they hold.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, OutputError, VerificationError
from medprotect.protect.journal import STATES_IN_OUT
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import walk

SCHEMA_VERSION = 2
_READ_VERSIONS = (1, SCHEMA_VERSION)
"""Version 1 called every file with noise protected."""

NAME = "statement.json"
PURPOSE = "statement signature"
"""Of the subkey that signs: who knows it can make no noise and read no key."""

_DOMAIN = b"medprotect statement 1\n"
"""Is signed before the text, so that no signature of ours is good for anything else."""

_OF_RUN = (
    *("medprotect", "finished", "counts", "summary", "warnings", "statements", "strength", "key"),
    *("with_labels", "keep_uids", "along_z", "largest_share_of_budget", "pipelines", "backend"),
)
_WHERE_SAID = ("caveat", "forwarded")
"""What not every receipt says: earlier ones lack the first. Those of a node say the second besides:
how many of the files a peer has taken from OUT."""

_OF_FILE = (
    *("file", "outcome", "kind", "pipeline", "reason", "images", "share", "notes"),
    *("sha256_out", "size_out"),
)


def make_statement(receipt: Mapping[str, Any], date: str) -> dict[str, Any]:
    """Return what may leave the house of a receipt, as JSON takes it.

    Parameters
    ----------
    receipt : Mapping
        As `medprotect.protect.receipt.make_receipt` returns it, or
        `medprotect.network.receipt.node_receipt`.
    date : str
        Of today, YYYY-MM-DD.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "date": date,
        **{name: receipt[name] for name in _OF_RUN},
        **{name: receipt[name] for name in _WHERE_SAID if name in receipt},
        "files": [
            {name: line[name] for name in _OF_FILE if name in line} for line in receipt["files"]
        ],
    }


def sign(statement: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """Return a statement with its signature (Ed25519, RFC 8032) by a subkey of the owner's."""
    signature = _signing_key(key).sign(_signed_bytes(statement))
    return {"statement": dict(statement), "signature": signature.hex()}


def public_key(key: Key) -> str:
    """Return what others check the owner's signatures with: 64 hex digits, no secret."""
    return _signing_key(key).public_key().public_bytes_raw().hex()


def read_signed(path: Path, public: str) -> dict[str, Any]:
    """Read a signed statement and return it, if the owner of a public key has signed it.

    Parameters
    ----------
    path : Path
        As `sign` made it, as JSON.
    public : str
        As `public_key` returns it; obtained by another way than the file.

    Raises
    ------
    ConfigError
        The public key or the file is none.
    VerificationError
        Another key has signed it, or it was changed since.
    """
    try:
        verifier = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public.strip()))
    except ValueError:
        raise ConfigError(
            "The public key has 64 hex digits. Its owner shows it with `medprotect key public`."
        ) from None
    try:
        signed = json.loads(path.read_bytes())
        statement, signature = signed["statement"], bytes.fromhex(signed["signature"])
        version, text = statement["schema_version"], _signed_bytes(statement)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise ConfigError("The file is not a signed statement of a run.") from None
    try:
        verifier.verify(signature, text)
    except InvalidSignature:
        raise VerificationError(
            "The statement was not signed with this key, or was changed since: do not rely on it."
        ) from None
    if version not in _READ_VERSIONS:
        raise ConfigError(
            "The statement is of another version of medprotect. Check it with that version."
        )
    checked: dict[str, Any] = statement
    return checked


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of OUT that is not as stated.

    Attributes
    ----------
    slug : str
        ``missing``, ``not_stated`` or ``unsafe``.
    detail : str
        Which; nothing personal.
    """

    slug: str
    detail: str


def compare_with_out(statement: Mapping[str, Any], out: Path) -> list[Difference]:
    """Return where OUT is not what a statement says; empty where each file is one of its files.

    Raises
    ------
    OutputError
        OUT cannot be read.
    """
    stated = Counter(
        (line["sha256_out"], line["size_out"])
        for line in statement["files"]
        if line["outcome"] in STATES_IN_OUT
    )
    different: list[Difference] = []
    for sha256, size in _contents(out, different):
        if not stated[sha256, size]:
            different.append(Difference("not_stated", f"a file of {size} bytes, SHA-256 {sha256}"))
        else:
            stated[sha256, size] -= 1
    different += [
        Difference("missing", f"a file of {size} bytes, SHA-256 {sha256}")
        for (sha256, size), count in stated.items()
        for _ in range(count)
    ]
    return different


def _contents(out: Path, different: list[Difference]) -> Iterator[tuple[str, int]]:
    for found in walk(out):
        if found.unsafe:
            different.append(Difference("unsafe", f"a {found.unsafe.value}, which no run writes"))
            continue
        try:
            with (out / found.path).open("rb") as stream:
                yield sha256_of(stream), found.size
        except OSError as error:
            raise OutputError(f"A file of OUT cannot be read: {error.strerror}.") from error


def _signing_key(key: Key) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key.subkey(PURPOSE))


def _signed_bytes(statement: Mapping[str, Any]) -> bytes:
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _DOMAIN + text.encode()
