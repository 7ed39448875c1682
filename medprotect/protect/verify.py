"""Check a finished run again, from the files on the disk.

The journal says what is to be there; receipt, files and pixels have to bear it out.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from medprotect.errors import (
    InputError,
    MedprotectError,
    OutputError,
    PeerError,
    VerificationError,
)
from medprotect.imaging import dicom, formats
from medprotect.imaging.dicom.reference_check import read_new_uids
from medprotect.imaging.image import Pair, Readable, Role
from medprotect.plan.plan import MaskNames, is_folder_marker
from medprotect.protect.comparison import compare_files
from medprotect.protect.journal import IN_OUT, NAME, Entry, Journal, Outcome
from medprotect.protect.lock import hold_lock
from medprotect.protect.processes import spread
from medprotect.protect.protectable import sha256_of
from medprotect.protect.receipt import NAME as RECEIPT
from medprotect.protect.receipt import count, file_lines
from medprotect.protect.resume import MASK_NAMES
from medprotect.scan.walk import Found, Tree, check_trees, join_under, open_found, walk

_SAID_TWICE = ("strength", "key", "keep_uids", "along_z", MASK_NAMES)
"""What journal and receipt both say of the whole run."""

_FILES_A_PROCESS = 20
"""So many take as long as a process takes to begin."""


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
    by_name : int
        Files that look like images and were copied because they were said to be masks.
    share : float
        Largest change of a pixel as a share of its budget.
    faults : list of Fault
        Empty where all holds.
    """

    counts: Counter[Outcome] = field(default_factory=Counter)
    checked: int = 0
    images: int = 0
    read_twice: int = 0
    by_name: int = 0
    share: float = 0.0
    faults: list[Fault] = field(default_factory=list)

    def add(self, part: "Verification") -> None:
        """Add what was found of some files; entries were counted before."""
        self.checked += part.checked
        self.images += part.images
        self.read_twice += part.read_twice
        self.by_name += part.by_name
        self.share = max(self.share, part.share)
        self.faults += part.faults


def verify_run(
    export: Path | Tree,
    out: Path | Tree,
    state: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    jobs: int = 1,
) -> Verification:
    """Check counts, bounds and headers of a run.

    Every entry of the export has one line in the journal and the same in the receipt; every file
    of OUT is the protected or copied form of one, with the bytes that were written; no copied file
    is an image; every pixel is within its budget and every header element as documented, computed
    anew from both files as `medprotect.protect.comparison` reads them.

    Parameters
    ----------
    export, out : Path or Tree
        Of the run.
    state : Path
        Of the run.
    progress : callable, optional
        ``progress(files_done, files)``.
    jobs : int
        Processes that files are checked in, where both trees are folders; few files are checked
        in this one.

    Raises
    ------
    OutputError
        There is no finished run of this OUT, or one is at work.
    PeerError
        An object store is away.
    """
    export_folder, out_folder = (tree if isinstance(tree, Path) else None for tree in (export, out))
    check_trees(export_folder, out_folder, state)
    if not (state / NAME).is_file():
        raise OutputError("no run has written OUT: its state folder holds no journal")
    with hold_lock(state), Journal(state) as journal:
        identity = journal.about("identity")
        strength = str(identity.get("strength", ""))
        said = journal.about(MASK_NAMES)
        entries = list(journal.entries())
    result = Verification(counts=Counter(entry.outcome for entry in entries))
    unfinished = result.counts[Outcome.PLANNED] + result.counts[Outcome.STAGED]
    if unfinished:
        raise OutputError(f"the run is not finished, {unfinished} files are to come; go on first")
    there = {found.path: found for found in walk(export)}
    written = {found.path for found in walk(out) if not is_folder_marker(found)}
    result.faults += _faults_of_trees(there.keys(), written, entries)
    result.faults += _faults_of_receipt(state / RECEIPT, {**identity, MASK_NAMES: said}, entries)
    by_path, uids = {e.path: e for e in entries}, _read_uids(export, out, there, entries)
    trees = _Trees(export, out, strength, there, by_path, said, uids)
    present = [(at, e) for at, e in enumerate(entries, start=1) if e.outcome in IN_OUT]
    for done, part in enumerate(_check_files(trees, present, jobs), start=1):
        result.add(part)
        if progress:
            progress(done, len(present))
    return result


