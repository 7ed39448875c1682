"""The figure of a measurement of speed: files a second by workers, alone in its file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from medprotect.bench.speed.row import JOBS, name_jobs
from medprotect.errors import ConfigError

_WIDTH, _HEIGHT = 480, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 40, 44
_BAR = 64
_COLOUR, _INK, _GRID = "#1b6ca8", "#222", "#ddd"


@dataclass(frozen=True, slots=True)
class _Bar:
    jobs: int
    median: float
    lowest: float
    highest: float

    @property
    def name(self) -> str:
        """The number of workers, in words."""
        return "1 worker" if self.jobs == 1 else f"{self.jobs} workers"


def draw_throughput(report: Mapping[str, object]) -> str:
    """Draw files a second by the number of workers, with their spread, as SVG without script.

    Parameters
    ----------
    report : mapping of str to object
        From `medprotect.bench.speed.speed.measure_speed`, or its JSON.

    Raises
    ------
    ConfigError
        It holds no such rows.
    """
    bars = _read_bars(report)
    top = _round_up(max(bar.highest for bar in bars))
    told = ", ".join(f"{bar.name} {bar.median:.0f}" for bar in bars)
    described = f"Median files a second: {told}. {report['machine']}."
    drawn = [_axis(top), *(_bar(bar, at, len(bars), top) for at, bar in enumerate(bars))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-labelledby="title description" font-family="sans-serif" font-size="12" '
        f'fill="{_INK}"><title id="title">CT slices protected a second, by workers</title>'
        f'<desc id="description">{escape(described)}</desc>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20" font-weight="bold">Files a second, by workers</text>'
        f"{''.join(drawn)}"
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{escape(str(report["machine"]))}; median, and '
        "lowest to highest</text></svg>\n"
    )


def _read_bars(report: Mapping[str, object]) -> list[_Bar]:
    rows = report.get("rows")
    by_name = {row["what"]: row for row in rows} if isinstance(rows, list) else {}
    found = [(jobs, by_name.get(name_jobs(jobs))) for jobs in JOBS]
    bars = [
        _Bar(jobs, *(float(row[name]) for name in ("median", "lowest", "highest")))
        for jobs, row in found
        if row is not None
    ]
    if not bars:
        raise ConfigError("The report holds no files a second by workers; measure again.")
    return bars


def _round_up(value: float) -> int:
    """Return a scale's end that four equal steps lead to."""
    step = next(each for each in _steps() if 4 * each >= value)
    return 4 * step


def _steps() -> Sequence[int]:
    return [digit * 10**power for power in range(9) for digit in (1, 2, 5)]


def _axis(top: int) -> str:
    marks = [
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(at, top):.1f}" '
        f'y2="{_y(at, top):.1f}" stroke="{_GRID}"/><text x="{_LEFT - 6}" '
        f'y="{_y(at, top) + 4:.1f}" text-anchor="end">{at}</text>'
        for at in range(0, top + 1, top // 4)
    ]
    return "".join(marks)


def _bar(bar: _Bar, at: int, count: int, top: int) -> str:
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (at + 0.5) / count
    upper, lower = _y(bar.highest, top), _y(bar.lowest, top)
    y, bottom = _y(bar.median, top), _y(0, top)
    return (
        f'<rect x="{middle - _BAR / 2:.1f}" y="{y:.1f}" width="{_BAR}" '
        f'height="{bottom - y:.1f}" fill="{_COLOUR}"/>'
        f'<path d="M{middle:.1f} {upper:.1f}V{lower:.1f}M{middle - 6:.1f} {upper:.1f}h12'
        f'M{middle - 6:.1f} {lower:.1f}h12" stroke="{_INK}" stroke-width="1.4" fill="none"/>'
        f'<text x="{middle:.1f}" y="{upper - 6:.1f}" text-anchor="middle">{bar.median:.1f}</text>'
        f'<text x="{middle:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">'
        f"{bar.name}</text>"
    )


def _y(value: float, top: int) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top)
