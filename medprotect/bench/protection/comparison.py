"""What runs on the same images say of each protection: protection at k, and what it rests on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.attempt import BALANCED, EARLY_SHARE
from medprotect.audit.budgets import NONE
from medprotect.audit.protection import (
    MEASURABLE,
    Predicted,
    Told,
    accuracies,
    best,
    protection,
    protection_interval,
)
from medprotect.bench.protection.protection import CLEAN, NO_SET, OURS, PROTECTIONS
from medprotect.bench.protection.record import Moments, Protected, Run, identify, unpack
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.intensity.budget import STRENGTHS

STANDARD = "standard"
"""The strength that goes without saying."""

CONTROL = "control"

ENDS, HELD, EARLY = "as it ends", "best on the set", "stopped early"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Protection, and its 95 % interval; None where clean images teach too little to tell."""

    protection: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Attack:
    """A victim, what it does against the protection, and its clean images of each class."""

    victim: str
    countermeasure: str
    k: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The runs of one protection, under a label that no other has."""

    label: str
    runs: list[Run]

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with."""
        return self.runs[0]["settings"]["protection"]

    @property
    def name(self) -> str:
        """One of `PROTECTIONS`, or ``clean``."""
        return str(self.settings["name"])

    @property
    def protected(self) -> Protected | None:
        """How its images were made; None for clean ones."""
        return self.runs[0]["protected"]

    def seeds(self, attack: Attack) -> list[Run]:
        """Return the runs of an attack, one a seed."""
        found: dict[int, Run] = {}
        for run in self.runs:
            settings = run["settings"]["attack"]
            ks = settings.get("k", [])
            same = (settings["victim"], settings["countermeasure"]) == (
                attack.victim,
                attack.countermeasure,
            )
            if same and (attack.k == 0 or attack.k in ks):
                # The same training may be there with a few images and without; once is enough.
                before = found.get(settings["seed"])
                if before is None or _says(run) > _says(before):
                    found[settings["seed"]] = run
        return [found[seed] for seed in sorted(found)]

    def attacks(self) -> list[Attack]:
        """Return what was tried, in the order of the house."""
        found = set()
        for run in self.runs:
            settings = run["settings"]["attack"]
            for k in (0, *settings.get("k", [])):
                found.add(Attack(settings["victim"], settings["countermeasure"], k))
        of_victim, of_countermeasure = _place(VICTIMS), _place(COUNTERMEASURES)
        return sorted(
            found,
            key=lambda each: (
                of_victim(each.victim),
                of_countermeasure(each.countermeasure),
                each.k,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an attack on a protection came to: accuracies on clean test images, means over seeds.

    Attributes
    ----------
    seeds : tuple of int
        Of the victims.
    stopped : dict of str to float
        By the way of stopping, of an attacker without clean images; of a run that holds its last
        moment alone, there is one.
    early : float
        The share of the steps at which ``stopped early`` is.
    oracle : float
        At the moment that does best on clean validation images.
    best : float
        Of the best attack with the k.
    alone : float, optional
        Of the k clean images alone.
    clean : float, optional
        `best` of the same attack on clean images: what a countermeasure costs by itself.
    at_k, by_oracle : Estimate, optional
        Protection, from `best` and from `oracle`; None where there are no runs on clean images.
    seconds : float
        Of a run.
    """

    seeds: tuple[int, ...]
    stopped: dict[str, float]
    early: float
    oracle: float
    best: float
    alone: float | None
    clean: float | None
    at_k: Estimate | None
    by_oracle: Estimate | None
    seconds: float


class Experience:
    """Where trainings did best on other sets that were protected in the same way.

    Parameters
    ----------
    runs : sequence of Run
        On all sets.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._plain = [
            run
            for run in runs
            if run["moments"] and run["settings"]["attack"]["countermeasure"] == NONE
        ]
        self._clean: dict[tuple[object, ...], list[float]] = {}
        for run in self._plain:
            if run["settings"]["protection"]["name"] == CLEAN.name and run["accuracy"]:
                self._clean.setdefault(_trained(run), []).append(run["accuracy"]["as_it_ends"])
        self._known: dict[tuple[str, str, str], float | None] = {}

    def share(self, dataset: str, protection: str, victim: str) -> float | None:
        """Return the share of the steps that did best on other data sets; None without any.

        Best is the accuracy above a guess, relative to that of clean images, averaged over runs.
        """
        asked = dataset, protection, victim
        if asked not in self._known:
            self._known[asked] = self._find(*asked)
        return self._known[asked]

    def _find(self, dataset: str, protection: str, victim: str) -> float | None:
        # By its training: one may be there with a few clean images and without.
        others = {
            (_trained(run), identify(run["settings"]["protection"]), _seed(run)): run
            for run in self._plain
            if run["settings"]["data"]["dataset"] != dataset
            and run["settings"]["protection"]["name"] == protection
            and run["settings"]["attack"]["victim"] == victim
            and self._taught(run) >= MEASURABLE
        }
        moments = [(run, told) for run in others.values() if (told := _several(run)) is not None]
        grid = sorted({step / each["steps"][-1] for _, each in moments for step in each["steps"]})
        learned = {
            share: float(np.mean([self._learned(run, each, share) for run, each in moments]))
            for share in grid
        }
        return max(grid, key=lambda share: learned[share], default=None)

    def _taught(self, run: Run) -> float:
        """Return what clean images taught the victim of a run more than a guess."""
        clean = self._clean.get(_trained(run))
        return 0.0 if clean is None else float(np.mean(clean)) - 1 / len(run["classes"])

    def _learned(self, run: Run, moments: Moments, share: float) -> float:
        classes = len(run["classes"])
        predicted = unpack(moments["predicted"][_nearest(moments, share)])
        found = balanced_accuracy(predicted, unpack(run["labels"]), classes)
        return (found - 1 / classes) / self._taught(run)


def _says(run: Run) -> tuple[bool, int]:
    """Return how much of one training a run holds: the balanced classes, and numbers of images."""
    moments = run["moments"]
    return bool(moments and "balanced" in moments), len(run["settings"]["attack"].get("k", []))


def _trained(run: Run) -> tuple[object, ...]:
    settings = run["settings"]
    return settings["data"]["sha256"], settings["attack"]["victim"], settings["attack"]["steps"]


def _seed(run: Run) -> int:
    return run["settings"]["attack"]["seed"]


def _several(run: Run) -> Moments | None:
    """Return the moments of a run, where there are more than the last."""
    moments = run["moments"]
    return moments if moments and len(moments["steps"]) > 1 else None


def _nearest(moments: Moments, share: float) -> int:
    due = share * moments["steps"][-1]
    return min(range(len(moments["steps"])), key=lambda at: abs(moments["steps"][at] - due))


def stop(moments: Moments, share: float) -> dict[str, Predicted]:
    """Return what somebody gets who has no clean label, by the way of stopping, and balanced.

    Parameters
    ----------
    share : float
        Of the steps, for ``stopped early``.
    """
    count = len(moments["steps"])
    at = {
        ENDS: count - 1,
        HELD: max(range(count), key=lambda each: moments["held"][each]),  # the first of the best
        EARLY: _nearest(moments, share),
    }
    told = {way: unpack(moments["predicted"][each]) for way, each in at.items()}
    if balanced := moments.get("balanced"):
        told[BALANCED] = unpack(balanced)
    return told


class Comparison:
    """Runs on the same images, of as many steps.

    Parameters
    ----------
    runs : list of Run
        On clean images, of a few alone, and on protected images.
    experience : Experience
        Tells where to stop early.
    """

    def __init__(self, runs: list[Run], experience: Experience) -> None:
        self.runs = runs
        self._experience = experience
        self.labels = unpack(runs[0]["labels"])
        self.classes = len(runs[0]["classes"])
        self._groups = np.array(runs[0]["groups"]) if "groups" in runs[0] else None
        self._known: dict[tuple[str, Attack], Result | None] = {}

    @property
    def dataset(self) -> str:
        """The name of the card."""
        return self.runs[0]["settings"]["data"]["dataset"]

    @property
    def steps(self) -> int:
        """Of each training."""
        return self.runs[0]["settings"]["attack"]["steps"]

    @cached_property
    def rows(self) -> list[Row]:
        """Clean images first, then what is to protect nothing, then ours, then others."""
        order = _place(dict.fromkeys((CLEAN.name, CONTROL, *PROTECTIONS)))
        found: dict[str, list[Run]] = {}
        for run in sorted(self.runs, key=lambda run: order(run["settings"]["protection"]["name"])):
            if run["settings"]["protection"]["name"] != NO_SET.name:
                found.setdefault(identify(run["settings"]["protection"]), []).append(run)
        labels = [_label(runs[0]["settings"]["protection"]) for runs in found.values()]
        return [
            Row(label if labels.count(label) == 1 else f"{label}, {digest[:8]}", runs)
            for label, (digest, runs) in zip(labels, found.items(), strict=True)
        ]

    @cached_property
    def first(self) -> str:
        """The victim that tries countermeasures; where none were tried, the first listed."""
        attacks = [run["settings"]["attack"] for run in self.runs]
        tried = [each["victim"] for each in attacks if each["countermeasure"] != NONE]
        return min(tried or [each["victim"] for each in attacks], key=_place(VICTIMS))

    @cached_property
    def countermeasures(self) -> list[str]:
        """What the first victim tried against any protection."""
        found = {
            attack.countermeasure
            for row in self.rows
            for attack in row.attacks()
            if attack.victim == self.first and attack.countermeasure != NONE
        }
        return sorted(found, key=_place(COUNTERMEASURES))

    @cached_property
    def ks(self) -> list[int]:
        """Numbers of clean images of each class that the first victim had with a set, from 1."""
        tried = {attack for row in self.rows for attack in row.attacks()}
        return sorted({each.k for each in tried if each.victim == self.first and each.k})

    def early(self, protection: str, victim: str) -> float:
        """Return the share of the steps where trainings are stopped early."""
        share = self._experience.share(self.dataset, protection, victim)
        return EARLY_SHARE if share is None else share

    def result(self, row: Row, attack: Attack) -> Result | None:
        """Return what an attack on a protection came to; None where it was not tried."""
        asked = row.label, attack
        if asked not in self._known:
            runs = row.seeds(attack)
            self._known[asked] = self._find(row, attack, runs) if runs else None
        return self._known[asked]

    def clean_best(self) -> tuple[str, float] | None:
        """Return the victim that learned most from clean images, plainly, and its accuracy."""
        found = accuracies(self._clean_told, self.labels, self.classes)
        if not found:
            return None
        strongest = max(found, key=lambda name: found[name])
        return strongest.partition(",")[0], found[strongest]

    def _find(self, row: Row, attack: Attack, runs: list[Run]) -> Result:
        told, oracle, alone = self._told(runs, attack), _by_oracle(runs), self._alone(attack)
        stopped = self._told(runs, Attack(attack.victim, attack.countermeasure))
        on_clean = self._clean_row.seeds(attack) if self._clean_row else []
        same = self._told(on_clean, attack)
        at_k = self._estimate(self._clean_told, told, None)
        if attack.k:
            at_k = self._estimate(same, told, alone) if alone else None
        return Result(
            seeds=tuple(map(_seed, runs)),
            stopped=accuracies(stopped, self.labels, self.classes),
            early=self.early(row.name, attack.victim),
            oracle=best(oracle, self.labels, self.classes),
            best=best(told, self.labels, self.classes),
            alone=best(alone, self.labels, self.classes) if alone else None,
            clean=best(same, self.labels, self.classes) if same else None,
            at_k=at_k,
            by_oracle=self._estimate(self._clean_oracle, oracle, None),
            seconds=float(np.mean([run["seconds"] for run in runs])),
        )

    def _estimate(self, clean: Told, protected: Told, alone: Told | None) -> Estimate | None:
        if not clean:
            return None
        share = protection(clean, protected, alone, self.labels, self.classes)
        if share is None:
            return Estimate(None, None)
        interval = protection_interval(
            clean, protected, alone, self.labels, self.classes, self._groups
        )
        return Estimate(share, interval)

    def _told(self, runs: Sequence[Run], attack: Attack) -> Told:
        """Return what is told with k clean images, by attack; for k = 0, by the way of stopping."""
        told: dict[str, list[Predicted]] = {}
        whole = all(_several(run) is not None for run in runs)
        balanced = all(run["moments"] and "balanced" in run["moments"] for run in runs)
        for run in runs:
            share = self.early(str(run["settings"]["protection"]["name"]), attack.victim)
            moments = run["moments"]
            for way, predicted in (stop(moments, share) if moments else {}).items():
                if way == ENDS or (balanced if way == BALANCED else whole):
                    told.setdefault(way, []).append(predicted)
            for name, packed in run.get("with_images", {}).get(str(attack.k), {}).items():
                told.setdefault(name, []).append(unpack(packed))
        return told

    def _alone(self, attack: Attack) -> Told:
        """Return what is told with the k clean images alone; nothing for k = 0."""
        runs = [run for run in self.runs if run["settings"]["protection"]["name"] == NO_SET.name]
        return self._told(Row(NO_SET.name, runs).seeds(attack), attack) if attack.k else {}

    @cached_property
    def _clean_row(self) -> Row | None:
        return next((row for row in self.rows if row.name == CLEAN.name), None)

    def _clean_plain(self) -> Iterator[tuple[str, list[Run]]]:
        """Yield each victim that learned from clean images plainly, with its runs."""
        if self._clean_row is not None:
            for attack in self._clean_row.attacks():
                if attack.countermeasure == NONE and attack.k == 0:
                    yield attack.victim, self._clean_row.seeds(attack)

    @cached_property
    def _clean_told(self) -> Told:
        return {
            f"{victim}, {way}": told
            for victim, runs in self._clean_plain()
            for way, told in self._told(runs, Attack(victim, NONE)).items()
        }

    @cached_property
    def _clean_oracle(self) -> Told:
        return {
            victim: told
            for victim, runs in self._clean_plain()
            for told in _by_oracle(runs).values()
        }


def _by_oracle(runs: Iterable[Run]) -> Told:
    told = [unpack(run["oracle"]) for run in runs if run["oracle"] is not None]
    return {"oracle": told} if told else {}


def _label(settings: dict[str, Any]) -> str:
    name = str(settings["name"])
    told = f" ({settings['pipeline']})" if name in OURS else ""
    strength = settings.get("strength", STANDARD)
    usual = STRENGTHS.get(strength)
    budget = settings.get("budget_lsb", usual)
    parts = [
        f"{name}{told}",
        "" if strength == STANDARD else strength,
        "" if budget == usual else f"{budget} of 255",
    ]
    return ", ".join(part for part in parts if part)


def _place(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Return a key that sorts names as listed; those that are not, after them."""
    places = {name: place for place, name in enumerate(names)}
    return lambda name: (places.get(name, len(places)), name)
