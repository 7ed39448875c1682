"""The figures of a training over its steps, kept as it goes, and drawn as a picture at its end."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from medprotect.confounder.weights import write_private
from medprotect.training.assigning import Progress
from medprotect.training.ranks import rank

Rows = dict[str, dict[int, dict[str, float]]]
"""Figures by stage and step."""

SHARES = {
    "p_in_training": "P in training",
    "told": "told",
    "code_read": "codes read",
    "kept": "kept",
    "misled": "misled",
    "amplitude": "amplitude",
    "faded_in": "faded in",
}
LOSSES = {"confounder": "confounder", "utility": "utility", "decoy": "decoy"}

EVERY = 20
"""Steps from one point of a curve to the next."""

_WIDTH, _HEIGHT, _GAP = 640, 240, 36
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 110, 28, 30
_LABEL_GAP = 14
_COLOURS = ("#1b6ca8", "#b3541e", "#3d7a3a", "#7a4fa3", "#8a6d00", "#555", "#a02c5a")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 4", "12 4")


class Curves:
    """What a training reports, kept in a file beside its checkpoints.

    A training that broke off reports the steps since its checkpoint again: those replace the first.

    Parameters
    ----------
    folder : Path
        Of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "curves.json"
        self.rows = self._read()

    def following(self, progress: Progress) -> Progress:
        """Return a `Progress` that keeps figures of every `EVERY` steps, and passes all on."""

        def keep(stage: str, step: int, steps: int, figures: dict[str, float]) -> None:
            if figures and (step % EVERY == 0 or step == steps):
                before = {at: row for at, row in self.rows.get(stage, {}).items() if at < step}
                self.rows[stage] = {**before, step: dict(figures)}
                if rank() == 0:
                    write_private(self._path, json.dumps(self.rows).encode())
            progress(stage, step, steps, figures)

        return keep

    def _read(self) -> Rows:
        try:
            content = json.loads(self._path.read_bytes())
            return {
                stage: {int(step): dict(figures) for step, figures in steps.items()}
                for stage, steps in content.items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            return {}  # it is a picture that is lost, not the training


def draw_curves(rows: Rows, stage: str) -> str:
    """Draw the generator's training as an SVG: shares of 1 above, losses below.

    Parameters
    ----------
    rows : dict
        See `Rows`.
    stage : str
        Which of them: that of the generator which was finished.

    Returns
    -------
    str
        Alone in its file, without script; lines differ in dashes as well as in colour.
    """
    steps = dict(sorted(rows.get(stage, {}).items()))
    losses = [figures.get(name, 0.0) for figures in steps.values() for name in LOSSES]
    panels = [
        _panel("Shares of 1", SHARES, steps, 1.0),
        f'<g transform="translate(0 {_HEIGHT + _GAP})">'
        + _panel("Losses", LOSSES, steps, max([*losses, 1e-3]))
        + "</g>",
    ]
    height = 2 * _HEIGHT + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'aria-label="Figures of the training over its steps" font-family="sans-serif" '
        f'font-size="12"><rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
        f"{''.join(panels)}</svg>\n"
    )


def _panel(
    title: str, names: Mapping[str, str], steps: Mapping[int, Mapping[str, float]], top: float
) -> str:
    last = max(steps, default=1)
    drawn = [f'<text x="{_LEFT}" y="16" font-weight="bold">{title}</text>', _axes(last, top)]
    ends: dict[str, float] = {}
    looks = dict(zip(names, zip(_COLOURS, _DASHES, strict=True), strict=False))
    for name in names:
        points = [(_x(at, last), _y(row[name], top)) for at, row in steps.items() if name in row]
        if points:
            colour, dash = looks[name]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            drawn.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6" '
                f'stroke-dasharray="{dash or "none"}"/>'
            )
            ends[name] = points[-1][1]
    drawn += [
        f'<text x="{_WIDTH - _RIGHT + 6}" y="{at + 4:.1f}" fill="{looks[name][0]}">'
        f"{escape(names[name])}</text>"
        for name, at in _apart(ends).items()
    ]
    return "".join(drawn)


def _axes(last: int, top: float) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    marks = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{_y(at * top, top):.1f}" '
        f'y2="{_y(at * top, top):.1f}" stroke="#ddd"/><text x="{_LEFT - 6}" '
        f'y="{_y(at * top, top) + 4:.1f}" text-anchor="end">{at * top:.2g}</text>'
        for at in (0, 0.5, 1)
    ]
    marks.append(f'<text x="{_LEFT}" y="{bottom + 18}">0</text>')
    marks.append(f'<text x="{right}" y="{bottom + 18}" text-anchor="end">{last} steps</text>')
    return "".join(marks)


def _apart(ends: Mapping[str, float]) -> dict[str, float]:
    """Return where the labels of the lines stand: beside their ends, none over another."""
    places: dict[str, float] = {}
    below = float(_HEIGHT - _BOTTOM)
    for name in sorted(ends, key=lambda each: ends[each], reverse=True):
        below = places[name] = min(ends[name], below)
        below -= _LABEL_GAP
    return places


def _x(step: float, last: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last


def _y(value: float, top: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - min(max(value / top, 0.0), 1.0))
