"""What a plan will take, before it is carried out: bytes and seconds, roughly."""

from collections.abc import Iterable

from medprotect.imaging.image import Traits
from medprotect.plan.plan import Action, Row

_SECONDS_PER_FILE = 0.01
_SECONDS_PER_IMAGE = 0.02
_SECONDS_PER_MEGAPIXEL = 0.2
"""Of one worker on a common processor; see docs/reference/speed.md for the measurement."""

_NOISY = 1.15
"""By how much lossless compression suffers from noise."""

_LOSSLESS = 0.6
"""Share of the raw size that a lossy image takes once it is promoted to lossless."""


def estimate_bytes(rows: Iterable[Row]) -> int:
    """Return about how many bytes a plan will write to OUT."""
    return sum(_bytes(row) for row in rows)


def _bytes(row: Row) -> int:
    if row.action is Action.COPY:
        return row.found.size
    if row.action is not Action.PROTECT:
        return 0
    if row.traits is None or row.voxels:  # of the two files of a pair, or of an earlier run
        return row.found.size if row.voxels or row.header else 0
    if row.traits.lossy:
        return int(_raw_bytes(row.traits) * _LOSSLESS)
    return row.found.size if row.traits.compression == "none" else int(row.found.size * _NOISY)


def _raw_bytes(traits: Traits) -> int:
    width = 1 if traits.bits_stored <= 8 else 2
    return traits.rows * traits.columns * traits.images * traits.channels * width


def most_vault_bytes(rows: Iterable[Row]) -> int:
    """Return about how many bytes a vault of the export takes at most: as many as the export."""
    return sum(row.found.size for row in rows)


def estimate_seconds(rows: Iterable[Row], jobs: int) -> float:
    """Return about how many seconds a plan will take with `jobs` workers."""
    return sum(_seconds(row) for row in rows) / max(jobs, 1)


def _seconds(row: Row) -> float:
    if row.action is not Action.PROTECT or row.traits is None:
        return 0.0
    traits = row.traits
    megapixels = traits.rows * traits.columns * traits.images / 1e6
    return (
        _SECONDS_PER_FILE + _SECONDS_PER_IMAGE * traits.images + _SECONDS_PER_MEGAPIXEL * megapixels
    )
