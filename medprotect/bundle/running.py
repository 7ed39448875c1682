"""`medprotect bundle run`: a bundle that somebody else may have made.

Its configs are programs. They are run only where the user has listed the bundle's hash; else
nothing of it is used but its card and its weights, by our own code.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medprotect.bundle.archive import Contents
from medprotect.bundle.dataset import settle_by_pixels
from medprotect.bundle.layout import bundle_version
from medprotect.bundle.references import collect_uids
from medprotect.confounder.along_z import COHERENT
from medprotect.confounder.card import CARD, Card, load_card, parse_card
from medprotect.confounder.measured import MEASURED, Measured
from medprotect.errors import OutputError, PipelineError, VerificationError
from medprotect.plan.plan import Action, Row, plan_rows, reject_collisions
from medprotect.protect.protectable import check_file
from medprotect.protect.settings import Settings
from medprotect.scan.walk import check_trees, ignores_case, open_found, walk

METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"


@contextmanager
def unpacked(contents: Contents, *, whole: bool) -> Iterator[Card]:
    """Give the card of a bundle in a folder that its user alone can read, and that goes away.

    Parameters
    ----------
    contents : Contents
        Of the bundle.
    whole : bool
        Whether all its files are to be there, and not only card, metadata and weights.

    Raises
    ------
    PipelineError, HashMismatchError
        The bundle has no card, or not the weights and metadata of its card.
    """
    if CARD not in contents.files:
        raise PipelineError(f"The bundle holds no {CARD}: it was not made by medprotect.")
    card = parse_card(contents.files[CARD], Path())
    needed = (CARD, METADATA, card.weights.file)
    missing = [name for name in needed if name not in contents.files]
    if missing:
        raise PipelineError(f"The bundle lacks {missing[0]}. Fetch it again.")
    _check_metadata(contents.files[METADATA], card)
    measured = {MEASURED} & set(contents.files)
    with tempfile.TemporaryDirectory(prefix="medprotect-") as place:
        folder = Path(place) / card.name
        contents.write(folder, None if whole else (*needed, *measured))
        yield load_card(folder)


def _check_metadata(data: bytes, card: Card) -> None:
    try:
        content = json.loads(data)
        image = content["network_data_format"]["inputs"]["image"]
        stated = (content["name"], content["version"], image["num_channels"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise PipelineError(f"{METADATA} of the bundle is not one that medprotect wrote.") from None
    if stated != (card.name, bundle_version(card), card.images.channels):
        raise PipelineError(f"{METADATA} and {CARD} of the bundle are of different pipelines.")


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """What a bundle's own program made of an export.

    Attributes
    ----------
    files : int
        Entries of the export.
    checked : int
        Images that it wrote, each compared with its original, pixel by pixel.
    left : int
        Entries that are no images, or cannot be protected: not in OUT.
    measured : Counter
        Images in OUT by what their pipeline was measured to protect; None where nothing was.
    """

    files: int
    checked: int
    left: int
    measured: Counter[Measured | None] = field(default_factory=Counter, compare=False)


def run_program(card: Card, settings: Settings, key_file: Path) -> ProgramRun:
    """Run ``configs/inference.json`` of an unpacked bundle, then check all that it wrote.

    Whatever the program does: every image that can be protected must be in OUT, within its budget,
    and nothing else may be there.

    Raises
    ------
    OutputError
        OUT is not empty.
    PipelineError
        The program failed, or is too old to know of noise that is independent along z.
    VerificationError
        OUT is not what it should be.
    """
    check_trees(settings.export, settings.out, settings.state)
    if settings.out.exists() and any(walk(settings.out)):
        raise OutputError("OUT is not empty; name a new folder.")
    _run_monai(
        card.folder,
        dataset_dir=str(settings.export.resolve()),
        output_dir=str(settings.out.resolve()),
        key_file=str(key_file.resolve()),
        strength=settings.strength,
        keep_uids=settings.keep_uids,
        along_z=settings.along_z,
    )
    return check_output(settings)


def check_output(settings: Settings) -> ProgramRun:
    """Compare OUT with the export: every image that can be protected, and nothing else.

    Raises
    ------
    VerificationError
        An image is missing, one too many, not protected, or beyond its budget.
    """
    export, out = settings.export, settings.out
    planned = plan_rows(export, out, walk(export), settings.rules)
    rows = [settle_by_pixels(export, row) for row in planned]
    rows = reject_collisions(rows, ignores_case=ignores_case(out) is True)
    images = [row for row in rows if row.action is Action.PROTECT]
    _check_names(out, images)
    pairs = [(export / row.found.path, out / row.out) for row in images]
    uids = collect_uids(pairs)
    for row in images:
        _check_image(settings, row, uids)
    measured = Counter(row.measured for row in images)
    return ProgramRun(len(rows), len(images), len(rows) - len(images), measured)


def _run_monai(folder: Path, **overrides: Any) -> None:
    if not (folder / INFERENCE).is_file():
        raise PipelineError(f"The bundle holds no {INFERENCE} to run.")
    _check_along_z((folder / INFERENCE).read_bytes(), overrides["along_z"])
    config = str(folder / INFERENCE)
    arguments = json.dumps({"config_file": config, "bundle_root": str(folder), **overrides})
    command = [sys.executable, "-m", "medprotect.bundle.program"]
    done = subprocess.run(command, input=arguments, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise PipelineError("The bundle's own program failed. Do not use OUT.")


def _check_along_z(program: bytes, along_z: str) -> None:
    """Refuse a program that would make coherent noise, whatever was asked for."""
    if along_z != COHERENT and b'"@along_z"' not in program:
        raise PipelineError(
            f"The bundle's configs know nothing of --along-z {along_z}: leave it out, or write "
            "them again with python -m medprotect.bundle.layout FOLDER."
        )


def _check_names(out: Path, images: list[Row]) -> None:
    expected, there = {row.out for row in images}, {found.path for found in walk(out)}
    if expected - there:
        count = len(expected - there)
        raise VerificationError(f"{count} images of the export are not in OUT; do not use OUT")
    if there - expected:
        count = len(there - expected)
        raise VerificationError(f"{count} files in OUT are no image of the export; do not use OUT")


def _check_image(settings: Settings, row: Row, uids: dict[str, str]) -> None:
    with open_found(settings.export, row.found) as stream:
        original = stream.read()
    protected = (settings.out / row.out).read_bytes()
    check_file(original, protected, settings.strength, uids)
