"""The report of a run: one HTML page that loads nothing, runs nothing, and can be printed.

All text from outside passes through `html.escape`; the page's policy (CSP) forbids the rest.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from medprotect.audit.report import frame
from medprotect.audit.verdict import DASH
from medprotect.confounder.measured import Measured, Protection, figures_in_words
from medprotect.protect.journal import STATES, STATES_IN_OUT, Entry, Outcome
from medprotect.protect.receipt import warn_in_words
from medprotect.report.change import SHOWN, Change
from medprotect.report.histogram import draw_histogram
from medprotect.report.remedies import HELD, find_remedy, name_reason

_FIGURES = {"psnr_db": "PSNR, dB", "ssim": "SSIM", "vif": "VIF"}
_DIGITS = {"psnr_db": 1, "ssim": 3, "vif": 2}
_STRONGER = (
    "To protect more: {} with a pipeline trained on your own images (medprotect train --help), or "
    "with --strength high where the plan shows that it helps. To keep weak and unmeasured images "
    "out of OUT: --at-least 0.5."
)
_IN_RECEIPT = "The receipt names each file and the reason."
_IN_STATE = "The node keeps them in OUT.medprotect, in the folder rejected."
_LIMITS = (
    "How much a model learns from these very images. The figures are of the images that each "
    "pipeline was measured on, and its page says which. To measure yours: medprotect audit --help.",
    "Whether somebody has clean copies. Copies released earlier, or elsewhere, undo all of it.",
    "Whether persons can be recognised. medprotect does not de-identify.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the page is made of.

    Attributes
    ----------
    statement : Mapping
        As `medprotect.report.statement.make_statement` returns it.
    entries : sequence of Entry
        Of the journal: for series, and for paths where they are shown.
    changes : mapping of str to Change
        By kind; empty where EXPORT was not at hand.
    public_key : str
        Of whom has signed the statement; "" where it is not signed.
    with_names, with_pictures : bool
        Whether paths, and clean images, are shown.
    """

    statement: Mapping[str, Any]
    entries: Sequence[Entry]
    changes: Mapping[str, Change] = field(default_factory=dict)
    public_key: str = ""
    with_names: bool = False
    with_pictures: bool = False


def make_page(report: Report) -> str:
    """Return the page."""
    statement = report.statement
    page = (files("medprotect.report") / "page.html").read_text(encoding="utf-8")
    main = Template(page).substitute(
        about=_about(statement),
        headline=escape(statement["summary"]),
        lead="".join(f"<p>{escape(each)}</p>" for each in _lead(statement)),
        kinds=_kinds(report),
        rejected=_rejected(report),
        warnings=_warnings(statement["warnings"]),
        change=_change(report),
        pipelines=_pipelines(statement),
        limits="<ul>" + "".join(f"<li>{escape(each)}</li>" for each in _LIMITS) + "</ul>",
        checking=_checking(report),
        files=_files(report) if report.with_names else "",
    )
    return frame(f"Report of a run, {statement['date']}", main)


def _about(statement: Mapping[str, Any]) -> str:
    return escape(
        f"Report by medprotect {statement['medprotect']}, {statement['date']}. "
        f"Key {statement['key']}, strength {statement['strength']}."
    )


