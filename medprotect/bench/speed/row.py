"""One row of a measurement of speed: what was measured, how often, and what is aimed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WORKERS = 2
"""Of the runs that goals are about."""

JOBS = (1, WORKERS, 2 * WORKERS)
"""Workers of the runs that are compared."""


def name_jobs(jobs: int) -> str:
    """Return what the row of runs with so many workers is called."""
    return f"real network, {jobs} worker{'s' if jobs > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, measured several times.

    Attributes
    ----------
    row : str
        Letter of the goal that it belongs to.
    what : str
        In words.
    unit : str
        ``x`` for a ratio.
    values : sequence of float
        One of each time.
    most, least : float or None
        What is aimed at, where anything is.
    """

    row: str
    what: str
    unit: str
    values: Sequence[float]
    most: float | None = None
    least: float | None = None

    @property
    def median(self) -> float:
        """The middle one of the values."""
        return median(self.values)

    @property
    def goal(self) -> str:
        """What is aimed at, in words; "" where nothing is."""
        if self.most is not None:
            return f"<= {self.most:g}"
        return "" if self.least is None else f">= {self.least:g}"

    @property
    def holds(self) -> bool | None:
        """Whether the median is as it is aimed at; None where nothing is aimed at."""
        if self.most is not None:
            return self.median <= self.most
        return None if self.least is None else self.median >= self.least

    def as_json(self) -> dict[str, object]:
        """Return the row as it stands in the report."""
        return {
            "row": self.row,
            "what": self.what,
            "unit": self.unit,
            "median": self.median,
            "lowest": min(self.values),
            "highest": max(self.values),
            "values": list(self.values),
            "goal": self.goal,
            "holds": self.holds,
        }
