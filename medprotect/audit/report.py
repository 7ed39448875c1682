"""The report of an audit: one HTML page that loads nothing, runs nothing, and can be printed.

All text from outside passes through `html.escape`; the page's policy (CSP) forbids the rest.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import NamedTuple

from medprotect.audit.chart import learning_curve, scale_bar
from medprotect.audit.pictures import Shown, picture_section
from medprotect.audit.report_schema import Audit, Beside, Interval, Row
from medprotect.audit.verdict import (
    DASH,
    HELD,
    IN_PART,
    PLAIN,
    Degree,
    countermeasures_by_degree,
    degree_of,
    headline,
    list_figures,
    number,
    percent,
    sentences,
)

_SPLITS = {
    "given": "as the data set came; whether it parts patients was not checked",
    "given, by group": "as the data set came; no patient or group stands on both sides",
    "patient-wise": "by patient: no patient stands on both sides",
    "by image": "image by image: images of one patient may stand on both sides, "
    "and accuracies may be better than with new patients",
}
_DECOYS = {
    "on": "The noise also misleads models that learned from clean images.",
    "off": "The noise has no decoys, which would mislead models that learned from clean images.",
    "unknown": "Whether the noise also misleads models that learned from clean images is not "
    "known; take it that it does.",
}


def write_report(audit: Audit, path: Path, pictures: Sequence[Shown] = ()) -> None:
    """Write the page; see `make_report`."""
    path.write_text(make_report(audit, pictures), encoding="utf-8")


def make_report(audit: Audit, pictures: Sequence[Shown] = ()) -> str:
    """Return the page.

    Parameters
    ----------
    audit : Audit
        As the audit writes it as JSON.
    pictures : sequence of Shown, optional
        Before, after, and the noise. They show clean images, and the page says so.

    Raises
    ------
    ValueError
        A picture is not a PNG.
    """
    main = Template(_read("report.html")).substitute(
        about=_about(audit),
        headline=escape(headline(audit)),
        lead="".join(_paragraph(each) for each in sentences(audit)),
        measures=_measures(audit),
        explained=_explained(audit),
        tried=_tried(audit),
        matrix=matrix_section(audit),
        curves=_curves(audit),
        further=_utility(audit),
        fidelity=fidelity_section(audit["fidelity"], min(audit["data"]["image_size"][:2])),
        pictures=picture_section(pictures),
        limits=_limits(audit),
        method=_method(audit),
    )
    return frame(f"Audit of protected images, {audit['date']}", main)


def frame(title: str, main: str, *, style: str = "", script: str = "") -> str:
    """Return a page around what is in it, with a policy (CSP) that lets nothing else load or run.

    Parameters
    ----------
    title : str
        Plain text.
    main : str
        HTML already.
    style, script : str
        CSS of this page beside that of all, and the one script that may run, known by its hash.
    """
    policy = ""
    if script:
        digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        script = f"<script>{script}</script>\n"
    return Template(_read("frame.html")).substitute(
        title=escape(title),
        style=_read("report.css") + style,
        policy=policy,
        main=main,
        script=script,
    )


def _read(name: str) -> str:
    return (files("medprotect.audit") / name).read_text(encoding="utf-8")


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def _items(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in texts) + "</ul>"


def _about(audit: Audit) -> str:
    data = audit["data"]
    size = " \N{MULTIPLICATION SIGN} ".join(str(side) for side in data["image_size"])
    return escape(
        f"Audit by medprotect {audit['medprotect']}, {audit['date']}. "
        f"{data['train']:,} images to learn from and {data['test']:,} clean ones to test on, "
        f"{len(data['classes'])} classes, {size}."
    )


def _measures(audit: Audit) -> str:
    if not audit["protection"]["measurable"]:
        return ""
    drawn = ""
    for index, (name, share, interval) in enumerate(list_figures(audit)):
        title = f"Protection from an attacker {name}" if index == 0 else name.capitalize()
        drawn += f'<div><h3>{escape(title)}</h3><p class="figure">{number(share)}</p>'
        drawn += _paragraph(write_interval(interval), "soft") if interval else ""
        drawn += f"{scale_bar(share, interval)}</div>"
    return f'<div class="measures">{drawn}</div>'


def _explained(audit: Audit) -> str:
    if not audit["protection"]["measurable"]:
        return ""
    return _paragraph(
        "Protection is the share of what the clean images are worth to an attacker that the "
        f"protected ones are not: at {number(1)} they are worth nothing, at {number(0)} as much as "
        "the clean ones. Worth is what a model recognises with the images, less what the few clean "
        "images that the attacker has teach by themselves; without any, less a guess. Below each "
        "figure stands its interval.",
        "soft",
    )


def _tried(audit: Audit) -> str:
    parted = countermeasures_by_degree(audit)
    titles = {
        Degree.HELD: ("Held", f"The interval of protection begins at {number(HELD)} or above"),
        Degree.PART: ("Held in part", f"It begins at {number(IN_PART)} or above"),
        Degree.NOT: ("Did not hold", f"It begins below {number(IN_PART)}"),
    }
    lists = "".join(
        f"<section><h3>{SIGNS[each]} {title}</h3>{_paragraph(limit, 'soft')}"
        f"{_counted(parted[each])}</section>"
        for each, (title, limit) in titles.items()
    )
    lists += f"<section><h3>Not tried</h3>{_items(audit['not_tried'] or ['none named'])}</section>"
    tried = f"<h3>How it was tried</h3>{_items(audit['tried'])}" if audit["tried"] else ""
    note = (
        "Beside each countermeasure stands the least protection over all models tried, from "
        "somebody without a clean image."
    )
    return f'<div class="lists">{lists}</div>{_paragraph(note, "soft")}{tried}'


def _counted(countermeasures: list[tuple[str, float]]) -> str:
    if not countermeasures:
        return '<ul><li class="number">none</li></ul>'
    lines = (
        f'<li>{escape(name_countermeasure(name))} <span class="number">{number(share)}</span></li>'
        for name, share in countermeasures
    )
    return f"<ul>{''.join(lines)}</ul>"


def _curves(audit: Audit) -> str:
    curves = audit["curves"]
    if not curves:
        return ""
    last = max((step for curve in curves for step in curve["steps"]), default=1)
    figures = "".join(
        f"<figure><figcaption>{escape(curve['label'])}</figcaption>"
        f"{learning_curve(curve, audit['accuracy']['chance'], last)}</figure>"
        for curve in curves
    )
    note = (
        "Accuracy in percent while a model learns: dashed on the images it learns from, solid on "
        "clean images it has not seen, dotted what guessing gives. Where protection holds, the "
        "dashed line rises and the solid one stays low."
    )
    return (
        f'<h3>How learning went</h3>{_paragraph(note, "soft")}<div class="curves">{figures}</div>'
    )


def _utility(audit: Audit) -> str:
    utility = audit["utility"]
    if utility is None or utility["clean_trained_on_protected"] is None:
        return ""
    return "<h3>Use by computers</h3>" + _paragraph(
        "A model that learned from clean images has an accuracy of "
        f"{percent(utility['clean_trained_on_clean'])} on clean images and of "
        f"{percent(utility['clean_trained_on_protected'])} on protected ones."
    )


def _limits(audit: Audit) -> str:
    decoys = _DECOYS.get(audit["protection"]["decoys"], _DECOYS["unknown"])
    texts = [
        "Copies of these images that were released in clear earlier undo all of it: who has them "
        "can learn from them, and learn how to remove the noise.",
        "The audit trains models that tell classes apart. Segmentation and detection were not "
        "tried.",
        "The figures hold for these images, these models and these countermeasures. "
        "Somebody who finds a better one gets more.",
        f"{decoys} Protected images are not for AI-assisted diagnosis.",
        "Likeness is measured, not read by physicians. Protected images are for looking at, "
        "not for measuring in.",
    ]
    return _items(texts)


def _method(audit: Audit) -> str:
    data = audit["data"]
    lines = {
        "Classes": ", ".join(data["classes"]),
        "Images": f"{data['train']:,} to learn from, {data['validation']:,} to choose with, "
        f"{data['test']:,} to test on",
        "Parted": _SPLITS.get(data["split"], data["split"]),
        "Accuracy": "balanced: the mean, over the classes, of the share recognised",
        "Budget": audit["budget"],
        **audit.get("environment", {}),
    }
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in lines.items()
    )
    words = " ".join(f"<span>{escape(word)}</span>" for word in audit["command"].split())
    command = f"<dt>Command</dt><dd><code>{words}</code></dd>"
    return f"<dl>{listed}{command}</dl>{all_figures(audit)}"


SIGNS = {Degree.HELD: "●", Degree.PART: "◐", Degree.NOT: "○", Degree.UNKNOWN: ""}
"""What tells degrees apart without colour."""


def matrix_section(audit: Audit) -> str:
    """Return a heat map for each share of images in clear, as HTML."""
    key = (
        f'<ul class="key"><li>● held, the interval of protection at least {number(HELD)}</li>'
        f"<li>◐ in part, at least {number(IN_PART)}</li><li>○ did not hold</li></ul>"
    )
    shares = sorted({row["clean_share"] for row in audit["matrix"]})
    tables = "".join(
        _heat_map([row for row in audit["matrix"] if row["clean_share"] == share], share)
        for share in shares
    )
    note = (
        "Each field: protection from somebody without a clean image, its interval, and the "
        "accuracy that the attacker reached."
    )
    return f'<p class="soft">{note}</p>' + key + (tables or "<p>Nothing was measured.</p>")


def _heat_map(rows: list[Row], clean_share: float) -> str:
    title = "All images the attacker has are protected"
    if clean_share:
        title = f"The attacker has {percent(clean_share)} of the images in clear"
    victims = list(dict.fromkeys(row["victim"] for row in rows))
    cells = {(row["countermeasure"], row["victim"]): row for row in rows}
    head = "".join(f'<th scope="col">{escape(victim)}</th>' for victim in victims)
    body = "".join(
        f'<tr><th scope="row">{escape(name_countermeasure(name))}</th>'
        + "".join(_cell(cells.get((name, victim))) for victim in victims)
        + "</tr>"
        for name in dict.fromkeys(row["countermeasure"] for row in rows)
    )
    return f"<h3>{title}</h3>" + _box(
        f'<table class="heat"><thead><tr>'
        f'<th scope="col">countermeasure</th>{head}</tr></thead><tbody>{body}</tbody></table>',
        title,
    )


def _cell(row: Row | None) -> str:
    if row is None or row["protection"] is None:
        return '<td class="unknown"><small>not measured</small></td>'
    found = degree_of(row)
    interval = write_interval(row["interval"])
    return (
        f'<td class="{found}"><b>{SIGNS[found]} {number(row["protection"])}</b>'
        f"<small>{interval}</small><small>reaches {percent(row['attacker_best'])}</small></td>"
    )


def _box(table: str, label: str, kind: str = "") -> str:
    """Let a wide table scroll by itself, also by keyboard."""
    return (
        f'<div class="box {kind}" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"{table}</div>"
    )


def all_figures(audit: Audit) -> str:
    """Return all accuracies, as a table in HTML."""
    head = '<th scope="col">model</th><th scope="col" class="word">countermeasure</th>'
    head += "".join(
        f'<th scope="col">{each}</th>'
        for each in (
            *("in clear", "seeds", "learned from clean", "as it ends"),
            *("best on the set", "stopped early", "balanced", "by an oracle", "protection"),
        )
    )
    body = "".join(
        f'<tr><th scope="row">{escape(row["victim"])}</th>'
        f'<td class="word">{escape(row["countermeasure"])}</td>'
        f"<td>{percent(row['clean_share'])}</td><td>{len(row['seeds'])}</td>"
        + "".join(f"<td>{percent(each, 1)}</td>" for each in _accuracies(row))
        + f"<td>{number(row['protection'])}</td></tr>"
        for row in audit["matrix"]
    )
    note = (
        "All accuracies on clean test images. As it ends: the model as trained. Best on the set: "
        "stopped where it does best on images of the set that it does not learn from. Stopped "
        "early: after nine tenths of the steps. By an oracle: stopped, and its outputs renamed, by "
        "all clean validation images, which nobody has who needs the set; no protection goes by it."
    )
    return f'<p class="soft">{note}</p>' + _box(
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        "All accuracies",
        "details",
    )


def write_interval(interval: Interval | None) -> str:
    """Return *0.93 to 0.97*, or nothing."""
    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def name_countermeasure(countermeasure: str) -> str:
    """Return a countermeasure as words."""
    return "none (plain training)" if countermeasure == PLAIN else countermeasure


def _accuracies(row: Row) -> tuple[float | None, ...]:
    return (
        row["clean_trained"],
        row["as_it_ends"],
        row["best_on_set"],
        row["stopped_early"],
        row["balanced"],
        row["oracle"],
    )


class _Figure(NamedTuple):
    key: str
    name: str
    unit: str = ""
    digits: int = 1
    more_is_closer: bool = False


_GROUPS = {
    "Likeness to the clean image": (
        _Figure("psnr_db", "PSNR", " dB", more_is_closer=True),
        _Figure("ssim", "SSIM", digits=3, more_is_closer=True),
        _Figure("ms_ssim", "MS-SSIM", digits=3, more_is_closer=True),
        _Figure("vif", "VIF", digits=3, more_is_closer=True),
    ),
    "Change of stored values": (
        _Figure("max_change", "largest of any pixel"),
        _Figure("rms_change", "root mean square", digits=2),
        _Figure("disc_shift", "largest of a disc&rsquo;s mean", digits=2),
    ),
    "Change of grey-value features": tuple(
        _Figure(f"first_order_{key}_percent", name, "\u202f%")
        for key, name in {
            "mean": "mean",
            "sd": "standard deviation",
            "skewness": "skewness",
            "kurtosis": "kurtosis",
            "entropy": "entropy",
        }.items()
    ),
    "Change of texture features": tuple(
        _Figure(f"texture_{name}_percent", name, "\u202f%")
        for name in ("contrast", "homogeneity", "energy", "correlation")
    ),
}


def fidelity_section(fidelity: dict[str, Beside], side: int) -> str:
    """Return the table as HTML, after a sentence that counts.

    Parameters
    ----------
    fidelity : dict
        Figures by the names of `medprotect.audit.fidelity.compare`.
    side : int
        Of the images, the shorter one, in pixels.
    """
    if not fidelity:
        return "<p>Not measured.</p>"
    body, words = "", []
    for title, figures in _GROUPS.items():
        body += f'<tr><th class="group" colspan="4" scope="rowgroup">{title}</th></tr>'
        for figure in figures:
            word = _compare(figure, fidelity)
            words.append(word)
            body += (
                f'<tr><th scope="row">{figure.name}</th>'
                f"<td>{_write(figure, 'protected', fidelity)}</td>"
                f'<td>{_write(figure, "jpeg_50", fidelity)}</td><td class="word">{word}</td></tr>'
            )
    counted = [word for word in words if word != DASH]
    closer = sum(word != "further" for word in counted)
    return (
        "<p>The yardstick is JPEG at quality 50 of the same images: in a study of CT, MR and "
        "radiographs, physicians could not tell images saved so from the originals. Protected "
        "images are as close to the clean ones as that, or closer, by "
        f"{closer} of {len(counted)} figures.{_SMALL if side < _SMALL_SIDE else ''}</p>"
        '<div class="box fidelity" tabindex="0" role="region" aria-label="Likeness"><table>'
        '<thead><tr><th scope="col">figure</th><th scope="col">protected</th>'
        '<th scope="col">JPEG 50</th><th scope="col" class="word">protected is</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>{_EXPLAINED}"
    )


_SMALL_SIDE = 128
_SMALL = (
    " On images as small as these, JPEG loses more than on images of full size: "
    "the yardstick is an easy one."
)
_EXPLAINED = (
    '<p class="soft">Means over images, except the largest changes. A disc is an eighth of the '
    "side across. Percent of a change of values is of the range from black to white; of a feature, "
    "of its mean on clean images. In a comparison of ten measures, "
    "VIF was among the three that agree best with radiologists; SSIM was not.</p>"
)


def _write(figure: _Figure, column: str, fidelity: dict[str, Beside]) -> str:
    value = _value(figure.key, column, fidelity)
    if value is None:
        same = figure.key == "psnr_db" and _value("max_change", column, fidelity) == 0
        return "no change" if same else DASH
    share = _value(f"{figure.key}_percent", column, fidelity)
    beside = f" ({share:.1f}\u202f%)" if share is not None else ""
    return escape(f"{value:.{figure.digits}f}{figure.unit}{beside}")


def _value(key: str, column: str, fidelity: dict[str, Beside]) -> float | None:
    beside = fidelity.get(key)
    if beside is None:
        return None
    return beside["protected"] if column == "protected" else beside["jpeg_50"]


def _compare(figure: _Figure, fidelity: dict[str, Beside]) -> str:
    """Say which is closer to the clean image, to the digits shown."""
    pair = [_value(figure.key, column, fidelity) for column in ("protected", "jpeg_50")]
    if pair[0] is None or pair[1] is None:
        return DASH
    protected, compressed = (round(each, figure.digits) for each in pair if each is not None)
    if protected == compressed:
        return "as close"
    return "closer" if (protected > compressed) == figure.more_is_closer else "further"