def _files_in_words(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _lead(statement: Mapping[str, Any]) -> list[str]:
    counts = statement["counts"]
    written = sum(counts.get(state, 0) for state in STATES_IN_OUT)
    place = "written to OUT" if _is_of_node(statement) else "in OUT"
    lead = [caveat] if (caveat := statement.get("caveat")) else []
    lead.append(_total(statement, f"{written:,} {place}"))
    if written:
        states = [f"{counts[each]:,} {each}" for each in STATES_IN_OUT if counts.get(each)]
        images = sum(line.get("images", 0) for line in statement["files"])
        lead += [
            f"{written:,} {place} = {' + '.join(states)}. They hold {images:,} images, and no "
            "pixel changed by more than its limit.",
            f"Protection was measured for each pipeline at strength {statement['strength']}: the "
            "share of what a model learns from the originals that it does not learn from images "
            "with this noise. An image counts as protected from 0.50 on, and below as weak, where "
            "whoever trains has no clean image.",
        ]
    if any(counts.get(each.value) for each in (Protection.WEAK, Protection.UNMEASURED)):
        again = "start the node" if _is_of_node(statement) else "run again"
        lead.append(_STRONGER.format(again))
    if forwarded := statement.get("forwarded"):
        words = "went on to the peer and is" if forwarded == 1 else "went on to the peer and are"
        lead.append(f"{_files_in_words(forwarded)} {words} no longer in OUT.")
    if not statement["finished"] and not _is_of_node(statement):
        lead.append("The run is not finished: give the same command again to go on.")
    return [*lead, *(f"The images are {each}." for each in statement["statements"])]


def _is_of_node(statement: Mapping[str, Any]) -> bool:
    return "forwarded" in statement


def _total(statement: Mapping[str, Any], written: str) -> str:
    """Return the sentence that says what became of all files."""
    counts = statement["counts"]
    parts = [written]
    parts += [
        f"{counts[state]:,} {state}"
        for state in STATES
        if state not in STATES_IN_OUT and counts.get(state)
    ]
    if waiting := _is_of_node(statement) and counts.get(Outcome.PLANNED):
        parts.append(f"{waiting:,} to come")
    origin = "received by the node" if _is_of_node(statement) else "in the export"
    return f"{_files_in_words(counts['in'])} {origin} = {' + '.join(parts)}."


def _kinds(report: Report) -> str:
    rows = []
    of_node = _is_of_node(report.statement)
    series = _series(report.entries)
    states = [each for each in STATES if report.statement["counts"].get(each)]
    for kind, counts in sorted(_count_states(report.statement["files"]).items()):
        whole, all_of = series.get(kind, (0, 0))
        cells = {
            "in": str(counts.total()),
            **{state: str(counts[state] or DASH) for state in states},
        }
        if not of_node:
            cells["whole series"] = f"{whole} of {all_of}" if all_of else DASH
        shown = "".join(
            f'<td data-head="{head}"{" class=none" if cell == DASH else ""}>{cell}</td>'
            for head, cell in cells.items()
        )
        rows.append(f"<tr><th>{escape(kind or 'not known')}</th>{shown}</tr>")
    names = ("kind", "in", *states, *(() if of_node else ("whole series",)))
    heads = "".join(f"<th>{name}</th>" for name in names)
    whole_is = "" if of_node else " A series is whole where all of its files are in OUT."
    return (
        f"<p>By kind: the format, and the modality that the files state.{whole_is}</p>"
        f'<div class="box" tabindex="0"><table class="kinds"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _count_states(lines: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Return how many files became what, by kind."""
    counts: dict[str, Counter[str]] = {}
    for line in lines:
        counts.setdefault(str(line.get("kind", "")), Counter())[line["outcome"]] += 1
    return counts


def _series(entries: Sequence[Entry]) -> dict[str, tuple[int, int]]:
    """Return, by kind, how many series are in OUT as a whole, and how many there are."""
    of_kind: dict[tuple[str, str], list[bool]] = {}
    for entry in entries:
        if entry.row.series:
            name = (entry.row.kind, entry.row.series)
            of_kind.setdefault(name, []).append(entry.outcome is Outcome.PROTECTED)
    whole: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for (kind, _), protected in of_kind.items():
        whole[kind] += all(protected)
        every[kind] += 1
    return {kind: (whole[kind], every[kind]) for kind in every}


def _rejected(report: Report) -> str:
    counts = Counter(
        line.get("reason", "")
        for line in report.statement["files"]
        if line["outcome"] == Outcome.REJECTED
    )
    rows = [(name_reason(slug), count, find_remedy(slug)) for slug, count in counts.most_common()]
    if held := report.statement["counts"].get(Outcome.HELD, 0):
        rows.append(("Held with their series", held, HELD))
    if not rows:
        return "<p>Nothing: every image of the export is in OUT.</p>"
    body = "".join(
        f'<tr><th>{escape(name)}</th><td>{count:,}</td><td class="word">{escape(remedy)}</td></tr>'
        for name, count, remedy in rows
    )
    of_node = _is_of_node(report.statement)
    return (
        f"<p>None of these is in OUT. {_IN_STATE if of_node else _IN_RECEIPT}</p>"
        '<div class="box" tabindex="0"><table class="remedies"><thead><tr><th>why</th>'
        f'<th>files</th><th class="word">what to do</th></tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _warnings(warnings: Mapping[str, int]) -> str:
    sentences = warn_in_words(warnings)
    if not sentences:
        return ""
    lines = "".join(f"<li>{escape(each)}.</li>" for each in sentences)
    return f"<h3>Before you hand OUT over</h3><ul>{lines}</ul>"


def _change(report: Report) -> str:
    if _is_of_node(report.statement):
        return (
            "<p>Not measured: a node keeps no original of what it has protected. The bound of "
            "every pixel was checked when each file was written.</p>"
        )
    if not report.changes:
        return (
            "<p>Not measured here, because the export was not given: add --export to compare a "
            "few files of each kind. The bound of every pixel was checked as each file was "
            "written.</p>"
        )
    heads = "".join(f"<th>{_FIGURES[name]}</th><th>JPEG 50</th>" for name in SHOWN)
    rows = "".join(
        f'<tr><th>{escape(kind)}</th><td data-head="images">{change.compared}</td>'
        f"{_likeness(change)}</tr>"
        for kind, change in report.changes.items()
    )
    return (
        "<p>Measured as shown on a screen, in the window of the file, on the middle part of one "
        "image from a few files of each kind (medians). For comparison: the same image saved as "
        "JPEG at quality 50.</p>"
        '<div class="box" tabindex="0"><table class="kinds"><thead><tr><th>kind</th>'
        f"<th>images</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{_drawings(report)}"
    )


def _likeness(change: Change) -> str:
    cells = []
    for name in SHOWN:
        beside = change.likeness[name]
        heads = (_FIGURES[name], f"{_FIGURES[name]} of JPEG 50")
        for head, figure in zip(heads, (beside["protected"], beside["jpeg_50"]), strict=True):
            shown = DASH if figure is None else f"{figure:.{_DIGITS[name]}f}"
            cells.append(f'<td data-head="{head}">{shown}</td>')
    return "".join(cells)


def _drawings(report: Report) -> str:
    drawn = "".join(
        f"<figure><figcaption>{escape(kind)}</figcaption>{draw_histogram(change.changes, kind)}"
        "</figure>"
        for kind, change in report.changes.items()
        if change.changes.size
    )
    parts = [
        "<h3>Change of single pixels</h3><p>In the unit of the modality: HU for CT, as stored "
        f'where the file states none.</p><div class="curves">{drawn}</div>'
    ]
    if report.with_pictures:
        parts.append(
            '<h3>Before, after, and the noise times 16</h3><p class="warning">This page shows '
            "clean images: it must not leave the house.</p>"
        )
        parts += [_pictures(kind, change) for kind, change in report.changes.items()]
    return "".join(parts)


def _pictures(kind: str, change: Change) -> str:
    figures = "".join(
        f'<figure><figcaption>{caption}</figcaption><img alt="{escape(kind)}, {caption}" '
        f'src="data:image/png;base64,{b64encode(png).decode()}"></figure>'
        for caption, png in zip(("before", "after", "noise x16"), change.pictures, strict=False)
    )
    return f'<h3>{escape(kind)}</h3><div class="pictures">{figures}</div>'


def _pipelines(statement: Mapping[str, Any]) -> str:
    parts = []
    for each in statement["pipelines"]:
        facts = {
            "pipeline": f"{each['name']}, version {each['version']}",
            "trained on": f"{each['trained_on']}, {each['licence']}",
            "protection": _measured_in_words(each, each.get("strength", statement["strength"])),
            "decoys": "on: models that learned from clean images are misled too"
            if each["decoys"]
            else "off",
            "SHA-256": each["sha256"],
        }
        parts.append(_facts(facts))
    labels = "known for some images" if statement["with_labels"] else "not given"
    facts = {"labels": labels, "noise along z": statement["along_z"], "UIDs": _uids(statement)}
    parts.append(_facts(facts))
    return "".join(parts)


def _measured_in_words(pipeline: Mapping[str, Any], strength: str) -> str:
    protection = pipeline.get("protection")
    if protection is None:
        return f"not measured at strength {strength}"
    # A receipt of before holds but the protection.
    measured = Measured(**(pipeline.get("measured") or {"protection": protection}))
    word = Protection.of(protection).value
    return f"{word}: {figures_in_words(measured, f'strength {strength}')}"


def _uids(statement: Mapping[str, Any]) -> str:
    return "kept" if statement["keep_uids"] else "new ones, derived from the key"


def _facts(facts: Mapping[str, str]) -> str:
    lines = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<dl>{lines}</dl>"


def _checking(report: Report) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in report.statement["backend"].items())
    facts = {}
    if not _is_of_node(report.statement):
        facts["whoever has the export"] = "medprotect verify EXPORT OUT"
    if report.public_key:
        facts["whoever has OUT alone"] = (
            "medprotect verify OUT --statement statement.json --public-key PUBLIC; PUBLIC is the "
            "key below, which its owner tells you by another way than this page"
        )
        if _is_of_node(report.statement):
            facts["whoever has them in an archive"] = (
                "cannot check them so: most archives write a file header of their own, and then "
                "the hashes differ"
            )
        facts["public key"] = report.public_key
    return _facts({**facts, "made with": versions})


def _files(report: Report) -> str:
    rows = "".join(
        f"<tr><th>{escape(entry.shown_path)}</th><td>{entry.state}</td>"
        f'<td class="word">{escape(entry.row.detail)}</td></tr>'
        for entry in report.entries
    )
    return (
        '<h2>Every file</h2><p class="warning">Paths may be personal: this page must not leave the '
        'house.</p><div class="box details" tabindex="0"><table><thead><tr><th>file</th>'
        f'<th>outcome</th><th class="word">why</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
