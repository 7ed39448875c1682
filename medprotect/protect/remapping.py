"""Which references of which files are to be remapped: those to images that got new UIDs.

What a file refers to is known when it is done, what became of that when all files are: so files
that refer to an image of the export wait in the state folder until then.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from medprotect.imaging.dicom.header import opaque
from medprotect.plan.plan import Action
from medprotect.protect.journal import IN_OUT, Entry, Outcome

_DONE = IN_OUT | {Outcome.STAGED}


def images_of(entries: Iterable[Entry]) -> set[str]:
    """Return what stands in a plan for the instances and series of all images to be protected."""
    rows = [entry.row for entry in entries if entry.row.action is Action.PROTECT]
    return {row.instance for row in rows} | {row.series for row in rows} - {""}


def refers(entry: Entry, images: Set[str], earlier: Mapping[str, str]) -> bool:
    """Whether a file that is done refers to an image: of the export, be it itself, or earlier."""
    return any(
        opaque(name.partition(" ")[2]) in images or name in earlier for name in entry.references
    )


def collect_uids(
    entries: Iterable[Entry], earlier: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """Return the new UIDs of all files that are done, then earlier ones, by the names of the old.

    Where several files have one old UID and got different ones, that of the first counts.
    """
    found: dict[str, str] = {}
    for entry in entries:
        if entry.outcome in _DONE:
            for name, uid in entry.uids.items():
                found.setdefault(name, uid)
    return found if earlier is None else _Both(found, earlier)


@dataclass(frozen=True, slots=True)
class _Both(Mapping[str, str]):
    """Names of a run; where it has none, those of earlier runs, which may be too many to read."""

    first: Mapping[str, str]
    then: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.first[name] if name in self.first else self.then[name]

    def __iter__(self) -> Iterator[str]:
        return iter({*self.first, *self.then})

    def __len__(self) -> int:
        return len({*self.first, *self.then})


def wanted(entry: Entry, uids: Mapping[str, str]) -> dict[str, str]:
    """Return the references that a file is to have others for, given all new UIDs."""
    return {name: uids[name] for name in entry.references if name in uids}


def is_stale(entry: Entry, uids: Mapping[str, str]) -> bool:
    """Whether a file was finished with other references than it is to have now."""
    if entry.outcome not in _DONE or entry.remapped == wanted(entry, uids):
        return False
    return entry.outcome in IN_OUT or bool(entry.remapped)
