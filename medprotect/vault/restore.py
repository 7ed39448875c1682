"""Gives the export back, from OUT and its vault."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from medprotect.errors import ConfigError, OutputError, StateLockedError, VaultError
from medprotect.protect.atomic import (
    check_space,
    fsync_dir,
    make_folders,
    mapped_errors,
    write_chunks,
)
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import join_under
from medprotect.vault.folding import open_base, open_vault, unfold
from medprotect.vault.listing import Kept, Listing, check_paths
from medprotect.vault.places import check_back, told_of
from medprotect.vault.recipients import Identity
from medprotect.vault.sealed import Head, check_end

Progress = Callable[[str, int, int], None]


def restore_export(
    out: Path,
    file: Path,
    back: Path,
    identity: Identity,
    progress: Progress = lambda *_: None,
) -> Listing:
    """Write the export again, byte for byte, into a new folder; whole or not at all.

    Parameters
    ----------
    out : Path
        What the run wrote.
    file : Path
        The vault.
    back : Path
        A new folder, readable by its owner alone.
    identity : Identity
        Of the owner or a recipient.
    progress : callable, optional
        ``progress(what is done, files done, files)``.

    Returns
    -------
    Listing
        What was restored, and how much was not kept.

    Raises
    ------
    KeyFileError
        The vault was not made for this identity.
    VaultError
        It is damaged, or OUT is not as the run left it.
    OutputError, StorageError
        BACK exists, or cannot be written.
    """
    check_back(back, out)
    if not out.is_dir():
        raise OutputError("OUT is not a folder; name what the run wrote.")
    with _open_file(file) as vault:
        head, listing = open_vault(vault, identity)
        check_paths(listing, out, back)
        _check_out(out, listing, progress)
        with _scratch_folder(back) as scratch:
            with told_of("BACK"):
                check_space(scratch, listing.size)
            for done, kept in enumerate(listing.files, start=1):
                _restore_file(head, kept, vault, out, scratch)
                progress("restoring", done, len(listing.files))
            check_end(vault)
            with told_of("BACK"):
                _publish(scratch, back)
    return listing


@contextmanager
def _open_file(file: Path) -> Iterator[BinaryIO]:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise ConfigError(f"The vault cannot be opened: {error.strerror}.") from None
    with stream:
        yield stream


def _check_out(out: Path, listing: Listing, progress: Progress) -> None:
    """Check that all files of OUT are as the run left them."""
    for done, kept in enumerate(listing.files, start=1):
        with ExitStack() as stack:
            base = open_base(out, kept, stack)
            if base.stream and sha256_of(base.stream) != kept.out_sha256:
                raise VaultError(
                    f"File {kept.number} of OUT was changed after the run. Put back the OUT that "
                    "belongs to the vault."
                )
        progress("reading", done, len(listing.files))


def _restore_file(head: Head, kept: Kept, vault: BinaryIO, out: Path, scratch: Path) -> None:
    path = join_under(scratch, kept.path)
    with ExitStack() as stack, told_of("BACK"):
        make_folders(path.parent)
        write_chunks(path, unfold(head, kept, vault, open_base(out, kept, stack)))
        with mapped_errors():
            os.utime(path, ns=(kept.mtime_ns, kept.mtime_ns))


@contextmanager
def _scratch_folder(back: Path) -> Iterator[Path]:
    """Make a folder beside BACK, readable by its owner alone; on any error nothing is left of it.

    It always has the same name, so that what a killed process left there in clear is found, and
    removed, by the next.
    """
    scratch = back.with_name(f".{back.name}.part")
    with told_of("BACK"), mapped_errors():
        make_folders(back.parent)
        make_folders(scratch, mode=0o700)
        descriptor = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateLockedError(
                "another command restores to the same BACK; wait for it, or end it"
            ) from None
        try:
            with told_of("BACK"), mapped_errors():
                scratch.chmod(0o700)
                _empty(scratch)
            yield scratch
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _publish(scratch: Path, back: Path) -> None:
    with mapped_errors():
        if os.path.lexists(back):  # a rename would take the place of an empty folder
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        scratch.rename(back)
    fsync_dir(back.parent)
