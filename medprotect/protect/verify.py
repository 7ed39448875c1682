"""Check a finished run again, from the files on the disk.

The journal says what is to be there; receipt, files and pixels have to bear it out.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from medprotect.confounder.measured import caveat_in_words
from medprotect.errors import InputError, OutputError, VerificationError
from medprotect.imaging.dicom.reference_check import read_new_uids
from medprotect.intensity.budget import BUDGET_RULE
from medprotect.plan.plan import is_folder_marker
from medprotect.protect.file_check import Fault, Trees, Verification, check_file, open_written
from medprotect.protect.journal import IN_OUT, NAME, Entry, Journal, Outcome
from medprotect.protect.lock import hold_lock
from medprotect.protect.processes import spread
from medprotect.protect.receipt import NAME as RECEIPT
from medprotect.protect.receipt import count, file_lines, read_receipt, summary_in_words
from medprotect.protect.resume import MASK_NAMES
from medprotect.protect.summary import TO_COME, Summary
from medprotect.scan.walk import Found, Tree, check_trees, open_found, walk

Tell = Callable[[str, int, int, float], None]

_SAID_TWICE = ("strength", "key", "keep_uids", "along_z", MASK_NAMES)
"""What journal and receipt both say of the whole run."""

_FIRST_RULE = 1
"""That of a budget by which OUT was made where its run does not name one."""

_OTHER_RULE = (
    "another version of medprotect made it, by budget rule {}; this version knows rule {} alone "
    "and did not check pixels against their budget, but all else; verify it with the version that "
    "made it"
)

_FILES_A_PROCESS = 20
"""So many take as long as a process takes to begin."""


def verify_run(
    export: Path | Tree,
    out: Path | Tree,
    state: Path,
    progress: Tell = lambda _words, _done, _total, _share: None,
    *,
    jobs: int = 1,
) -> Verification:
    """Check counts, bounds and headers of a run.

    Every entry of the export has one line in the journal and the same in the receipt; every file
    of OUT is the protected or copied form of one, with the bytes that were written; no copied file
    is an image; every pixel is within its budget and every header element as documented, computed
    anew from both files as `medprotect.protect.comparison` reads them. Where OUT was made by
    another rule of the budget than `BUDGET_RULE`, that is a fault, and bounds are not checked.

    Parameters
    ----------
    export, out : Path or Tree
        Of the run.
    state : Path
        Of the run.
    progress : callable, optional
        ``progress(what is done, files done, files, share of the work that is done)``.
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
        raise OutputError(
            "no run wrote OUT: its state folder holds no journal; name that folder with --state"
        )
    with hold_lock(state), Journal(state) as journal:
        identity = journal.about("identity")
        strength = str(identity.get("strength", ""))
        said = journal.about(MASK_NAMES)
        entries = list(journal.entries())
    rule = identity.get("budget", _FIRST_RULE)
    result = Verification(
        counts=Counter(entry.state for entry in entries), checks_bound=rule == BUDGET_RULE
    )
    unfinished = sum(entry.outcome in TO_COME for entry in entries)
    if unfinished:
        raise OutputError(
            f"the run is not finished: {unfinished} files are missing; finish it first"
        )
    if not result.checks_bound:
        result.faults.append(Fault(0, "budget_rule", _OTHER_RULE.format(rule, BUDGET_RULE)))
    there = {found.path: found for found in walk(export)}
    written = {found.path for found in walk(out) if not is_folder_marker(found)}
    result.faults += _faults_of_trees(there.keys(), written, entries)
    result.faults += _faults_of_receipt(state / RECEIPT, {**identity, MASK_NAMES: said}, entries)
    uids = _read_uids(export, out, there, entries, progress)
    by_path = {entry.path: entry for entry in entries}
    trees = Trees(export, out, strength, there, by_path, said, uids, result.checks_bound)
    present = [(at, e) for at, e in enumerate(entries, start=1) if e.outcome in IN_OUT]
    size, seen = sum(entry.row.found.size for _, entry in present), 0
    progress("comparing", 0, len(present), 0.0)
    for done, part in enumerate(_check_files(trees, present, jobs), start=1):
        result.add(part)
        seen += present[done - 1][1].row.found.size
        progress("comparing", done, len(present), seen / max(size, 1))
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
        receipt = read_receipt(path)
        lines = receipt["files"]
        same = {name: receipt[name] == identity[name] for name in _SAID_TWICE}
        same["counts"] = receipt["counts"] == count(entries)
        summary = Summary(entries)
        same["summary"] = receipt["summary"] == summary_in_words(summary)
        same["caveat"] = receipt.get("caveat", "") == caveat_in_words(summary.measured)
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


def _read_uids(
    export: Path | Tree,
    out: Path | Tree,
    there: Mapping[str, Found],
    entries: list[Entry],
    progress: Tell,
) -> dict[str, str]:
    """Read which UIDs became which, from the files alone; what cannot be read shows later."""
    found: dict[str, str] = {}
    dicom = [
        e for e in entries if e.outcome is Outcome.PROTECTED and e.row.kind.startswith("dicom")
    ]
    for done, entry in enumerate(dicom, start=1):
        with ExitStack() as stack, suppress(InputError, VerificationError, OSError, KeyError):
            original = stack.enter_context(open_found(export, there[entry.path]))
            protected = stack.enter_context(open_written(out, entry))
            for name, uid in read_new_uids(original, protected).items():
                found.setdefault(name, uid)
        progress("reading identifiers", done, len(dicom), done / len(dicom))
    return found


def _check_files(
    trees: Trees, present: list[tuple[int, Entry]], jobs: int
) -> Iterator[Verification]:
    """Yield what is found of each file, in order."""
    jobs = min(jobs, len(present) // _FILES_A_PROCESS)
    if jobs < 2 or not (isinstance(trees.export, Path) and isinstance(trees.out, Path)):
        return (check_file(trees, *each) for each in present)
    shared = replace(trees, there={}, entries={})
    asked = ((each, _excerpt(trees, each[1])) for each in present)
    return spread(_check_excerpt, shared, asked, jobs)


@dataclass(frozen=True, slots=True)
class _Excerpt:
    """What is known of one file, and of the other one of a pair."""

    there: dict[str, Found]
    entries: dict[str, Entry]


def _excerpt(trees: Trees, entry: Entry) -> _Excerpt:
    paths = {entry.path, entry.row.header, entry.row.voxels}
    return _Excerpt(
        {path: trees.there[path] for path in paths if path in trees.there},
        {path: trees.entries[path] for path in paths if path in trees.entries},
    )


def _check_excerpt(trees: Trees, asked: tuple[tuple[int, Entry], _Excerpt]) -> Verification:
    each, known = asked
    return check_file(replace(trees, there=known.there, entries=known.entries), *each)
