"""Whether the protection holds in other windows.

``python -m medprotect.bench.studies.through_windows CLEAN PROTECTED``.

Images of more than 8 bits are trained on through some window, and who trains chooses it. For each
window, victims see the clean and the protected images through it, and are tested on clean images
through the same. Prints P, as `medprotect audit` defines it, and with ``--noise-alone`` what a new
victim reads of the noise, laid on other images: see `medprotect.bench.studies.readability`.
"""

import json
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from medprotect.audit.budgets import Budget
from medprotect.audit.examination import examine
from medprotect.audit.fidelity import compare
from medprotect.audit.pairs import Pairs, read_pairs
from medprotect.audit.state import State
from medprotect.bench import options
from medprotect.bench.studies.readability import lay_noise_elsewhere, read_noise
from medprotect.errors import ConfigError
from medprotect.imaging.image import Window


class Through(TypedDict):
    """What was found through one window; accuracies are balanced, on clean test images."""

    window: str
    measurable: bool
    clean: float | None
    as_it_ends: float | None
    attacker_best: float | None
    protection: float | None
    interval: object
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
    found = examine(pairs, budget, state=State(None), say=options.say)
    (row,) = found.matrix
    fidelity = compare(pairs.clean.images, pairs.protected)
    return {
        "window": name,
        "measurable": found.protection["measurable"],
        "clean": found.accuracy["clean"],
        "as_it_ends": row["as_it_ends"],
        "attacker_best": row["attacker_best"],
        "protection": row["protection"],
        "interval": row["interval"],
        "noise_read": _read_noise(pairs, seeds[0], steps) if noise_alone else None,
        "psnr_db": fidelity["psnr_db"],
        "most_shown": fidelity["max_change"],
    }


def _read_noise(pairs: Pairs, seed: int, steps: int) -> float:
    swapped = lay_noise_elsewhere(pairs)
    curve = read_noise(swapped, len(pairs.classes), "resnet18", seed=seed, steps=steps)
    return round(max(share for _, share in curve), 4)


def main(
    clean: Annotated[Path, typer.Argument(help="The images in clear.")],
    protected: Annotated[Path, typer.Argument(help="The same images, protected.")],
    labels: Annotated[Path, typer.Option(help="Their labels, as `audit` takes them.")],
    windows: Annotated[
        str, typer.Option(help="WIDTH/CENTER, or header; several separated by commas.")
    ],
    size: Annotated[int, typer.Option(min=8, help="Pixels of the long side.")] = 64,
    seeds: options.Seeds = "1",
    steps: options.Steps = 300,
    noise_alone: Annotated[
        bool, typer.Option("--noise-alone", help="Read the noise, too.")
    ] = False,
) -> None:
    """Train models on what each window shows, and say what they have learned."""
    chosen = options.take_numbers(seeds)
    named = {name: None if name == "header" else parse_window(name) for name in windows.split(",")}
    for name, window in named.items():
        pairs = read_pairs(clean, protected, labels, size=size, window=window)
        found = look_through(pairs, name, seeds=chosen, steps=steps, noise_alone=noise_alone)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    options.run(main)
