"""The figure of a comparison: protection by protection and countermeasure, alone in its file."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

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
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in words, and the protection (1 at most) that it is coloured by, if any."""

    text: str
    protection: float | None = None


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
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'role="img" aria-labelledby="title description" font-family="sans-serif" font-size="12">'
        f'<title id="title">{escape(title)}</title><desc id="description">{escape(told)}</desc>'
        f'<style>{_STYLE}</style><rect class="card" width="100%" height="100%" rx="4"/>'
        f'<text x="10" y="22" font-weight="bold">{escape(title)}</text>{"".join(drawn)}'
        f"{_legend(left, height - 22)}</svg>\n"
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
