"""The page of a preview: before, after and difference, for a radiologist to look through.

One HTML file that loads nothing. The one script in it is known to the page's policy (CSP) by its
hash; without it the page still shows each image in its first window. All text from outside passes
through `html.escape`.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

from medprotect import __version__
from medprotect.audit.report import frame
from medprotect.preview.pictures import LEVELS, InWindow, Shown, Trio, number
from medprotect.preview.selection import Place, Series
from medprotect.protect.inspection import AMPLIFIED
from medprotect.protect.receipt import NOT_FOR_DIAGNOSIS, warn_in_words
from medprotect.report.remedies import HELD, find_remedy, name_reason

_FACES = ("before", "after", f"difference times {AMPLIFIED}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the page is made of.

    Attributes
    ----------
    date, key, strength : str
        When it was made; the key's fingerprint; how much a pixel may change.
    summary : str
        What a model still learns from the files that a run would write to OUT, in a sentence.
    caveat : str
        To what protection falls, and against whom, in a sentence; "" where nothing is to be said.
    pipelines : sequence of str
        Names of those that protected something.
    command : str
        That of the run, as it is to be given; nothing personal.
    decoys : bool
        Whether the noise misleads models that learned from clean images, too.
    shown : sequence of (Series, list of (Place, Shown))
        What is to be seen, in order.
    all_series, all_images : int
        How many a run would protect.
    left_out : int
        Images that were drawn and found no room in the page.
    share : float
        Largest change of a pixel as a share of its budget, of the files protected.
    rejected : mapping of str to int
        Files by reason, of the plan and of those tried.
    torn : int
        How many series a run would hold back, because a file of each is rejected.
    others : int
        Files that are no images.
    warnings : mapping of str to int
        Of the plan.
    with_names : bool
        Whether paths are shown.
    """

    date: str
    key: str
    strength: str
    summary: str
    caveat: str
    pipelines: Sequence[str]
    command: str
    decoys: bool
    shown: Sequence[tuple[Series, list[tuple[Place, Shown]]]]
    all_series: int
    all_images: int
    share: float
    left_out: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    torn: int = 0
    others: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)
    with_names: bool = False


def make_page(preview: Preview) -> str:
    """Return the page."""
    main = Template(_read("page.html")).substitute(
        about=escape(
            f"Preview by medprotect {__version__}, {preview.date}. Key {preview.key}, strength "
            f"{preview.strength}, {_listed(preview.pipelines)}."
        ),
        lead="".join(f"<p>{escape(each)}</p>" for each in _lead(preview)),
        amplified=AMPLIFIED,
        contents=_contents(preview),
        series="".join(
            _series(count, series, shown, preview.with_names)
            for count, (series, shown) in enumerate(preview.shown, start=1)
        ),
        yes=_yes(preview),
        unseen=_unseen(preview),
    )
    title = f"Before and after: preview of a run, {preview.date}"
    return frame(title, main, style=_read("preview.css"), script=_read("preview.js"))


def _read(name: str) -> str:
    return (files("medprotect.preview") / name).read_text(encoding="utf-8")


def _listed(pipelines: Sequence[str]) -> str:
    return f"pipeline{'' if len(pipelines) == 1 else 's'} {', '.join(pipelines)}"


def _lead(preview: Preview) -> list[str]:
    images = sum(len(shown) for _, shown in preview.shown)
    of = f"{preview.all_series:,} series ({preview.all_images:,} images)"
    lead = [
        " ".join(each for each in (preview.summary, preview.caveat) if each),
        "The images carry noise. You should not see it. Please say whether you do.",
        f"Shown are {images:,} images of {len(preview.shown):,} series, of {of} that a run would "
        "write to OUT. They are what that run will write, to the pixel: same key, same strength, "
        "same pipelines. Each was written, read again and checked; no pixel changed by more than "
        "its limit.",
    ]
    if any(series.kind.endswith("volume") for series, _ in preview.shown):
        lead.append("Volumes are shown slice by slice as they lie in the file: turned, perhaps.")
    return lead


