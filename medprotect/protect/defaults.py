"""What a run takes where nothing is said."""

import os
from pathlib import Path


def state_beside(out: Path) -> Path:
    """Return the state folder that belongs to OUT."""
    place = out.resolve()
    return place.with_name(place.name + ".medprotect")


def usable_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
