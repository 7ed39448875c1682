"""Check a finished run again, from the files on the disk.

The journal says what is to be there; receipt, files and pixels have to bear it out.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from medprotect.errors import (
    InputError,
    MedprotectError,
    OutputError,
    VerificationError,
)
from medprotect.imaging import dicom, formats
from medprotect.imaging.dicom.reference_check import read_new_uids
from medprotect.imaging.image import Role
from medprotect.protect.comparison import compare_files
from medprotect.protect.journal import IN_OUT, NAME, Entry, Journal, Outcome
from medprotect.protect.lock import hold_lock
from medprotect.protect.protectable import sha256_of
from medprotect.protect.receipt import NAME as RECEIPT
from medprotect.protect.receipt import count, file_lines
from medprotect.scan.walk import check_trees, join_under, open_found, walk


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not hold.

    Attributes
    ----------
    number : int
        Of the file, in the order of the export's paths; 0 for what is no file of the run.
    slug, detail : str
        What; nothing personal.
    """

    number: int
    slug: str
    detail: str


@dataclass(slots=True)
class Verification:
    """What was checked and found.

    Attributes
    ----------
    counts : Counter
        Entries by outcome.
    checked, images : int
        Files of OUT compared with their originals, and images in them.
    read_twice : int
        Protected files of which two libraries read the same pixels, original and protected.
    share : float
        Largest change of a pixel as a share of its budget.
    faults : list of Fault
        Empty where all holds.
    """

    counts: Counter[Outcome] = field(default_factory=Counter)
    checked: int = 0
    images: int = 0
    read_twice: int = 0
    share: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def verify_run(
    export: Path, out: Path, state: Path, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Check counts, bounds and headers of a run.

    Every entry of the export has one line in the journal and the same in the receipt; every file
    of OUT is the protected or copied form of one, with the bytes that were written; no copied file
    is an image; every pixel is within its budget and every header element as documented, computed
    anew from both files as `medprotect.protect.comparison` reads them.

    Parameters
    ----------
    export, out, state : Path
        Of the run.
    progress : callable, optional
        ``progress(files_done, files)``.

    Raises
    ------
    OutputError
        There is no finished run of this OUT, or one is at work.
    """
    check_trees(export, out, state)
    if not (state / NAME).is_file():
        raise OutputError("no run has written OUT: its state folder holds no journal")
    with hold_lock(state), Journal(state) as journal:
        identity = journal.about("identity")
        strength = str(identity.get("strength", ""))
        entries = list(journal.entries())
    result = Verification(counts=Counter(entry.outcome for entry in entries))
    unfinished = result.counts[Outcome.PLANNED] + result.counts[Outcome.STAGED]
    if unfinished:
        raise OutputError(f"the run is not finished, {unfinished} files are to come; go on first")
    there = {found.path: found for found in walk(export)}
    result.faults += _faults_of_trees(there.keys(), out, entries)
    result.faults += _faults_of_receipt(state / RECEIPT, identity, entries)
    uids = _read_uids(export, out, entries)
    present = [(at, e) for at, e in enumerate(entries, start=1) if e.outcome in IN_OUT]
    for done, (number, entry) in enumerate(present, start=1):
        try:
            if entry.path in there:
                current = replace(entry, row=replace(entry.row, found=there[entry.path]))
                _check(export, out, current, _Expected(strength, uids), result)
        except MedprotectError as error:
            result.faults.append(Fault(number, error.slug, str(error)))
        except OSError as error:
            result.faults.append(Fault(number, "unreadable", type(error).__name__))
        if progress:
            progress(done, len(present))
    return result


def _faults_of_trees(there: Set[str], out: Path, entries: list[Entry]) -> list[Fault]:
    faults = []
    known = {entry.path for entry in entries}
    for number, entry in enumerate(entries, start=1):
        if entry.path not in there:
            faults.append(Fault(number, "gone", "the file is gone from the export"))
    if there - known:
        count = len(there - known)
        faults.append(Fault(0, "new", f"{count} files of the export are newer than the run"))
    written = {entry.row.out for entry in entries if entry.outcome in IN_OUT}
    strange = {found.path for found in walk(out)} - written
    if strange:
        count = len(strange)
        faults.append(Fault(0, "foreign", f"{count} files in OUT were not written by the run"))
    return faults


def _faults_of_receipt(
    path: Path, identity: Mapping[str, object], entries: list[Entry]
) -> list[Fault]:
    """Compare the receipt with the journal: line by line, and what it says of the whole."""
    try:
        receipt = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
        lines = receipt["files"]
        same = {name: receipt[name] == identity[name] for name in ("strength", "key", "keep_uids")}
        same["counts"] = receipt["counts"] == count(entries)
        shares = max((entry.share for entry in entries), default=0.0)
        same["largest_share_of_budget"] = receipt["largest_share_of_budget"] == shares
        same["finished"] = receipt["finished"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return [Fault(0, "receipt", "the receipt is missing or damaged")]
    faults = [
        Fault(0, "receipt", f"the receipt says another thing than the journal: {name}")
        for name, is_same in same.items()
        if not is_same
    ]
    expected = json.loads(json.dumps(file_lines(entries)))
    if not isinstance(lines, list) or len(lines) != len(expected):
        return [*faults, Fault(0, "receipt", "the receipt has another number of files")]
    for number, (line, other) in enumerate(zip(lines, expected, strict=True), start=1):
        if line != other:
            faults.append(Fault(number, "receipt", "its line in the receipt is not the journal's"))
    return faults


@dataclass(frozen=True, slots=True)
class _Expected:
    """What holds of all files: the strength, and the new UIDs by the names of the old."""

    strength: str
    uids: dict[str, str]


def _read_uids(export: Path, out: Path, entries: list[Entry]) -> dict[str, str]:
    """Read which UIDs became which, from the files alone; what cannot be read shows later."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.outcome is Outcome.PROTECTED and entry.row.kind.startswith("dicom"):
            paths = join_under(export, entry.path), join_under(out, entry.row.out)
            if all(path.is_file() and not path.is_symlink() for path in paths):
                for name, uid in read_new_uids(*paths).items():
                    found.setdefault(name, uid)
    return found


def _check_references(original: BinaryIO, entry: Entry, expected: _Expected) -> None:
    """Check that the journal lists every reference to a protected image, and nothing else."""
    names = dicom.references_of(formats.read_without_pixels(original, "dicom"))
    if entry.remapped != {name: expected.uids[name] for name in names & expected.uids.keys()}:
        raise VerificationError("the journal lists other references than were to be remapped")


def _check(
    export: Path, out: Path, entry: Entry, expected: _Expected, result: Verification
) -> None:
    path = join_under(out, entry.row.out)
    if path.is_symlink() or not path.is_file():
        raise VerificationError("the file is missing from OUT")
    with path.open("rb") as protected, open_found(export, entry.row.found) as original:
        _check_streams(original, protected, entry, expected, result)


def _check_streams(
    original: BinaryIO, protected: BinaryIO, entry: Entry, expected: _Expected, result: Verification
) -> None:
    if sha256_of(protected) != entry.sha256_out:
        raise VerificationError("the file in OUT is not the one that was written")
    if sha256_of(original) != entry.sha256_in:
        raise VerificationError("the file of the export is not the one that was protected")
    result.checked += 1
    if entry.row.kind.startswith("dicom"):
        _check_references(original, entry, expected)
    if entry.outcome is Outcome.COPIED:
        _check_copy(original, protected, entry, expected)
        return
    try:
        checked, is_read_twice = compare_files(
            original, protected, expected.strength, expected.uids
        )
    except InputError as error:
        raise VerificationError(f"it cannot be read again: {error}") from None
    result.images += checked.images
    result.read_twice += is_read_twice
    result.share = max(result.share, checked.share)


def _check_copy(original: BinaryIO, copy: BinaryIO, entry: Entry, expected: _Expected) -> None:
    if formats.describe(original).role is not Role.OTHER:
        raise VerificationError("an image was copied as it was: it is not protected")
    if not entry.row.kind.startswith("dicom"):
        found = [] if entry.sha256_in == entry.sha256_out else ["it"]
    else:
        contents = [_read_all(stream) for stream in (original, copy)]
        found = dicom.undocumented_copy_changes(contents[0], contents[1], expected.uids)
    if found:
        raise VerificationError(f"the copy differs from its original in what may not: {found[0]}")


def _read_all(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read()
