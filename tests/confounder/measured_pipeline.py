"""Pipelines of one's own, whose figures no later measurement of the shipped ones changes."""

import shutil
from pathlib import Path

from medprotect.confounder.card import load_card
from medprotect.confounder.measured import MEASURED, Measured, read_measured

FIGURES = Measured(0.66, 0.1, 0.05, "jpeg-10")
CAVEAT = (
    "Protection is only 0.10 against someone who has ten clean images of each class, and only 0.05 "
    "if the images are altered before training (jpeg-10)."
)
IN_LIST = "0.66 at standard (0.10 with ten clean images of each class, 0.05 after jpeg-10)"

_TEXT = """
[standard]
protection = 0.66
with_10_images = 0.1
worst = 0.05
worst_countermeasure = "jpeg-10"
[high]
protection = 0.85
"""


def make_measured(folder: Path, like: str = "ct") -> Path:
    """Copy a shipped pipeline to a new folder, and write down `FIGURES` as measured of it."""
    return _copy(folder, like, _TEXT)


def make_pipeline(folder: Path, like: str, **protections: float) -> Path:
    """Copy a shipped pipeline to a new folder; its protection was measured at these strengths.

    Where none is given, nothing was measured.
    """
    tables = (f"[{strength}]\nprotection = {each}\n" for strength, each in protections.items())
    return _copy(folder, like, "".join(tables))


def shipped_figures(name: str, strength: str = "standard") -> Measured | None:
    """What the file of a shipped pipeline says."""
    return read_measured(load_card(name).folder).get(strength)


def _copy(folder: Path, like: str, measured: str) -> Path:
    shutil.copytree(load_card(like).folder, folder)
    (folder / MEASURED).unlink(missing_ok=True)
    if measured:
        (folder / MEASURED).write_text(measured)
    return folder
