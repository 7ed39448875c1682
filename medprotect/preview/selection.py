"""Which images of an export a preview shows: a few of each series, and of every kind some."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from medprotect.imaging.image import Traits
from medprotect.plan.plan import Action
from medprotect.protect.journal import Entry, Outcome

PAGE_BYTES = 30 * 1000**2
"""Of a page, about: more is slow to open and to send."""

MOST_SERIES = 60
"""In one page: more than that nobody looks through."""

LARGE_SIDE = 1024
"""Of images whose long side is longer, a reduced whole and a part in full size are shown."""

_NAMES = {
    "dicom": "DICOM image",
    "nifti": "NIfTI volume",
    "metaimage": "MetaImage volume",
    "nrrd": "NRRD volume",
    "mgh": "MGH volume",
    "png": "PNG",
    "tiff": "TIFF",
    "jpeg": "JPEG",
}
_GREY_BYTES, _COLOUR_BYTES = 0.35, 1.4
"""A pixel of one panel takes about that much, as PNG within a page."""

_CT_WINDOWS, _OTHER_WINDOWS = 5, 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where one image lies.

    Attributes
    ----------
    path : str
        Of its file, or of the header of a pair, in the export.
    frame : int
        Which of the images in the file, from 0.
    number : int
        Which of the images of its series, from 1.
    """

    path: str
    frame: int
    number: int


@dataclass(frozen=True, slots=True)
class Series:
    """Images that belong together.

    Attributes
    ----------
    kind : str
        The modality, or the format where it states none; nothing personal.
    number : int
        Counts the series of a kind, from 1, in the order of the paths.
    of : int
        How many series of this kind there are.
    files, images : int
        How many there are in it.
    places : tuple of Place
        Those that are shown, in order.
    about_bytes : float
        What they take in a page, estimated.
    is_torn : bool
        Whether a file of it is rejected, so that a run holds the others back.
    """

    kind: str
    number: int
    of: int
    files: int
    images: int
    places: tuple[Place, ...]
    about_bytes: float
    is_torn: bool = False

    @property
    def name(self) -> str:
        """Words for titles."""
        return f"{self.kind}, series {self.number}" if self.of > 1 else self.kind


def find_series(entries: Sequence[Entry], images: int) -> list[Series]:
    """Return all series that a run would protect, in the order of their kinds.

    Files of one image that belong to no series are taken together by kind and folder.

    Parameters
    ----------
    entries : sequence of Entry
        Of a plan that holds no series back.
    images : int
        How many of each series are shown: the first, the last, and others evenly between.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        is_image = entry.row.action is Action.PROTECT and not entry.row.header
        if is_image and entry.outcome is Outcome.PLANNED:
            groups.setdefault((_kind_of(entry), _series_of(entry)), []).append(entry)
    torn = {e.row.series for e in entries if e.outcome is Outcome.REJECTED} - {""}
    totals = Counter(kind for kind, _ in groups)
    numbers: Counter[str] = Counter()
    found = []
    for (kind, _), members in groups.items():
        numbers[kind] += 1
        places = _choose(members, images)
        found.append(
            Series(
                kind=kind,
                number=numbers[kind],
                of=totals[kind],
                files=len(members),
                images=sum(_traits(each).images for each in members),
                places=places,
                about_bytes=len(places) * _estimate(_traits(members[0])),
                is_torn=members[0].row.series in torn,
            )
        )
    return sorted(found, key=lambda each: (each.kind, each.number))


def choose_series(series: Iterable[Series], room_bytes: float = PAGE_BYTES) -> list[Series]:
    """Return those that a page has room for: the first of every kind, then the second, and on."""
    by_kind: dict[str, list[Series]] = {}
    for each in series:
        by_kind.setdefault(each.kind, []).append(each)
    chosen: list[Series] = []
    for each in (one for turn in zip_longest(*by_kind.values()) for one in turn if one):
        if len(chosen) == MOST_SERIES:
            break
        if not chosen or each.about_bytes <= room_bytes:
            chosen.append(each)
            room_bytes -= each.about_bytes
    return sorted(chosen, key=lambda each: (each.kind, each.number))


def _kind_of(entry: Entry) -> str:
    traits = _traits(entry)
    return traits.modality or _NAMES.get(traits.format, traits.format)


def _series_of(entry: Entry) -> str:
    if entry.row.series:
        return entry.row.series
    is_volume = _traits(entry).images > 1
    return entry.path if is_volume else entry.path.rpartition("/")[0] + "/"


def _traits(entry: Entry) -> Traits:
    return entry.row.traits or Traits("")


def _choose(members: Sequence[Entry], count: int) -> tuple[Place, ...]:
    """Return the places of images drawn evenly from a series, first and last among them."""
    total = sum(_traits(each).images for each in members)
    wanted = _spread(total, count)
    places, before = [], 0
    for each in members:
        images = _traits(each).images
        places += [
            Place(each.path, at - before, at + 1) for at in wanted if before <= at < before + images
        ]
        before += images
    return tuple(places)


def _spread(total: int, count: int) -> list[int]:
    if count == 1:
        return [total // 2] if total else []
    return sorted({at * (total - 1) // (count - 1) for at in range(count)}) if total else []


def _estimate(traits: Traits) -> float:
    """Return about how many bytes an image takes in a page, in all its windows."""
    pixels = min(traits.rows * traits.columns, LARGE_SIDE**2)
    if traits.as_shown.channels > 1:
        return 3 * pixels * _COLOUR_BYTES
    return 3 * pixels * _GREY_BYTES * (_CT_WINDOWS if traits.modality == "CT" else _OTHER_WINDOWS)
