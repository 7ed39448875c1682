"""A histogram of changes as SVG within HTML: no script, colours from the page's style."""

from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _BOTTOM = 280, 110, 20
_BARS = 41


def draw_histogram(changes: NDArray[np.float64], name: str) -> str:
    """Return bars of how often a pixel changed by how much.

    Parameters
    ----------
    changes : NDArray of float64
        At least one, of single pixels.
    name : str
        Of what, for those who do not see the drawing.
    """
    reach = float(np.abs(changes).max()) or 1.0
    counts, _ = np.histogram(changes, _BARS, (-reach, reach))
    unit, tall = _WIDTH / _BARS, _HEIGHT - _BOTTOM
    bars = "".join(
        f'<rect class="bar" x="{index * unit:.1f}" y="{tall - height:.1f}" '
        f'width="{unit - 1:.1f}" height="{height:.1f}"/>'
        for index, height in enumerate(counts / counts.max() * tall)
        if height > 0
    )
    marks = "".join(
        f'<text x="{x}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{value:g}</text>'
        for x, anchor, value in (
            (0, "start", -round(reach, 2)),
            (_WIDTH / 2, "middle", 0),
            (_WIDTH, "end", round(reach, 2)),
        )
    )
    label = f"Change of single pixels, {name}: up to {reach:.3g}, mostly around 0"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<line class="axis" x1="0" y1="{tall}" x2="{_WIDTH}" y2="{tall}"/>{bars}{marks}</svg>'
    )