def _contents(preview: Preview) -> str:
    if len(preview.shown) < 2:
        return ""
    items = "".join(
        f'<li><a href="#s{count}">{escape(series.name)}</a></li>'
        for count, (series, _) in enumerate(preview.shown, start=1)
    )
    return f'<nav aria-label="Series"><ul class="contents">{items}</ul></nav>'


def _series(
    count: int, series: Series, shown: Sequence[tuple[Place, Shown]], with_names: bool
) -> str:
    windows = [each for _, image in shown for each in image.windows]
    names = list(dict.fromkeys(each.name for each in windows))
    first = next((each.name for each in windows if not each.is_flat), names[0])
    articles = "".join(
        _image(f"s{count}i{place.number}", series, place, image, names, first, with_names)
        for place, image in shown
    )
    torn = (
        '<p class="warning">A file of this series is rejected: a run holds the whole series back, '
        "unless told otherwise (<code>--on-reject keep</code>).</p>"
        if series.is_torn
        else ""
    )
    return (
        f'<section class="series" id="s{count}" data-window="{names.index(first)}">'
        f"<h2>{escape(series.name)}</h2>{torn}{_choices(series, shown, names, first)}{articles}"
        "</section>"
    )


def _choices(
    series: Series, shown: Sequence[tuple[Place, Shown]], names: Sequence[str], first: str
) -> str:
    if len(names) < 2:
        return ""
    levels: dict[str, set[str]] = {}
    for each in (each for _, image in shown for each in image.windows):
        levels.setdefault(each.name, set()).add(each.level)
    buttons = ""
    for at, name in enumerate(names):
        level = levels[name].pop() if len(levels[name]) == 1 else ""
        small = f" <small>{escape(level)}</small>" if level else ""
        buttons += (
            f'<button type="button" data-choose="{at}" aria-pressed="{str(name == first).lower()}">'
            f"{escape(name.capitalize())}{small}</button>"
        )
    return (
        f'<div class="windows live-only" role="group" aria-label="Window of '
        f'{escape(series.name)}"><span>Window</span>{buttons}</div>'
    )


def _image(
    anchor: str,
    series: Series,
    place: Place,
    image: Shown,
    names: Sequence[str],
    first: str,
    with_names: bool,
) -> str:
    title = f"{series.name}, image {place.number} of {series.images}"
    up = next((each for each in image.windows if each.name == first), image.windows[0])
    lays = "".join(
        _lay(title, names.index(each.name), image, each, is_up=each is up) for each in image.windows
    )
    path = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in place.path)
    named = f'<p class="facts">{escape(path)}</p>' if with_names else ""
    return (
        f'<article class="image" id="{anchor}" data-title="{escape(title)}"><header>'
        f"<h3>Image {place.number} of {series.images}</h3>"
        '<button type="button" class="compare live-only">Compare'
        f'<span class="visually-hidden"> {escape(title)}</span></button></header>'
        f"{named}{lays}</article>"
    )


def _lay(title: str, at: int, image: Shown, seen: InWindow, *, is_up: bool) -> str:
    """Return an image in one window; all but one are hidden at first."""
    facts = _facts(image, seen)
    called = f"{seen.name}: {seen.level}" if seen.level else seen.name
    hidden = "" if is_up else " hidden"
    words = f"{title}, window {called}"
    part = _part(seen.part, words) if seen.part else ""
    return (
        f'<div class="lay" data-window="{at}" data-name="{escape(called)}" '
        f'data-facts="{escape(facts)}"{hidden}>{_trio(image, seen, words, facts)}{part}'
        f'<p class="facts">Window {escape(called)}. {escape(facts)}</p></div>'
    )


def _facts(image: Shown, seen: InWindow) -> str:
    reduced = ", shown smaller but for one part" if seen.part else ""
    size = f"{image.columns} \N{MULTIPLICATION SIGN} {image.rows}{reduced}."
    if not image.changed:
        return f"{size} No pixel changed."
    if seen.is_flat and not seen.largest:
        return f"{size} This window shows nothing of it; choose another."
    values = seen.largest / LEVELS * seen.black_to_white
    meaning = f", {number(values)} {image.unit}" if values else ""
    return (
        f"{size} {image.changed:.0%} of its pixels changed; this window shows at most "
        f"{seen.largest:.0f} of {LEVELS} steps from black to white{meaning}."
    )


