"""Which references of which files are to be remapped: those to images that got new UIDs.

What a file refers to is known when it is done, what became of that when all files are: so files
that refer to an image of the export wait in the state folder until then.
"""

from collections.abc import Callable, Iterable, Mapping, Set

from medprotect.imaging.dicom.header import opaque
from medprotect.plan.plan import Action
from medprotect.protect.journal import IN_OUT, Entry, Outcome

EarlierUid = Callable[[str], str | None]
"""The new UID of what an earlier run protected, by the name of the old; None where none did."""

_DONE = IN_OUT | {Outcome.STAGED}


def images_of(entries: Iterable[Entry]) -> set[str]:
    """Return what stands in a plan for the instances and series of all images to be protected."""
    rows = [entry.row for entry in entries if entry.row.action is Action.PROTECT]
    return {row.instance for row in rows} | {row.series for row in rows} - {""}


def refers(entry: Entry, images: Set[str], earlier: EarlierUid) -> bool:
    """Whether a file that is done refers to an image: of the export, be it itself, or earlier."""
    return any(
        opaque(name.partition(" ")[2]) in images or earlier(name) for name in entry.references
    )


def collect_uids(entries: Iterable[Entry], earlier: EarlierUid) -> dict[str, str]:
    """Return new UIDs by the names of the old: of files that are done, and of what they refer to.

    Where several files have one old UID and got different ones, that of the first counts.
    """
    done = [entry for entry in entries if entry.outcome in _DONE]
    found: dict[str, str] = {}
    for entry in done:
        for name, uid in entry.uids.items():
            found.setdefault(name, uid)
    for name in {name for entry in done for name in entry.references} - found.keys():
        earlier_uid = earlier(name)
        if earlier_uid is not None:
            found[name] = earlier_uid
    return found


def wanted(entry: Entry, uids: Mapping[str, str]) -> dict[str, str]:
    """Return the references that a file is to have others for, given all new UIDs."""
    return {name: uids[name] for name in entry.references if name in uids}


def is_stale(entry: Entry, uids: Mapping[str, str]) -> bool:
    """Whether a file was finished with other references than it is to have now."""
    if entry.outcome not in _DONE or entry.remapped == wanted(entry, uids):
        return False
    return entry.outcome in IN_OUT or bool(entry.remapped)
