"""The figures of a comparison, each alone in its file: what is left, and how much is seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor

_WIDTH, _RIGHT = 700, 12
_ROW, _GAP = 26, 2
_LETTER = 6.6
"""Pixels of a letter of the labels, about."""

_NARROWEST, _WIDEST = 36, 72
_INK_TURNS = 0.9
"""From this protection on a cell is too dark for black letters."""

_STYLE = (
    ":root{--card:#fff;--ink:#222;--soft:#666;--cell:#000;--none:#eee}"
    "@media(prefers-color-scheme:dark){"
    ":root{--card:#1e2129;--ink:#e6e6e6;--soft:#a8adb5;--cell:#fff;--none:#2b2f38}}"
    ".card{fill:var(--card)}text{fill:var(--ink)}.soft{fill:var(--soft)}"
    ".cell{fill:var(--cell)}.deep{fill:#fff}.share{fill:#1b6ca8}.none{fill:var(--none)}"
    ".line{stroke:var(--none)}.mark{stroke:var(--soft);stroke-dasharray:4 3}"
    ".other{fill:none;stroke:var(--soft);stroke-width:1.5}"
)

_PLOT_HEIGHT, _PLOT_LEFT, _PLOT_TOP, _PLOT_BOTTOM = 300, 46, 44, 40
_LABEL_HEIGHT = 13


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in words, and the protection (1 at most) that it is coloured by, if any."""

    text: str
    protection: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A protection on images that are so alike to the originals (VIF, 1: the same)."""

    name: str
    vif: float
    protection: float
    is_ours: bool


def draw_visibility(title: str, points: Sequence[Point], jpeg_vif: float | None) -> str:
    """Draw protection against likeness as SVG: up is stronger, right is less seen.

    Parameters
    ----------
    title : str
        Of the figure.
    points : sequence of Point
        At least one.
    jpeg_vif : float, optional
        Likeness of the originals after JPEG of quality 50, drawn as a line.
    """
    known = [each.vif for each in points] + ([] if jpeg_vif is None else [jpeg_vif])
    least = floor(10 * min(known)) / 10
    most = max(1.0, *known)
    right, bottom = _WIDTH - 120.0, _PLOT_HEIGHT - _PLOT_BOTTOM

    def place(vif: float, protection: float) -> tuple[float, float]:
        share = min(max(protection, 0.0), 1.0)
        across = (vif - least) / (most - least)
        return _PLOT_LEFT + across * (right - _PLOT_LEFT), bottom - share * (bottom - _PLOT_TOP)

    drawn = []
    for at in range(5):
        _, y = place(most, at / 4)
        drawn.append(
            f'<line class="line" x1="{_PLOT_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            f'<text class="soft" x="{_PLOT_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{at / 4:g}</text>"
        )
    for tenth in range(round(10 * least), 11):
        x, _ = place(tenth / 10, 0)
        drawn.append(
            f'<text class="soft" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{tenth / 10:g}</text>"
        )
    if jpeg_vif is not None:
        x, _ = place(jpeg_vif, 0)
        drawn.append(
            f'<line class="mark" x1="{x:.1f}" y1="{_PLOT_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
            f'<text class="soft" x="{x + 4:.1f}" y="{_PLOT_TOP - 6}">JPEG 50</text>'
        )
    labels: list[tuple[float, float, float]] = []
    for each in sorted(points, key=lambda point: -point.protection):
        x, y = place(each.vif, each.protection)
        line = _free_line(labels, x + 8, y + 4, _LETTER * len(each.name), bottom + 4)
        kind = "share" if each.is_ours else "other"
        drawn.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
            f'<text x="{x + 8:.1f}" y="{line:.1f}">{escape(each.name)}</text>'
        )
    told = "; ".join(f"{each.name}: {each.protection:.2f} at {each.vif:.2f}" for each in points)
    below = bottom + 34
    drawn.append(
        f'<text class="soft" x="{(_PLOT_LEFT + right) / 2:.0f}" y="{below:.0f}" '
        'text-anchor="middle">VIF: 1 is as the originals</text>'
    )
    return _frame(title, told, (_WIDTH, below + 10), "".join(drawn))


def _free_line(
    labels: list[tuple[float, float, float]], x: float, y: float, width: float, lowest: float
) -> float:
    """Return the line nearest to y where a label meets none before it; it is noted."""
    line = y
    near = [label for label in labels if label[0] < x + width and x < label[2]]
    for at in range(2 * len(near) + 1):
        way = (at + 1) // 2 * (-1 if at % 2 else 1)  # 0, one up, one down, two up
        line = y + way * _LABEL_HEIGHT
        if line <= lowest and all(abs(label[1] - line) >= _LABEL_HEIGHT for label in near):
            break
    labels.append((x, line, x + width))
    return line


def draw_heat_map(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]
) -> str:
    """Draw a table of protections as SVG without script, for light and dark.

    Parameters
    ----------
    title : str
        Of the figure.
    columns : sequence of str
        Names of the columns.
    rows : sequence of tuple
        Of the name of a row, and its cells, one a column.
    """
    left = 16 + _LETTER * max(len(name) for name, _ in rows)
    room = (_WIDTH - left - _RIGHT) / len(columns)
    cell = min(max(room, _NARROWEST), _WIDEST)
    slope = 0.7 * _LETTER * max(map(len, columns))  # of names that rise at 45 degrees
    width = max(_WIDTH, left + cell * len(columns) + _RIGHT, left + cell * len(columns) + slope)
    top = 40 + slope
    height = top + _ROW * len(rows) + 34
    drawn = [
        _column(name, left + cell * (at + 0.5), top - 6) for at, name in enumerate(columns)
    ] + [_row(name, cells, (left, top + _ROW * at), cell) for at, (name, cells) in enumerate(rows)]
    told = "; ".join(
        f"{name}: "
        + ", ".join(f"{column} {each.text}" for column, each in zip(columns, cells, strict=True))
        for name, cells in rows
    )
    return _frame(title, told, (width, height), "".join(drawn) + _legend(left, height - 22))


def _frame(title: str, told: str, size: tuple[float, float], drawn: str) -> str:
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'role="img" aria-labelledby="title description" font-family="sans-serif" font-size="12">'
        f'<title id="title">{escape(title)}</title><desc id="description">{escape(told)}</desc>'
        f'<style>{_STYLE}</style><rect class="card" width="100%" height="100%" rx="4"/>'
        f'<text x="10" y="22" font-weight="bold">{escape(title)}</text>{drawn}</svg>\n'
    )


def _column(name: str, x: float, y: float) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" transform="rotate(-45 {x:.1f} {y:.1f})">'
        f"{escape(name)}</text>"
    )


def _row(name: str, cells: Sequence[Cell], corner: tuple[float, float], width: float) -> str:
    x, y = corner
    middle = y + _ROW / 2 + 4
    label = f'<text x="{x - 8:.1f}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>'
    return label + "".join(_cell(each, x + width * at, y, width) for at, each in enumerate(cells))


def _cell(cell: Cell, x: float, y: float, width: float) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width - _GAP:.1f}" height="{_ROW - _GAP}"'
    at = f'x="{x + (width - _GAP) / 2:.1f}" y="{y + _ROW / 2 + 3:.1f}" text-anchor="middle"'
    if cell.protection is None:
        return f'<rect class="none" {box}/><text class="soft" {at}>{escape(cell.text)}</text>'
    share = min(max(cell.protection, 0.0), 1.0)
    kind = "deep" if share >= _INK_TURNS else "cell"
    return (
        f'<rect class="none" {box}/><rect class="share" fill-opacity="{share:.2f}" {box}/>'
        f'<text class="{kind}" {at}>{escape(cell.text)}</text>'
    )


def _legend(x: float, y: float) -> str:
    steps = "".join(
        f'<rect class="share" fill-opacity="{at / 10:.1f}" x="{x + 14 * at:.1f}" y="{y:.1f}" '
        'width="14" height="10"/>'
        for at in range(11)
    )
    return (
        f'<text class="soft" x="{x - 8:.1f}" y="{y + 9:.1f}" text-anchor="end">'
        f"0: learned as from clean images</text>{steps}"
        f'<text class="soft" x="{x + 162:.1f}" y="{y + 9:.1f}">1: nothing learned</text>'
    )
