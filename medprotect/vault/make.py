"""Makes the vault of a finished run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from medprotect.confounder.key import Key
from medprotect.errors import (
    KeyFileError,
    MedprotectError,
    OutputError,
    UnsafePathError,
    VaultError,
    VerificationError,
)
from medprotect.protect.atomic import make_folders, mapped_errors, publish, write_chunks
from medprotect.protect.file_check import open_both
from medprotect.protect.journal import IN_OUT, Entry, Journal, Outcome
from medprotect.protect.journal import NAME as JOURNAL
from medprotect.protect.lock import hold_lock
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import Found, check_trees, join_under, open_found, walk
from medprotect.vault.folding import LIST_STREAM, fold, open_base, open_vault, unfold
from medprotect.vault.listing import Kept, Listing, count_reasons, write_listing
from medprotect.vault.places import check_vault_place, told_of
from medprotect.vault.recipients import Identity, Recipient
from medprotect.vault.sealed import Head, check_end

Progress = Callable[[str, int, int], None]
"""``progress(what is done, files done, files)``."""


@dataclass(frozen=True, slots=True)
class Made:
    """A vault that was made.

    Attributes
    ----------
    listing : Listing
        What it holds.
    size : int
        Its bytes.
    """

    listing: Listing
    size: int


def make_vault(
    export: Path,
    out: Path,
    state: Path,
    file: Path,
    key: Key,
    recipients: Sequence[Recipient] = (),
    progress: Progress = lambda *_: None,
) -> Made:
    """Write a vault from which, together with OUT, the whole export can be restored.

    It gets its name only after every file was restored from it, in memory, and was right.

    Parameters
    ----------
    export, out, state : Path
        Of the run.
    file : Path
        The vault; must not exist, nor lie in the export or an OUT.
    key : Key
        The owner's: the one that the run had.
    recipients : sequence of Recipient, optional
        Who can open it besides the owner.
    progress : callable, optional
        Is told how it goes.

    Raises
    ------
    KeyFileError
        The run had another key.
    InputError, VerificationError
        The export or OUT are no more as the run read and left them.
    OutputError, StorageError
        There is no finished run of this OUT, or the vault cannot be written.
    """
    check_trees(export, out, state)
    check_vault_place(file, export, out)
    if not (state / JOURNAL).is_file():
        raise OutputError(
            "no run wrote OUT: its state folder holds no journal; name that folder with --state"
        )
    with hold_lock(state):
        making = _Making(export, out, _read_entries(state, key), progress)
        listing = making.list_files()
        everyone = dict.fromkeys((Identity.of(key).recipient, *recipients))
        head = Head.new(list(everyone))
        partial = file.with_name(f".{file.name}.part")
        with told_of("The vault"), mapped_errors():
            make_folders(file.parent)
            partial.unlink(missing_ok=True)
        try:
            with told_of("The vault"):
                write_chunks(partial, making.write(head, listing), 0o600)
            making.check(partial, Identity.of(key), listing)
            size = partial.stat().st_size
            with told_of("The vault"):
                publish(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    return Made(listing, size)


def _read_entries(state: Path, key: Key) -> list[Entry]:
    with Journal(state) as journal:
        made_with = str(journal.about("identity").get("key", ""))
        entries = list(journal.entries())
    unfinished = sum(entry.outcome in (Outcome.PLANNED, Outcome.STAGED) for entry in entries)
    if unfinished:
        raise OutputError(
            f"the run is not finished: {unfinished} files are missing; finish it first"
        )
    if made_with != key.fingerprint:
        raise KeyFileError(
            f"The run used the key {made_with}, and this is {key.fingerprint}. Name the key of the "
            "run with --key."
        )
    return entries


class _Making:
    """The files of a run, on their way into a vault."""

    def __init__(self, export: Path, out: Path, entries: list[Entry], progress: Progress) -> None:
        self._export, self._out, self._entries, self._progress = export, out, entries, progress
        self._there = {found.path: found for found in walk(export)}

    def list_files(self) -> Listing:
        """Return the list of what is kept; every file is hashed, and compared with the journal."""
        known = {entry.path for entry in self._entries}
        if known != self._there.keys():
            new, gone = len(self._there.keys() - known), len(known - self._there.keys())
            raise VerificationError(
                f"the export is not as the run found it: {new} files are new, {gone} are gone; "
                "give the command of the run again, then make the vault"
            )
        files, reasons = [], []
        for number, entry in enumerate(self._entries, start=1):
            found = self._there[entry.path]
            reason = found.unsafe or _reason_of_name(self._export, found)
            if reason:
                reasons.append(str(reason))
            else:
                files.append(self._list_file(number, entry, found))
            self._progress("reading", number, len(self._entries))
        return Listing(tuple(files), count_reasons(reasons))

    def _list_file(self, number: int, entry: Entry, found: Found) -> Kept:
        with _numbered(number), ExitStack() as stack:
            kept = Kept(number, entry.path, found.size, found.mtime_ns, entry.sha256_in)
            if entry.outcome in IN_OUT:
                open_both(self._export, self._out, entry, found, stack)
                size = join_under(self._out, entry.row.out).stat().st_size
                return replace(kept, out=entry.row.out, out_size=size, out_sha256=entry.sha256_out)
            sha256 = sha256_of(stack.enter_context(open_found(self._export, found)))
            if entry.sha256_in not in ("", sha256):
                raise VerificationError("the file of the export is not the one that the run read")
            return replace(kept, sha256=sha256)

    def write(self, head: Head, listing: Listing) -> Iterator[bytes]:
        """Yield the bytes of the vault."""
        yield head.data
        yield from head.seal(LIST_STREAM, "", write_listing(listing))
        for done, kept in enumerate(listing.files, start=1):
            with _numbered(kept.number), ExitStack() as stack:
                base = open_base(self._out, kept, stack)
                found = self._there[kept.path]
                original = stack.enter_context(open_found(self._export, found))
                yield from fold(head, kept, original, base)
            self._progress("writing", done, len(listing.files))

    def check(self, file: Path, identity: Identity, listing: Listing) -> None:
        """Restore every file from the vault that was written, in memory."""
        with file.open("rb") as vault:
            head, read = open_vault(vault, identity)
            if read != listing:
                raise VaultError("The vault does not read as it was written; try another disk.")
            for done, kept in enumerate(listing.files, start=1):
                with ExitStack() as stack:
                    for _ in unfold(head, kept, vault, open_base(self._out, kept, stack)):
                        pass
                self._progress("checking", done, len(listing.files))
            check_end(vault)


def _reason_of_name(export: Path, found: Found) -> str:
    try:
        join_under(export, found.path)
    except UnsafePathError:
        return "name"
    return ""


@contextmanager
def _numbered(number: int) -> Iterator[None]:
    """Tell which file an error is about."""
    try:
        yield
    except MedprotectError as error:
        raise type(error)(f"file {number}: {error}") from None
    except OSError as error:
        raise UnsafePathError(f"file {number} cannot be read ({error.strerror})") from None
