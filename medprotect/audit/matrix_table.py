"""The matrix of models and countermeasures in the report, as a heat map and in full."""

from html import escape

from medprotect.audit.report_schema import Audit, Interval, Row
from medprotect.audit.verdict import HELD, IN_PART, PLAIN, Degree, degree_of, percent

SIGNS = {Degree.HELD: "●", Degree.PART: "◐", Degree.NOT: "○", Degree.UNKNOWN: ""}
"""What tells degrees apart without colour."""


def matrix_section(audit: Audit) -> str:
    """Return a heat map for each share of images in clear, as HTML."""
    key = (
        f'<ul class="key"><li>● held, the interval of P at least {percent(HELD)}</li>'
        f"<li>◐ in part, at least {percent(IN_PART)}</li><li>○ did not hold</li></ul>"
    )
    shares = sorted({row["clean_share"] for row in audit["matrix"]})
    tables = "".join(
        _heat_map([row for row in audit["matrix"] if row["clean_share"] == share], share)
        for share in shares
    )
    note = "Each field: P, its interval, and the accuracy the attacker reached."
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
    if row is None or row["P"] is None:
        return '<td class="unknown"><small>not measured</small></td>'
    found = degree_of(row)
    interval = write_interval(row["P_interval"])
    return (
        f'<td class="{found}"><b>{SIGNS[found]} {percent(row["P"])}</b>'
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
            *("in clear", "seeds", "learned from clean", "as is"),
            *("renamed", "attacker&rsquo;s best", "P"),
        )
    )
    body = "".join(
        f'<tr><th scope="row">{escape(row["victim"])}</th>'
        f'<td class="word">{escape(row["countermeasure"])}</td>'
        f"<td>{percent(row['clean_share'])}</td><td>{len(row['seeds'])}</td>"
        + "".join(f"<td>{percent(each, 1)}</td>" for each in _accuracies(row))
        + f"<td>{percent(row['P'], 1)}</td></tr>"
        for row in audit["matrix"]
    )
    note = (
        "All accuracies on clean test images. As is: the model as trained. Renamed: its outputs "
        "renamed in the best way. Attacker&rsquo;s best: as is, renamed, or stopped early."
    )
    return f'<p class="soft">{note}</p>' + _box(
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
        "All accuracies",
        "details",
    )


def write_interval(interval: Interval | None) -> str:
    """Return *93 to 97 %*, or nothing."""
    if interval is None:
        return ""
    low, high = (percent(each) for each in interval)
    return f"{low.removesuffix('%').rstrip()} to {high}"


def name_countermeasure(countermeasure: str) -> str:
    """Return a countermeasure as words."""
    return "none (plain training)" if countermeasure == PLAIN else countermeasure


def _accuracies(row: Row) -> tuple[float | None, ...]:
    return row["clean_trained"], row["as_is"], row["renamed"], row["attacker_best"]
