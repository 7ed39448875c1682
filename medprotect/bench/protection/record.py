"""One run of the bench, as JSON in a file of its own: what was tried, and what came of it."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.report_schema import Beside
from medprotect.errors import ConfigError
from medprotect.protect.atomic import write_whole

SCHEMA_VERSION = 2

_MOST_CLASSES = 256
_SHOWN_DIGITS = 8


class DataSettings(TypedDict):
    """The images: the name of the card, the hash of all that is trained and tested on."""

    dataset: str
    sha256: str
    train: int
    image_size: list[int]


class AttackSettings(TypedDict):
    """What an attacker does.

    ``k`` holds the numbers of clean images of each class that are tried besides, and ``aid_sha256``
    the hash of what else the countermeasure learns from, if any.
    """

    victim: str
    countermeasure: str
    seed: int
    steps: int
    k: NotRequired[list[int]]
    aid_sha256: NotRequired[str]


class Settings(TypedDict):
    """All that a result depends on; `protection` holds its name and what it was made with."""

    data: DataSettings
    protection: dict[str, Any]
    attack: AttackSettings


class Moments(TypedDict):
    """What a victim told of the clean test images at each moment of its training.

    ``held`` is its balanced accuracy on images of the set that were held out; ``predicted`` are the
    classes, packed. Runs made before these were kept hold the last moment alone. ``balanced`` are
    the classes at the last, each given as often as the set holds it; older runs have none.
    """

    steps: list[int]
    held: list[float]
    predicted: list[str]
    balanced: NotRequired[str]


class Accuracies(TypedDict):
    """Balanced accuracies on clean test images, for people who read the file."""

    as_it_ends: float
    oracle: float


class Protected(TypedDict):
    """How the protected images were made, and how alike they are; nothing of clean ones."""

    seconds: float
    fidelity: dict[str, Beside]


class Run(TypedDict):
    """The file.

    ``oracle`` are the classes told at the moment that does best on clean validation images, outputs
    renamed if that is better. ``with_images`` holds what is told with k clean images of each class,
    by k and attack. Of the k alone there is nothing else. ``seconds`` are those of this run alone,
    without making the protected images; ``peak_memory_mb`` is the most that the process held until
    its end.
    """

    schema_version: int
    settings: Settings
    accuracy: Accuracies | None
    protected: Protected | None
    classes: list[str]
    validation: int
    labels: str
    groups: NotRequired[list[int]]
    moments: Moments | None
    oracle: str | None
    with_images: NotRequired[dict[str, dict[str, str]]]
    command: str
    date: str
    versions: dict[str, str]
    seconds: float
    peak_memory_mb: float


def identify(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of settings: runs are the same where it is."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def name_file(stem: str, settings: Mapping[str, Any], suffix: str) -> str:
    """Return a name that says what the file holds and differs where settings do."""
    return f"{stem}.{identify(settings)[:_SHOWN_DIGITS]}{suffix}"


def run_path(out: Path, settings: Settings) -> Path:
    """Return where a run lies: ``DATASET/PROTECTION/VICTIM.COUNTERMEASURE.seed-N.HASH.json``."""
    attack = settings["attack"]
    stem = f"{attack['victim']}.{attack['countermeasure']}.seed-{attack['seed']}"
    return protection_folder(out, settings) / name_file(stem, settings, ".json")


def protection_folder(out: Path, settings: Mapping[str, Any]) -> Path:
    """Return the folder of a protection on a data set."""
    folder: Path = out / settings["data"]["dataset"] / settings["protection"]["name"]
    return folder


def pack(classes: NDArray[np.int64]) -> str:
    """Return classes (N,), each below 256, as text: bytes, deflated, in base 64."""
    if classes.size and not 0 <= classes.min() <= classes.max() < _MOST_CLASSES:
        raise ConfigError(f"The bench compares up to {_MOST_CLASSES} classes.")
    return base64.b64encode(zlib.compress(classes.astype(np.uint8).tobytes(), 9)).decode()


def unpack(text: str) -> NDArray[np.int64]:
    """Return the classes (N,) again."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).astype(np.int64)


def write_run(out: Path, run: Run) -> Path:
    """Write a run where it belongs, and return where."""
    path = run_path(out, run["settings"])
    write_whole(path, (json.dumps(run, indent=1) + "\n").encode())
    return path


def read_run(path: Path) -> Run:
    """Read a run.

    Raises
    ------
    ConfigError
        The file is none.
    """
    try:
        found = json.loads(path.read_bytes())
        version = found["schema_version"]
        whole = Run.__required_keys__ <= found.keys()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise ConfigError(f"{path.name} is not a run of the bench.") from None
    if version != SCHEMA_VERSION or not whole:
        raise ConfigError(f"{path.name} is not a run of the bench as this version writes it.")
    run: Run = found
    return run


def is_finished(out: Path, settings: Settings) -> bool:
    """Whether a run with just these settings is there."""
    try:
        there = read_run(run_path(out, settings))
    except ConfigError:
        return False
    return identify(there["settings"]) == identify(settings)


def read_runs(places: Iterable[Path]) -> list[Run]:
    """Read runs from files, and from all files ``*.json`` below folders, each once.

    Raises
    ------
    ConfigError
        A file is not a run, or there is none.
    """
    runs = {identify(run["settings"]): run for run in map(read_run, _files(places))}
    if not runs:
        raise ConfigError(
            "There are no runs; `medprotect bench protection --help` says how they are made."
        )
    return list(runs.values())


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from sorted(place.rglob("*.json")) if place.is_dir() else [place]
