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
from medprotect.audit.attempt import Attempt, Task, attempt
from medprotect.audit.budgets import NONE, UNAIDED
from medprotect.audit.halves import Labelled
from medprotect.audit.holders import ALONE, TRAININGS, Holder, draw_few
from medprotect.audit.state import digest
from medprotect.bench.protection.data import BenchData
from medprotect.bench.protection.protection import CLEAN, NO_SET, Made, Protection, make_once
from medprotect.bench.protection.record import (
    SCHEMA_VERSION,
    Accuracies,
    AttackSettings,
    Moments,
    Run,
    Settings,
    is_finished,
    pack,
    write_run,
)
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.training.assigning import Progress

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
    victims: Sequence[str],
    countermeasures: Sequence[str],
    seeds: Iterable[int],
    steps: int,
    ks: Sequence[int] = (),
) -> list[AttackSettings]:
    """Return the attacks seed by seed: each victim plainly, the first under each countermeasure.

    With k clean images of each class, for each of `ks`, a victim is trained plainly alone.
    """
    cases = [(victim, NONE) for victim in victims]
    cases += [(victims[0], countermeasure) for countermeasure in countermeasures]
    attacks: list[AttackSettings] = []
    for seed, (victim, countermeasure) in product(seeds, cases):
        attack: AttackSettings = {
            "victim": victim,
            "countermeasure": countermeasure,
            "seed": seed,
            "steps": steps,
        }
        if ks and countermeasure == NONE:
            attack["k"] = sorted(ks)
        attacks.append(attack)
    return attacks


def run_bench(
    data: BenchData,
    protections: Sequence[Protection],
    attacks: Sequence[AttackSettings],
    out: Path,
    *,
    command: str,
    say: Say,
    progress: Progress = lambda *_: None,
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
    progress : callable, optional
        Told the steps that are done of all trainings together, and which run it is.

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
    everything = list(_list_runs(data, protections, attacks))
    missing = [each for each in everything if not is_finished(out, each[1])]
    work = _Work(progress, sum(_count_steps(settings) for _, settings in missing))
    kept = len(everything) - len(missing)
    for number, (protection, settings) in enumerate(missing, kept + 1):
        attack = settings["attack"]
        what = (
            f"{number}/{len(everything)} {protection.name}: {attack['victim']}, "
            f"{attack['countermeasure']}, seed {attack['seed']}"
        )
        made = make_once(protection, data, out, work.begin)
        work.begin(what)
        run = _try(data, settings, made, command, work)
        write_run(out, run)
        say(f"{what}: {_found(run)}, {run['seconds']:.0f} s")
    return Tally(len(missing), kept)


class _Work:
    """Tells how many steps of all trainings are done.

    Parameters
    ----------
    progress : callable
        Is told.
    steps : int
        Of all trainings.
    """

    def __init__(self, progress: Progress, steps: int) -> None:
        self._progress, self._steps = progress, steps
        self._stage, self._done, self._before = "", 0, 0

    def begin(self, stage: str) -> None:
        """Begin a run, or the protection of images, named in words."""
        self._stage, self._before = stage, self._done
        self._progress(stage, self._done, self._steps, {})

    def __call__(self, step: int) -> None:
        """Take note of the steps that are done of a training; 0 begins one."""
        if step == 0:
            self._before = self._done
        self._done = self._before + step
        self._progress(self._stage, self._done, self._steps, {})


def _count_steps(settings: Settings) -> int:
    """Return the steps of all trainings of a run."""
    attack = settings["attack"]
    ks = len(attack.get("k", ()))
    alone = settings["protection"] == NO_SET.settings
    return attack["steps"] * (ks if alone else 1 + ks * len(TRAININGS))


def _list_runs(
    data: BenchData, protections: Sequence[Protection], attacks: Sequence[AttackSettings]
) -> Iterator[tuple[Protection, Settings]]:
    images = data.settings()
    for attack, protection in product(attacks, (NO_SET, CLEAN, *protections)):
        if protection is NO_SET and "k" not in attack:
            continue
        used = used_by(attack["countermeasure"], data.aid)
        aided: AttackSettings = {**attack, "aid_sha256": digest(*used)} if used else attack
        yield protection, {"data": images, "protection": protection.settings, "attack": aided}


def _try(
    data: BenchData, settings: Settings, made: Made, command: str, progress: Callable[[int], None]
) -> Run:
    attack, began = settings["attack"], time.perf_counter()
    classes, seed, steps = len(data.classes), attack["seed"], attack["steps"]
    ks = attack.get("k", [])
    few = {k: draw_few(data.validation, k, classes, seed) for k in ks}
    holder = Holder(attack["victim"], data.test, classes, seed, steps)
    found: Attempt | None = None
    with_images: dict[str, dict[str, str]] = {}
    if made.images is None:
        for k, part in few.items():
            with_images[str(k)] = {ALONE: pack(holder.train(ALONE, part, progress=progress))}
    else:
        train = Labelled(made.images, data.train.labels, data.train.groups)
        found = attempt(
            VICTIMS[attack["victim"]],
            COUNTERMEASURES[attack["countermeasure"]](),
            train,
            Task(data.validation, data.test, classes),
            seed=seed,
            steps=steps,
            aid=data.aid,
            few=few[max(few)] if few else None,
            progress=progress,
        )
        for k, part in few.items():
            told = holder.choose(found, part)
            for each in TRAININGS:
                told[each] = holder.train(each, part, train=train, run=found, progress=progress)
            with_images[str(k)] = {name: pack(each) for name, each in told.items()}
    run: Run = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "accuracy": None if found is None else _score(found, data),
        "protected": made.protected,
        "classes": list(data.classes),
        "validation": len(data.validation),
        "labels": pack(data.test.labels),
        "moments": None if found is None else _pack_moments(found),
        "oracle": None if found is None else pack(found.by_oracle),
        "with_images": with_images,
        "command": command,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": _versions(),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if data.test.groups is not None:
        run["groups"] = data.test.groups.tolist()
    return run


def _pack_moments(found: Attempt) -> Moments:
    packed: Moments = {
        "steps": [moment.step for moment in found.moments],
        "held": [round(moment.held, 6) for moment in found.moments],
        "predicted": [pack(moment.predicted) for moment in found.moments],
    }
    return packed if found.balanced is None else {**packed, "balanced": pack(found.balanced)}


def _score(found: Attempt, data: BenchData) -> Accuracies:
    as_it_ends, oracle = (
        round(balanced_accuracy(told, data.test.labels, len(data.classes)), 6)
        for told in (found.as_it_ends, found.by_oracle)
    )
    return {"as_it_ends": as_it_ends, "oracle": oracle}


def _found(run: Run) -> str:
    accuracy = run["accuracy"]
    if accuracy is None:
        return "a few clean images alone"
    return f"{accuracy['as_it_ends']:.3f} on clean images, {accuracy['oracle']:.3f} by an oracle"


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": str(torch.get_num_threads()),
    }
