"""Whether the protection holds in other windows.

``python -m medprotect.bench.studies.through_windows CLEAN PROTECTED``.

Images of more than 8 bits are trained on through some window, and who trains chooses it. For each
window, victims see the clean and the protected images through it, and are tested on clean images
through the same. Prints P, as `medprotect audit` defines it, and with ``--noise-alone`` what a new
victim reads of the noise, laid on other images: see `medprotect.bench.studies.readability`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TypedDict

from medprotect.audit.examination import Budget, examine
from medprotect.audit.fidelity import compare
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Pairs, read_pairs
from medprotect.audit.state import State
from medprotect.bench.studies.readability import read_noise, swap
from medprotect.errors import ConfigError
from medprotect.imaging.image import Window


class Through(TypedDict):
    """What was found through one window; accuracies are balanced, on clean test images."""

    window: str
    measurable: bool
    clean: float | None
    as_is: float | None
    attacker_best: float | None
    P: float | None
    P_interval: object
    noise_read: float | None
    psnr_db: float | None
    most_shown: float | None


def parse_window(text: str) -> Window:
    """Return the window of ``WIDTH/CENTER``, in modality values.

    Raises
    ------
    ConfigError
        It is none.
    """
    width, _, center = text.partition("/")
    try:
        window = Window(float(center), float(width))
    except ValueError:
        raise ConfigError("A window is WIDTH/CENTER, such as 400/40.") from None
    if not window.width > 1:
        raise ConfigError("A window must be wider than 1.")
    return window


def look_through(
    pairs: Pairs, name: str, *, seeds: tuple[int, ...], steps: int, noise_alone: bool = False
) -> Through:
    """Train victims on what a window shows, and return what they have learned.

    Parameters
    ----------
    pairs : Pairs
        Read through the window.
    name : str
        Of the window, for the table.
    seeds, steps
        See `medprotect.audit.examination.Budget`.
    noise_alone : bool
        Whether the noise is read, too, with the first seed.
    """
    budget = Budget(
        name="given", victims=("resnet18",), countermeasures=(), seeds=seeds, steps=steps
    )
    found = examine(pairs, budget, state=State(None), say=_say)
    (row,) = found.matrix
    fidelity = compare(pairs.clean.images, pairs.protected)
    return {
        "window": name,
        "measurable": found.protection["measurable"],
        "clean": found.accuracy["clean"],
        "as_is": row["as_is"],
        "attacker_best": row["attacker_best"],
        "P": row["P"],
        "P_interval": row["P_interval"],
        "noise_read": _read_noise(pairs, seeds[0], steps) if noise_alone else None,
        "psnr_db": fidelity["psnr_db"],
        "most_shown": fidelity["max_change"],
    }


def _read_noise(pairs: Pairs, seed: int, steps: int) -> float:
    swapped = Labelled(swap(pairs.clean.images, pairs.protected), pairs.clean.labels)
    curve = read_noise(swapped, len(pairs.classes), "resnet18", seed=seed, steps=steps)
    return round(max(curve.validation), 4)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clean", type=Path)
    parser.add_argument("protected", type=Path)
    parser.add_argument("--labels", type=Path, required=True, help="as `audit` takes it")
    parser.add_argument("--windows", nargs="+", required=True, help="WIDTH/CENTER, or header")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--noise-alone", action="store_true", help="read the noise, too")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    for name in given.windows:
        window = None if name == "header" else parse_window(name)
        pairs = read_pairs(given.clean, given.protected, given.labels, given.size, window=window)
        found = look_through(
            pairs,
            name,
            seeds=tuple(given.seeds),
            steps=given.steps,
            noise_alone=given.noise_alone,
        )
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
