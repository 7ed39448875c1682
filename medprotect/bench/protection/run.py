"""The comparison: every protection under every attack, a file a run; a second start goes on."""

import datetime
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import torch

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.aids import AIDED, OTHER, used_by
from medprotect.audit.attack.victims import VICTIMS, make_each
from medprotect.audit.attempt import Attempt, Predicted, Task, attempt
from medprotect.audit.examination import NONE, UNAIDED
from medprotect.audit.halves import Labelled
from medprotect.audit.protection import balanced_accuracy
from medprotect.audit.state import digest
from medprotect.bench.protection.data import BenchData
from medprotect.bench.protection.protection import CLEAN, Made, Protection, make_once
from medprotect.bench.protection.record import (
    SCHEMA_VERSION,
    Accuracies,
    AttackSettings,
    Run,
    Settings,
    is_finished,
    pack,
    write_run,
)

Say = Callable[[str], None]

TRIED = (*UNAIDED, *(name for name, need in AIDED.items() if need == OTHER))
"""Countermeasures that the bench has: the clean images that some of them need are half A."""

_PACKAGES = ("medprotect", "torch", "monai", "numpy")


@dataclass(frozen=True, slots=True)
class Tally:
    """How many runs were made now, and how many had been made before."""

    made: int
    kept: int


def list_attacks(
    victims: Sequence[str], countermeasures: Sequence[str], seeds: Iterable[int], steps: int
) -> list[AttackSettings]:
    """Return the attacks seed by seed: each victim plainly, the first under each countermeasure."""
    cases = [(victim, NONE) for victim in victims]
    cases += [(victims[0], countermeasure) for countermeasure in countermeasures]
    return [
        {"victim": victim, "countermeasure": countermeasure, "seed": seed, "steps": steps}
        for seed, (victim, countermeasure) in product(seeds, cases)
    ]


def run_bench(
    data: BenchData,
    protections: Sequence[Protection],
    attacks: Sequence[AttackSettings],
    out: Path,
    *,
    command: str,
    say: Say,
) -> Tally:
    """Make all runs that are not there yet: on clean images, and on those of each protection.

    Parameters
    ----------
    out : Path
        Folder of the runs; protected images are kept beside them.
    command : str
        Is written into each run, so it names no place on this machine.
    say : callable
        Told, in a line, what was found.

    Raises
    ------
    ConfigError
        What a victim needs is not there.
    OutputError, StorageError
        A run cannot be written.
    """
    make_each(
        {attack["victim"] for attack in attacks}, data.train.images.shape[3], len(data.classes)
    )
    made = 0
    everything = list(_list_runs(data, protections, attacks))
    for number, (protection, settings) in enumerate(everything, 1):
        if is_finished(out, settings):
            continue
        run = _try(data, settings, make_once(protection, data, out, say), command)
        write_run(out, run)
        made += 1
        attack = settings["attack"]
        say(
            f"{number}/{len(everything)} {protection.name}: {attack['victim']}, "
            f"{attack['countermeasure']}, seed {attack['seed']}: "
            f"{run['accuracy']['best']:.3f} on clean images, {run['seconds']:.0f} s"
        )
    return Tally(made, len(everything) - made)


def _list_runs(
    data: BenchData, protections: Sequence[Protection], attacks: Sequence[AttackSettings]
) -> Iterator[tuple[Protection, Settings]]:
    images = data.settings()
    for attack, protection in product(attacks, (CLEAN, *protections)):
        used = used_by(attack["countermeasure"], data.aid)
        aided: AttackSettings = {**attack, "aid_sha256": digest(*used)} if used else attack
        yield protection, {"data": images, "protection": protection.settings, "attack": aided}


def _try(data: BenchData, settings: Settings, made: Made, command: str) -> Run:
    attack, began = settings["attack"], time.perf_counter()
    found = attempt(
        VICTIMS[attack["victim"]],
        COUNTERMEASURES[attack["countermeasure"]](),
        Labelled(made.images, data.train.labels),
        Task(data.validation, data.test, len(data.classes)),
        seed=attack["seed"],
        steps=attack["steps"],
        aid=data.aid,
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "accuracy": _score(found, data),
        "protected": made.protected,
        "classes": list(data.classes),
        "validation": len(data.validation),
        "labels": pack(data.test.labels),
        "told": {
            "as_is": pack(found.as_is),
            "renamed": pack(found.renamed),
            "best": pack(found.best),
        },
        "command": command,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": _versions(),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _score(found: Attempt, data: BenchData) -> Accuracies:
    def score(told: Predicted) -> float:
        return round(balanced_accuracy(told, data.test.labels, len(data.classes)), 6)

    return {
        "as_is": score(found.as_is),
        "renamed": score(found.renamed),
        "best": score(found.best),
    }


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": str(torch.get_num_threads()),
    }