def _trio(image: Shown, seen: InWindow, words: str, facts: str) -> str:
    captions = ("Before", "After", f"Difference \N{MULTIPLICATION SIGN}{AMPLIFIED}")
    figures = ""
    pictures = (seen.whole.before, seen.whole.after, seen.whole.difference)
    for caption, face, png in zip(captions, _FACES, pictures, strict=True):
        alt = f"{words}, {face}" + (f". {facts}" if face == _FACES[2] else "")
        ramp = _ramp(image, seen) if face == _FACES[2] else ""
        figures += (
            f'<figure><figcaption>{caption}</figcaption><div class="plate" '
            f'style="--shape: {image.columns}/{image.rows}"><img alt="{escape(alt)}" '
            f'src="{_embed(png)}"></div>{ramp}</figure>'
        )
    return f'<div class="trio">{figures}</div>'


def _part(part: Trio, words: str) -> str:
    pictures = zip(_FACES, (part.before, part.after, part.difference), strict=True)
    drawn = "".join(
        f'<img alt="{escape(words)}, the part that changed most, {face}" src="{_embed(png)}">'
        for face, png in pictures
    )
    return f'<div class="part">{drawn}</div>'


def _ramp(image: Shown, seen: InWindow) -> str:
    """Return the scale of the difference."""
    end = f"{LEVELS / (2 * AMPLIFIED):.0f} of {LEVELS} steps"
    if seen.black_to_white:
        end = f"{number(seen.black_to_white / (2 * AMPLIFIED))} {image.unit}"
    return (
        '<div class="ramp"><span>darker</span><span>no change</span><span>lighter</span>'
        f"<span>black and white: by {escape(end)} or more</span></div>"
    )


def _embed(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _yes(preview: Preview) -> str:
    decoys = (
        f"<p>OUT will be {escape(NOT_FOR_DIAGNOSIS)}: its noise misleads trained models.</p>"
        if preview.decoys
        else ""
    )
    return (
        "<p>The person in charge of the export runs this command. It adds noise to every image it "
        f"can, and lists the rest:</p><pre><code>{escape(preview.command)}</code></pre>{decoys}"
        "<p>EXPORT is the folder this preview was made of, OUT a new one; only OUT may leave. "
        "Images with noise are for viewing. Do not measure on them or plan treatment with them.</p>"
    )


def _unseen(preview: Preview) -> str:
    items = []
    if left := preview.all_series - len(preview.shown):
        items.append(
            f"{left:,} more series did not fit on this page. To "
            "see others, preview a folder of the export."
        )
    images = sum(len(shown) for _, shown in preview.shown)
    within = sum(series.images for series, _ in preview.shown)
    if within > images:
        room = f"; {preview.left_out:,} of them for want of room" if preview.left_out else ""
        items.append(f"{within - images:,} more images of the series shown{room}.")
    if preview.others:
        items.append(f"{preview.others:,} files that are not images: reports, plans, tables.")
    items += [f"{each}." for each in warn_in_words(preview.warnings)]
    listed = "".join(f"<li>{escape(each)}</li>" for each in items)
    return (f"<ul>{listed}</ul>" if items else "") + _rejected(preview)


def _rejected(preview: Preview) -> str:
    rows = [
        (name_reason(slug), count, find_remedy(slug))
        for slug, count in Counter(preview.rejected).most_common()
    ]
    if preview.torn:
        rows.append(("Series of which a file is rejected", preview.torn, HELD))
    if not rows:
        return "<p>No image is rejected, as far as headers and the images shown tell.</p>"
    body = "".join(
        f'<tr><th>{escape(name)}</th><td>{count:,}</td><td class="word">{escape(remedy)}</td></tr>'
        for name, count, remedy in rows
    )
    return (
        "<p>These would stay behind, as far as headers and the images shown tell:</p>"
        '<div class="box" tabindex="0"><table class="remedies"><thead><tr><th>why</th><th>how many'
        f'</th><th class="word">what to do</th></tr></thead><tbody>{body}</tbody></table></div>'
    )
