"""One file of the export into its stream of a vault, and out of it again."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from medprotect.errors import InputChangedError, VaultError
from medprotect.scan.walk import join_under
from medprotect.vault.difference import (
    LARGEST_BYTES,
    PIECE_BYTES,
    Base,
    decode_piece,
    encode_piece,
)
from medprotect.vault.listing import Kept, Listing, read_listing
from medprotect.vault.recipients import Identity
from medprotect.vault.sealed import Head

LIST_STREAM = 0

_WRONG = "The vault does not give back the bytes that it was made from; do not rely on it."


def open_vault(vault: BinaryIO, identity: Identity) -> tuple[Head, Listing]:
    """Read the head and the list of a vault; the streams of its files follow.

    Raises
    ------
    VaultError
        It is damaged.
    KeyFileError
        It was not made for this identity.
    """
    head = Head.read(vault, identity)
    return head, read_listing(head.open(vault, LIST_STREAM, "", PIECE_BYTES))


def open_base(out: Path, kept: Kept, stack: ExitStack) -> Base:
    """Open the protected file that a file of the export is kept against, if there is one.

    Raises
    ------
    VaultError
        It is missing from OUT.
    """
    if not kept.out:
        return Base(None, 0, kept.size)
    path = join_under(out, kept.out)
    try:
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError
        stream = stack.enter_context(path.open("rb"))
    except OSError:
        raise VaultError(
            f"File {kept.number} is missing from OUT or cannot be read. OUT must be complete and "
            "unchanged."
        ) from None
    return Base(stream, kept.out_size, kept.size)


def fold(head: Head, kept: Kept, original: BinaryIO, base: Base) -> Iterator[bytes]:
    """Yield the stream of a file.

    Raises
    ------
    InputChangedError
        The file is not the one of the list.
    """
    return head.seal(kept.number, kept.path, _encoded(kept, original, base))


def _encoded(kept: Kept, original: BinaryIO, base: Base) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for index in range(kept.pieces):
        piece = original.read(PIECE_BYTES)
        digest.update(piece)
        yield encode_piece(piece, index * PIECE_BYTES, base)
    if digest.hexdigest() != kept.sha256 or original.read(1):
        raise InputChangedError(
            "changed while the vault was made; wait until nothing writes to the export"
        )


def unfold(head: Head, kept: Kept, vault: BinaryIO, base: Base) -> Iterator[bytes]:
    """Yield the bytes of a file, piece by piece; it is whole and right when this ends.

    Parameters
    ----------
    head : Head
        Of the vault.
    kept : Kept
        The file.
    vault : binary file
        Where its stream begins.
    base : Base
        The protected file.

    Raises
    ------
    VaultError
        The stream is damaged, or does not give the file back.
    """
    digest, left = hashlib.sha256(), kept.size
    for index, part in enumerate(head.open(vault, kept.number, kept.path, LARGEST_BYTES)):
        count = min(left, PIECE_BYTES)
        if index >= kept.pieces:
            raise VaultError(_WRONG)
        piece = decode_piece(part, index * PIECE_BYTES, count, base)
        digest.update(piece)
        left -= count
        yield piece
    if left or digest.hexdigest() != kept.sha256:
        raise VaultError(_WRONG)
