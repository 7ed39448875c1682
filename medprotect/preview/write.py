"""Makes a preview: chooses, protects in a scratch folder, draws, writes the page."""

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from medprotect.confounder.key import Key
from medprotect.confounder.measured import caveat_in_words, protection_in_words
from medprotect.errors import ConfigError, InputError, OutputError
from medprotect.plan.plan import Action
from medprotect.preview.page import Preview, make_page
from medprotect.preview.pictures import Shown, show
from medprotect.preview.scratch import protect_in_scratch, settings_within
from medprotect.preview.selection import PAGE_BYTES, Place, Series, choose_series, find_series
from medprotect.protect.atomic import write_whole
from medprotect.protect.dry_run import look_ahead, plan_export
from medprotect.protect.inspection import check_picture_folder
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.receipt import count_warnings
from medprotect.protect.resume import hold
from medprotect.protect.settings import Settings
from medprotect.protect.summary import TO_COME, Progress, Summary
from medprotect.report.reading import Trees, read_both

_PAGES = (".html", ".htm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a preview is to show, and where.

    Attributes
    ----------
    page : Path
        The file to write; one that is there is replaced.
    images : int
        How many of each series.
    command : str
        That of the run that follows, for the page; nothing personal.
    with_names : bool
        Whether paths are shown.
    """

    page: Path
    images: int
    command: str
    with_names: bool = False


def check_page_place(page: Path, export: Path) -> None:
    """Refuse a page in the export or in an OUT, or of a name that no browser opens.

    Raises
    ------
    ConfigError, OutputError
        It is such a one.
    """
    if page.suffix.lower() not in _PAGES:
        raise ConfigError("The name of the page must end in .html.")
    if page.is_dir():
        raise OutputError("The page is a folder; name a file.")
    if page.resolve().is_relative_to(export.resolve()):
        raise OutputError(
            "The page would be in EXPORT, which is never written to. Name another place."
        )
    check_picture_folder(page.parent)


def write_preview(
    settings: Settings, asked: Asked, scratch: Path, key: Key, progress: Progress
) -> Preview:
    """Write the page, and return what it is made of.

    Parameters
    ----------
    settings : Settings
        Of the run that is looked ahead to; its OUT and state are not used.
    asked : Asked
        What to show.
    scratch : Path
        From `medprotect.preview.scratch.scratch_folder`.
    key : Key
        The owner's.
    progress : Progress
        Whom to tell.

    Raises
    ------
    InputError
        No image can be protected, or the export changed meanwhile.
    ConfigError, OutputError, StorageError, PipelineError
        As for the run itself, and of the page's place.
    """
    check_page_place(asked.page, settings.export)
    each_alone = replace(settings, hold_series=False)
    plan, _ = look_ahead(each_alone, plan_export(each_alone))
    series = find_series(plan, asked.images)
    chosen = choose_series(series)
    entries = _files_of(chosen, plan)
    if not entries:
        raise InputError(f"No image of EXPORT can be protected: {_reasons(plan)}.")
    summary = protect_in_scratch(settings, scratch, entries, key, progress)
    torn = _find_torn(chosen, summary)
    series = [replace(each, is_torn=each.is_torn or each in torn) for each in series]
    chosen = [replace(each, is_torn=each.is_torn or each in torn) for each in chosen]
    drawn = _draw_all(chosen, settings_within(settings, scratch), summary)
    if not any(images for _, images in drawn):
        raise InputError(
            f"None of the images that were tried can be protected: {_reasons(summary.entries)}."
        )
    preview = _describe(settings, asked, key, plan, series, summary, drawn)
    write_whole(asked.page, make_page(preview).encode(), 0o600)
    return preview


def _files_of(chosen: Sequence[Series], plan: Sequence[Entry]) -> list[Entry]:
    wanted = {place.path for series in chosen for place in series.places}
    return [entry for entry in plan if entry.path in wanted or entry.row.header in wanted]


def _find_torn(chosen: Sequence[Series], summary: Summary) -> set[Series]:
    """Return the series of which some files, and not all, turned out to be rejected."""
    rejected = {
        entry.path
        for entry in summary.entries
        if entry.row.series and entry.outcome is Outcome.REJECTED
    }
    return {
        series
        for series in chosen
        if 0 < len({each.path for each in series.places} & rejected) < series.files
    }


def _reasons(entries: Sequence[Entry]) -> str:
    counts = Counter(e.row.reason for e in entries if e.outcome is Outcome.REJECTED)
    words = ", ".join(f"{count} {slug}" for slug, count in counts.most_common())
    return words or "it holds none"


Drawn = list[tuple[Series, list[tuple[Place, Shown]]]]


def _draw_all(chosen: Sequence[Series], within: Settings, summary: Summary) -> Drawn:
    trees = Trees.of(within.export, within.out, summary.entries)
    return [(series, _draw(series, trees)) for series in chosen]


def _fit(drawn: Drawn, room_bytes: float = PAGE_BYTES) -> Drawn:
    """Return what fits into a page: the first image of every series, then the second, and on."""
    fitting: dict[Series, list[tuple[Place, Shown]]] = {series: [] for series, _ in drawn}
    turns = zip_longest(*([(series, each) for each in images] for series, images in drawn))
    for series, (place, shown) in (one for turn in turns for one in turn if one):
        size = shown.size * 4 / 3  # base64
        if size <= room_bytes:
            fitting[series].append((place, shown))
            room_bytes -= size
    return [(series, images) for series, images in fitting.items() if images]


def _draw(series: Series, trees: Trees) -> list[tuple[Place, Shown]]:
    drawn = []
    for path in dict.fromkeys(place.path for place in series.places):
        entry = trees.entries[path]
        if entry.outcome is not Outcome.PROTECTED:
            continue
        places = [place for place in series.places if place.path == path]
        both = read_both(trees, entry, _chooser(places))
        drawn += [(place, show(*pair)) for place, pair in zip(places, both, strict=True)]
    return drawn


def _chooser(places: Sequence[Place]) -> Callable[[int], set[int]]:
    return lambda _count: {place.frame for place in places}


def _describe(
    settings: Settings,
    asked: Asked,
    key: Key,
    plan: Sequence[Entry],
    series: Sequence[Series],
    summary: Summary,
    drawn: Drawn,
) -> Preview:
    shown = _fit(drawn)
    would = hold(plan) if settings.hold_series else plan
    would = [e for e in would if e.outcome in TO_COME] or plan
    used = sorted({e.row.pipeline for e in summary.entries if e.outcome is Outcome.PROTECTED})
    both = (*plan, *summary.entries)
    measured = Counter(e.row.measured for e in would if e.row.action is Action.PROTECT)
    return Preview(
        date=datetime.date.today().isoformat(),
        key=key.fingerprint,
        strength=settings.strength,
        summary=protection_in_words(measured),
        caveat=caveat_in_words(measured),
        pipelines=[name for name in used if name],
        command=asked.command,
        decoys=any(e.card.codes.decoys for e in settings.candidates if e.card.name in used),
        shown=shown,
        left_out=sum(len(images) for _, images in drawn) - sum(len(images) for _, images in shown),
        all_series=len(series),
        all_images=sum(each.images for each in series),
        share=max((entry.share for entry in summary.entries), default=0.0),
        rejected=Counter(e.row.reason for e in both if e.outcome is Outcome.REJECTED),
        torn=sum(each.is_torn for each in series) if settings.hold_series else 0,
        others=sum(entry.outcome is Outcome.LEFT for entry in plan),
        warnings=count_warnings(would),
        with_names=asked.with_names,
    )