def _faults_of_trees(there: Set[str], in_out: Set[str], entries: list[Entry]) -> list[Fault]:
    faults = []
    known = {entry.path for entry in entries}
    for number, entry in enumerate(entries, start=1):
        if entry.path not in there:
            faults.append(Fault(number, "gone", "the file is gone from the export"))
    if there - known:
        count = len(there - known)
        faults.append(Fault(0, "new", f"{count} files of the export are newer than the run"))
    written = {entry.row.out for entry in entries if entry.outcome in IN_OUT}
    strange = in_out - written
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
        same = {name: receipt[name] == identity[name] for name in _SAID_TWICE}
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
class _Trees:
    """Where the files of a run lie, what its journal says of them, and which UIDs became which."""

    export: Path | Tree
    out: Path | Tree
    strength: str
    there: Mapping[str, Found]
    entries: Mapping[str, Entry]
    said_of_masks: Mapping[str, list[str]]
    uids: Mapping[str, str]


def _read_uids(
    export: Path | Tree, out: Path | Tree, there: Mapping[str, Found], entries: list[Entry]
) -> dict[str, str]:
    """Read which UIDs became which, from the files alone; what cannot be read shows later."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.outcome is Outcome.PROTECTED and entry.row.kind.startswith("dicom"):
            with ExitStack() as stack, suppress(InputError, VerificationError, OSError, KeyError):
                original = stack.enter_context(open_found(export, there[entry.path]))
                protected = stack.enter_context(_open_written(out, entry))
                for name, uid in read_new_uids(original, protected).items():
                    found.setdefault(name, uid)
    return found


def _check_files(
    trees: _Trees, present: list[tuple[int, Entry]], jobs: int
) -> Iterator[Verification]:
    """Yield what is found of each file, in order."""
    jobs = min(jobs, len(present) // _FILES_A_PROCESS)
    if jobs < 2 or not (isinstance(trees.export, Path) and isinstance(trees.out, Path)):
        return (_check_file(trees, *each) for each in present)
    shared = replace(trees, there={}, entries={})
    asked = ((each, _excerpt(trees, each[1])) for each in present)
    return spread(_check_excerpt, shared, asked, jobs)


@dataclass(frozen=True, slots=True)
class _Excerpt:
    """What is known of one file, and of the other one of a pair."""

    there: dict[str, Found]
    entries: dict[str, Entry]


def _excerpt(trees: _Trees, entry: Entry) -> _Excerpt:
    paths = {entry.path, entry.row.header, entry.row.voxels}
    return _Excerpt(
        {path: trees.there[path] for path in paths if path in trees.there},
        {path: trees.entries[path] for path in paths if path in trees.entries},
    )


def _check_excerpt(trees: _Trees, asked: tuple[tuple[int, Entry], _Excerpt]) -> Verification:
    each, known = asked
    return _check_file(replace(trees, there=known.there, entries=known.entries), *each)


def _check_file(trees: _Trees, number: int, entry: Entry) -> Verification:
    result = Verification()
    try:
        if entry.path in trees.there:
            _check(trees, entry, result)
    except PeerError:
        raise
    except MedprotectError as error:
        result.faults.append(Fault(number, error.slug, str(error)))
    except OSError as error:
        result.faults.append(Fault(number, "unreadable", type(error).__name__))
    return result


def _check(trees: _Trees, entry: Entry, result: Verification) -> None:
    with ExitStack() as stack:
        streams = _open(trees, entry, stack)
        result.checked += 1
        if entry.row.header:  # its voxels are looked at with it
            _check_claim(trees, entry)
            return
        original: Readable
        protected: Readable
        original, protected = streams
        if entry.row.voxels:
            original, protected = _join_voxels(trees, entry, *streams)
        elif entry.row.kind.startswith("dicom"):
            _check_references(trees, entry, streams[0])
        if entry.outcome is Outcome.COPIED:
            result.by_name += _check_that_it_is_no_image(trees, entry, original)
            _check_copy(trees, entry, original, protected)
            return
        try:
            checked, is_read_twice = compare_files(original, protected, trees.strength, trees.uids)
        except InputError as error:
            raise VerificationError(f"it cannot be read again: {error}") from None
    result.images += checked.images
    result.read_twice += is_read_twice * (2 if entry.row.voxels else 1)
    result.share = max(result.share, checked.share)


def open_both(
    export: Path | Tree, out: Path | Tree, entry: Entry, found: Found, stack: ExitStack
) -> tuple[BinaryIO, BinaryIO]:
    """Open a file of the export and the one in OUT, whose bytes are those of the journal.

    Parameters
    ----------
    export, out : Path or Tree
        Of the run.
    entry : Entry
        The journal's line.
    found : Found
        The file of the export as it is now.
    stack : ExitStack
        Closes both.

    Raises
    ------
    VerificationError
        One is not what the run read or wrote.
    """
    protected = stack.enter_context(_open_written(out, entry))
    if sha256_of(protected) != entry.sha256_out:
        raise VerificationError("the file in OUT is not the one that was written")
    original = stack.enter_context(open_found(export, found))
    if sha256_of(original) != entry.sha256_in:
        raise VerificationError("the file of the export is not the one that was protected")
    return original, protected


def _open_written(out: Path | Tree, entry: Entry) -> BinaryIO:
    if isinstance(out, Path):
        path = join_under(out, entry.row.out)
        if path.is_file() and not path.is_symlink():
            return path.open("rb")
    else:
        found = out.find(entry.row.out)
        if found is not None:
            return out.open(found)
    raise VerificationError("the file is missing from OUT")


def _open(trees: _Trees, entry: Entry, stack: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    return open_both(trees.export, trees.out, entry, trees.there[entry.path], stack)


def _check_claim(trees: _Trees, entry: Entry) -> None:
    """Check that a file of voxels belongs to a header that came as far."""
    header = trees.entries.get(entry.row.header)
    if header is None or header.row.voxels != entry.path or header.outcome != entry.outcome:
        raise VerificationError("no header in OUT names this file of voxels")


def _check_references(trees: _Trees, entry: Entry, original: BinaryIO) -> None:
    """Check that the journal lists every reference to a protected image, and nothing else."""
    names = dicom.references_of(formats.read_without_pixels(original, "dicom"))
    if entry.remapped != {name: trees.uids[name] for name in names & trees.uids.keys()}:
        raise VerificationError("the journal lists other references than were to be remapped")


def _join_voxels(
    trees: _Trees, entry: Entry, original: BinaryIO, protected: BinaryIO
) -> tuple[Pair, Pair]:
    """Return both files of a pair, before and after, each header with the voxels it names."""
    voxels = trees.entries.get(entry.row.voxels)
    if voxels is None or voxels.row.header != entry.path or entry.row.voxels not in trees.there:
        raise VerificationError("the voxels of this header have no line of their own")
    if (voxels.row.out, entry.row.out) != (voxels.path, entry.path):
        raise VerificationError("a header or its voxels have another name in OUT")
    folder, slash, name = entry.path.rpartition("/")
    headers = [_read_all(header) for header in (original, protected)]
    for header in headers:
        detached = formats.describe(BytesIO(header)).detached
        names = detached.names_for(name) if detached else ()
        if voxels.path not in [folder + slash + each for each in names]:
            raise VerificationError("the header does not name the file of its voxels")
    with ExitStack() as stack:
        before, after = map(_read_all, _open(trees, voxels, stack))
    return Pair(headers[0], before), Pair(headers[1], after)


def _check_copy(trees: _Trees, entry: Entry, original: Readable, copy: Readable) -> None:
    """Check that a copy differs in nothing but references to protected images."""
    found = []
    if isinstance(original, Pair) or isinstance(copy, Pair):
        found = [] if original == copy else ["it"]
    elif entry.row.kind.startswith("dicom"):
        contents = [_read_all(stream) for stream in (original, copy)]
        found = dicom.undocumented_copy_changes(contents[0], contents[1], trees.uids)
    elif entry.sha256_in != entry.sha256_out:
        found = ["it"]
    if found:
        raise VerificationError(f"the copy differs from its original in what may not: {found[0]}")


def _check_that_it_is_no_image(trees: _Trees, entry: Entry, original: Readable) -> bool:
    """Check a copied file; return whether it looks like an image and was said to be a mask."""
    said = MaskNames(**{name: tuple(each) for name, each in trees.said_of_masks.items()})
    is_mask = said.say_of(entry.path)
    header: BinaryIO = BytesIO(original.header) if isinstance(original, Pair) else original
    voxels = BytesIO(original.voxels) if isinstance(original, Pair) else None
    header.seek(0)
    found = formats.describe(header, voxels, finds_masks=is_mask is not False)
    if found.role is not Role.OTHER and not is_mask:
        raise VerificationError("an image was copied as it was: it is not protected")
    return found.role is not Role.OTHER


def _read_all(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read()
