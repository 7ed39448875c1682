"""Drawings of the report as SVG within HTML: no script, colours from the page's style."""

from html import escape

from medprotect.audit.report_schema import Curve, Interval
from medprotect.audit.verdict import number

_WIDTH, _HEIGHT = 280, 178
_LEFT, _RIGHT, _TOP, _BOTTOM = 28, 78, 8, 24
_LABEL_GAP = 13


def scale_bar(share: float, interval: Interval | None) -> str:
    """Draw a protection on a scale of 0 to 1: a dot, and its interval as a band."""
    low, high = (_within(each) for each in interval or (share, share))
    marks = "".join(
        f'<line class="axis" x1="{10 + 3 * at}" y1="8" x2="{10 + 3 * at}" y2="16"/>'
        f'<text x="{10 + 3 * at}" y="31" text-anchor="middle">{at / 100:g}</text>'
        for at in (0, 50, 100)
    )
    return (
        '<svg class="scale" viewBox="0 0 320 34" role="img" '
        f'aria-label="{number(share)} on a scale of 0 to 1">'
        f'<line class="axis" x1="10" y1="12" x2="310" y2="12"/>{marks}'
        f'<line class="band" x1="{10 + 300 * low:.1f}" y1="12" '
        f'x2="{10 + 300 * high:.1f}" y2="12"/>'
        f'<circle class="dot" cx="{10 + 300 * _within(share):.1f}" cy="12" r="4"/></svg>'
    )


def learning_curve(curve: Curve, chance: float | None, last_step: int) -> str:
    """Draw one training: accuracy on its own images dashed, on clean validation images solid."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    lines = {"train": curve["train_accuracy"], "validation": curve["validation_accuracy"]}
    drawn = [_axes(last_step)]
    if chance is not None:
        at = _y(chance)
        drawn.append(
            f'<line class="chance" x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>'
        )
    ends: dict[str, float] = {}
    for name, shares in lines.items():
        points = [
            (_x(step, last_step), _y(share))
            for step, share in zip(curve["steps"], shares, strict=False)
            if share is not None
        ]
        if points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            drawn.append(f'<polyline class="{name}" points="{path}"/>')
            ends[name] = points[-1][1]
    words = {"train": "own images", "validation": "clean images"}
    for name, at in _apart(ends, bottom).items():
        drawn.append(
            f'<text class="{name}" x="{right + 4}" y="{at + 3.5:.1f}">{words[name]}</text>'
        )
    label = f"Accuracy while learning: {curve['label']}"
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(drawn)}</svg>'
    )


def _axes(last_step: int) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    marks = [
        f'<line class="grid" x1="{_LEFT}" y1="{_y(at / 100):.1f}" x2="{right}" '
        f'y2="{_y(at / 100):.1f}"/><text x="{_LEFT - 5}" y="{_y(at / 100) + 3.5:.1f}" '
        f'text-anchor="end">{at}</text>'
        for at in (0, 50, 100)
    ]
    marks.append(f'<text x="{_LEFT}" y="{bottom + 16}">0</text>')
    marks.append(f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{last_step} steps</text>')
    return "".join(marks)


def _apart(ends: dict[str, float], bottom: float) -> dict[str, float]:
    """Move the labels of two lines that end close together apart."""
    names = sorted(ends, key=lambda name: ends[name])
    if len(names) == 2 and ends[names[1]] - ends[names[0]] < _LABEL_GAP:
        middle = (ends[names[0]] + ends[names[1]]) / 2
        middle = min(max(middle, _TOP + _LABEL_GAP / 2), bottom - _LABEL_GAP / 2)
        return {names[0]: middle - _LABEL_GAP / 2, names[1]: middle + _LABEL_GAP / 2}
    return ends


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _x(step: float, last_step: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(last_step, 1)


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - _within(share))
