"""Check one file of a finished run against its original, from the disk."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from medprotect.errors import InputError, MedprotectError, PeerError, VerificationError
from medprotect.imaging import dicom, formats
from medprotect.imaging.image import Pair, Readable, Role
from medprotect.plan.plan import MaskNames
from medprotect.protect.comparison import compare_files
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.protectable import sha256_of
from medprotect.scan.walk import Found, Tree, join_under, open_found


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
        Entries by what became of them (`Entry.state`).
    checked, images : int
        Files of OUT compared with their originals, and images in them.
    read_twice : int
        Protected files of which two libraries read the same pixels, original and protected.
    by_name : int
        Files that look like images and were copied because they were said to be masks.
    checks_bound : bool
        Whether changes of pixels were compared with their budget: OUT was made by its rule.
    share : float
        Largest change of a pixel as a share of its budget; 0 where they were not compared.
    faults : list of Fault
        Empty where files are exact.
    """

    counts: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    images: int = 0
    read_twice: int = 0
    by_name: int = 0
    checks_bound: bool = True
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


@dataclass(frozen=True, slots=True)
class Trees:
    """Where the files of a run lie, what its journal says of them, and which UIDs became which.

    Attributes
    ----------
    export, out : Path or Tree
        Of the run.
    strength : str
        See `medprotect.intensity.budget.STRENGTHS`.
    there : mapping of str to Found
        The files of the export, by path.
    entries : mapping of str to Entry
        The journal's lines, by path.
    said_of_masks : mapping of str to list of str
        See `medprotect.plan.plan.MaskNames`.
    uids : mapping of str to str
        New UIDs by those of the export.
    checks_bound : bool
        See `Verification`.
    """

    export: Path | Tree
    out: Path | Tree
    strength: str
    there: Mapping[str, Found]
    entries: Mapping[str, Entry]
    said_of_masks: Mapping[str, list[str]]
    uids: Mapping[str, str]
    checks_bound: bool = True


def check_file(trees: Trees, number: int, entry: Entry) -> Verification:
    """Return what is found of one file.

    Parameters
    ----------
    trees : Trees
        Of the run; what it knows of this file, and of the other one of a pair, is enough.
    number : int
        Of the file, for its faults.
    entry : Entry
        The journal's line.

    Raises
    ------
    PeerError
        An object store is away.
    """
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


def _check(trees: Trees, entry: Entry, result: Verification) -> None:
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
            checked, is_read_twice = compare_files(
                *(original, protected, trees.strength, trees.uids),
                checks_bound=trees.checks_bound,
            )
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
    protected = stack.enter_context(open_written(out, entry))
    if sha256_of(protected) != entry.sha256_out:
        raise VerificationError("the file in OUT is not the one that was written")
    original = stack.enter_context(open_found(export, found))
    if sha256_of(original) != entry.sha256_in:
        raise VerificationError("the file of the export is not the one that was protected")
    return original, protected


def open_written(out: Path | Tree, entry: Entry) -> BinaryIO:
    """Open what a run wrote for an entry.

    Raises
    ------
    VerificationError
        It is missing.
    """
    if isinstance(out, Path):
        path = join_under(out, entry.row.out)
        if path.is_file() and not path.is_symlink():
            return path.open("rb")
    else:
        found = out.find(entry.row.out)
        if found is not None:
            return out.open(found)
    raise VerificationError("the file is missing from OUT")


def _open(trees: Trees, entry: Entry, stack: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    return open_both(trees.export, trees.out, entry, trees.there[entry.path], stack)


def _check_claim(trees: Trees, entry: Entry) -> None:
    """Check that a file of voxels belongs to a header that came as far."""
    header = trees.entries.get(entry.row.header)
    if header is None or header.row.voxels != entry.path or header.outcome != entry.outcome:
        raise VerificationError("no header in OUT names this file of voxels")


def _check_references(trees: Trees, entry: Entry, original: BinaryIO) -> None:
    """Check that the journal lists every reference to a protected image, and nothing else."""
    names = dicom.references_of(formats.read_without_pixels(original, "dicom"))
    if entry.remapped != {name: trees.uids[name] for name in names & trees.uids.keys()}:
        raise VerificationError("the journal lists other references than were to be remapped")


def _join_voxels(
    trees: Trees, entry: Entry, original: BinaryIO, protected: BinaryIO
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


def _check_copy(trees: Trees, entry: Entry, original: Readable, copy: Readable) -> None:
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


def _check_that_it_is_no_image(trees: Trees, entry: Entry, original: Readable) -> bool:
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
