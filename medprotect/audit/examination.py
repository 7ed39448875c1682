"""The audit itself: victims on clean and on protected images, under every countermeasure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.aids import used_by
from medprotect.audit.attack.countermeasure import Aid, to_tensor
from medprotect.audit.attack.victims import VICTIMS, make_each
from medprotect.audit.attempt import BALANCED, Attempt, Task, attempt, predict
from medprotect.audit.budgets import NONE, Budget
from medprotect.audit.fidelity import fidelity
from medprotect.audit.halves import Labelled
from medprotect.audit.holders import ALONE, TRAININGS, Holder, draw_few
from medprotect.audit.pairs import Images, Pairs
from medprotect.audit.protection import (
    MEASURABLE,
    Predicted,
    Told,
    accuracies,
    best,
    protection,
    protection_interval,
)
from medprotect.audit.report_schema import (
    Accuracy,
    Attacker,
    Beside,
    Curve,
    Protection,
    Row,
    Utility,
    WithImages,
)
from medprotect.audit.state import Settings, State, digest
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.training.assigning import Progress

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A victim, what it does against the protection, and the share of images it has in clear."""

    victim: str
    countermeasure: str
    clean_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What all trainings of an audit share.

    Attributes
    ----------
    pairs : Pairs
        The images.
    budget : Budget
        What is tried, fitted to the images.
    aid : Aid
        What else the attacker has.
    state : State
        Keeps what is finished, and has what was.
    say : callable
        Told, in a line, what was found.
    progress : callable
        Told the steps done of all trainings together, as they are done.
    trainings : int
        How many there will be.
    """

    pairs: Pairs
    budget: Budget
    aid: Aid
    state: State
    say: Say
    progress: Progress
    trainings: int
    _made: list[str] = field(default_factory=list, init=False)

    def on_clean(self, case: Case) -> list[Attempt]:
        """Attempt a case on the clean images."""
        return self._try(case, self.pairs.clean, "clean")

    def on_protected(self, case: Case) -> list[Attempt]:
        """Attempt a case on the protected images, the first of a random order in clear."""
        images: Images = self.pairs.protected.copy()
        order = np.random.default_rng(0).permutation(len(images))
        clear = order[: round(case.clean_share * len(images))]
        images[clear] = self.pairs.clean.images[clear]
        share = f", {case.clean_share:.0%} clean" if case.clean_share else ""
        return self._try(case, replace(self.pairs.clean, images=images), f"protected{share}")

    def with_images(self, victim: str, k: int, runs: Sequence[Attempt] | None, kind: str) -> Told:
        """Return what is got with k clean images a class, by attack.

        Parameters
        ----------
        runs : sequence of Attempt, optional
            What this victim got from a set without countermeasure, one a seed; None for the k
            alone.
        kind : str
            Of the set: ``clean`` or ``protected``; ``alone`` without one.
        """
        told: dict[str, list[Predicted]] = {}
        for index, seed in enumerate(self.budget.seeds):
            holder = Holder(victim, self.pairs.test, len(self.pairs.classes), seed, self._steps)
            few = self._draw(k, seed)
            if runs is None:
                found = {ALONE: self._learn(holder, few, ALONE, kind, None)}
            else:
                run = runs[index]
                found = {**run.without_clean_images, **holder.choose(run, few)}
                for attack in TRAININGS:
                    found[attack] = self._learn(holder, few, attack, kind, run)
            for attack, predicted in found.items():
                told.setdefault(f"{victim}, {attack}", []).append(predicted)
        return told

    def _learn(
        self, holder: Holder, few: Labelled, attack: str, kind: str, run: Attempt | None
    ) -> Predicted:
        """Return what one training with the k tells, as it was kept, or train."""
        train = None if run is None else self._set(kind)
        self._made.append(
            f"{holder.victim}, {attack}, {kind}, {len(few)} clean images, seed {holder.seed}"
        )
        settings: Settings = {
            "victim": holder.victim,
            "attack": attack,
            "seed": holder.seed,
            "steps": holder.steps,
            "classes": holder.classes,
            "images": digest(
                *(
                    array
                    for part in (few, self.pairs.test, train)
                    if part is not None
                    for array in _arrays(part)
                )
            ),
        }
        kept = self.state.load_arrays(settings)
        if kept is not None:
            self._tell(self._steps)
            return kept["predicted"]
        predicted = holder.train(
            attack,
            few,
            train=train,
            run=run,
            unfinished=self.state.unfinished(settings),
            progress=self._tell,
        )
        self.state.save_arrays(settings, {"predicted": predicted})
        return predicted

    def _set(self, kind: str) -> Labelled:
        clean = self.pairs.clean
        return clean if kind == "clean" else replace(clean, images=self.pairs.protected)

    def _draw(self, k: int, seed: int) -> Labelled:
        return draw_few(self.pairs.validation, k, len(self.pairs.classes), seed)

    @property
    def _steps(self) -> int:
        return self.budget.steps

    def _try(self, case: Case, train: Labelled, kind: str) -> list[Attempt]:
        runs = [self._take_up(case, train, kind, seed) for seed in self.budget.seeds]
        found = best(_told(runs), self.pairs.test.labels, len(self.pairs.classes))
        self.say(f"{case.victim}, {case.countermeasure}, {kind}: {found:.3f} on clean images")
        return runs

    def _take_up(self, case: Case, train: Labelled, kind: str, seed: int) -> Attempt:
        """Return an attempt as it was kept, or make it; of networks only those needed again."""
        victim, classes = VICTIMS[case.victim], len(self.pairs.classes)
        plain = case.countermeasure == NONE and not case.clean_share
        with_images = plain and case.victim in self.budget.holders()
        few = self._draw(max(self.budget.ks), seed) if with_images else None
        keep = with_images or (plain and seed == self.budget.seeds[0])
        settings = self._settings(case, train, seed, few)
        make = partial(victim, train.images.shape[3], classes)
        self._made.append(f"{case.victim}, {case.countermeasure}, {kind}, seed {seed}")
        kept = self.state.load(settings, make if keep else None)
        if kept is not None:
            self._tell(self._steps)
            return kept
        run = attempt(
            victim,
            COUNTERMEASURES[case.countermeasure](),
            train,
            Task(self.pairs.validation, self.pairs.test, classes),
            seed=seed,
            steps=self._steps,
            aid=self.aid,
            few=few,
            unfinished=self.state.unfinished(settings),
            progress=self._tell,
        )
        run = run if keep else replace(run, network=None)
        self.state.save(settings, run)
        return run

    def _tell(self, done: int) -> None:
        """Tell how many steps are done, of this training and all before it."""
        number = len(self._made)
        stage = f"training {number} of {self.trainings}: {self._made[-1]}"
        total = self.trainings * self._steps
        self.progress(stage, (number - 1) * self._steps + done, total, {})

    def _settings(self, case: Case, train: Labelled, seed: int, few: Labelled | None) -> Settings:
        parts = [train, self.pairs.validation, self.pairs.test, *([] if few is None else [few])]
        arrays = [array for part in parts for array in _arrays(part)]
        return {
            "victim": case.victim,
            "countermeasure": case.countermeasure,
            "seed": seed,
            "steps": self._steps,
            "classes": len(self.pairs.classes),
            "images": digest(*arrays, *used_by(case.countermeasure, self.aid)),
        }

    def row(
        self,
        case: Case,
        runs: Sequence[Attempt],
        clean: Told,
        same_clean: Sequence[Attempt] | None,
    ) -> Row:
        """Return one row of the matrix.

        Parameters
        ----------
        clean : mapping
            What all victims got from clean images, by victim and way of stopping.
        same_clean : sequence of Attempt, optional
            What the same victim got there, where this row is to show it.
        """
        labels, classes = self.pairs.test.labels, len(self.pairs.classes)
        told = _told(runs)
        found = accuracies({**told, "oracle": [run.by_oracle for run in runs]}, labels, classes)
        clean_trained = None
        if same_clean:
            clean_trained = accuracies(_told(same_clean), labels, classes)["as it ends"]
        return {
            "victim": case.victim,
            "countermeasure": case.countermeasure,
            "clean_share": case.clean_share,
            "seeds": list(self.budget.seeds),
            "clean_trained": clean_trained,
            "as_it_ends": found["as it ends"],
            "best_on_set": found["best on the set"],
            "stopped_early": found["stopped early"],
            "balanced": found.get(BALANCED),
            "attacker_best": best(told, labels, classes),
            "oracle": found["oracle"],
            "protection": protection(clean, told, None, labels, classes),
            "interval": protection_interval(
                clean, told, None, labels, classes, self.pairs.test.groups
            ),
        }

    def row_with_images(self, k: int, clean: Told, protected: Told, alone: Told) -> WithImages:
        """Return the protection at k, and what it rests on."""
        labels, classes = self.pairs.test.labels, len(self.pairs.classes)
        reached = {
            name: best(told, labels, classes)
            for name, told in (("alone", alone), ("clean", clean), ("protected", protected))
        }
        each = accuracies(protected, labels, classes)
        strongest = max(each, key=lambda attack: each[attack])
        share = protection(clean, protected, alone, labels, classes)
        return {
            "k": k,
            "alone": reached["alone"],
            "clean": reached["clean"],
            "protected": reached["protected"],
            "attack": strongest if each[strongest] > reached["alone"] else None,
            "protection": share,
            "interval": None
            if share is None
            else protection_interval(
                clean, protected, alone, labels, classes, self.pairs.test.groups
            ),
        }


def _arrays(part: Labelled) -> Iterator[NDArray[np.generic]]:
    yield part.images
    yield part.labels
    if part.groups is not None:
        yield part.groups


def _told(runs: Sequence[Attempt]) -> dict[str, list[Predicted]]:
    """Return what somebody gets who has no clean image, by the way of stopping."""
    told: dict[str, list[Predicted]] = {}
    for run in runs:
        for way, predicted in run.without_clean_images.items():
            told.setdefault(way, []).append(predicted)
    return told


@dataclass(slots=True)
class Examination:
    """What an audit found; see `medprotect.audit.report_schema` for the fields of the JSON."""

    protection: Protection
    accuracy: Accuracy
    matrix: list[Row]
    curves: list[Curve]
    utility: Utility
    fidelity: dict[str, Beside]


def examine(
    pairs: Pairs,
    budget: Budget,
    *,
    decoys: str = "unknown",
    aid: Aid | None = None,
    state: State | None = None,
    say: Say,
    progress: Progress = lambda *_: None,
) -> Examination:
    """Train and test all victims of a budget.

    Parameters
    ----------
    pairs : Pairs
        The images.
    budget : Budget
        What is tried.
    decoys : str
        ``on``, ``off`` or ``unknown``: a property of the protection, for the report.
    aid : Aid, optional
        What else the attacker has.
    state : State, optional
        Keeps finished trainings; those that it has are not made again.
    say : callable
        Told, in a line, what was found so far.
    progress : callable, optional
        Told the steps that are done of all trainings together, and which training it is.

    Raises
    ------
    ConfigError
        What a victim or a countermeasure needs is not there.
    OutputError, StorageError
        The state cannot be written.
    """
    budget = budget.fitted_to(pairs)  # a smaller set of images may not do for all
    cases = list(_cases(budget))
    make_each(budget.victims, pairs.test.images.shape[3], len(pairs.classes))
    # With k images: the k alone, and each training with the clean and with the protected set.
    with_images = len(budget.holders()) * len(budget.ks) * (1 + 2 * len(TRAININGS))
    trials = Trials(
        pairs=pairs,
        budget=budget,
        aid=aid or Aid(),
        state=state or State(None),
        say=say,
        progress=progress,
        trainings=(len(budget.victims) + len(cases) + with_images) * len(budget.seeds),
    )
    clean = {name: trials.on_clean(Case(name, NONE)) for name in budget.victims}
    told_clean = {
        f"{name}, {way}": runs for name, each in clean.items() for way, runs in _told(each).items()
    }
    rows: list[Row] = []
    plain: dict[str, list[Attempt]] = {}
    for case in cases:
        runs = trials.on_protected(case)
        same = clean[case.victim] if case.countermeasure == NONE else None
        rows.append(trials.row(case, runs, told_clean, same))
        if same is not None and not case.clean_share:
            plain[case.victim] = runs
    few = list(_with_images(trials, clean, plain))
    progress("comparing images", 0, 1, {})
    labels, classes = pairs.test.labels, len(pairs.classes)
    scores = accuracies(told_clean, labels, classes)
    first, strongest = budget.victims[0], max(scores, key=lambda each: scores[each])
    return Examination(
        protection=_summary(rows, few, scores[strongest], pairs, decoys),
        accuracy={
            "clean": scores[strongest],
            "chance": 1 / classes,
            "clean_victim": strongest.split(",")[0],
        },
        matrix=rows,
        curves=[
            _curve(f"{first}, clean", clean[first][0]),
            _curve(f"{first}, protected", plain[first][0]),
        ],
        utility=_utility(clean[first][0].kept_network(), pairs),
        fidelity=fidelity(pairs.clean.images, pairs.protected),
    )


def _with_images(
    trials: Trials, clean: dict[str, list[Attempt]], plain: dict[str, list[Attempt]]
) -> Iterator[WithImages]:
    """Yield the protection at each k: of the best attack of all victims that are tried so."""
    for k in trials.budget.ks:
        alone: dict[str, Sequence[Predicted]] = {}
        on_clean: dict[str, Sequence[Predicted]] = {}
        on_protected: dict[str, Sequence[Predicted]] = {}
        for victim in trials.budget.holders():
            alone |= trials.with_images(victim, k, None, "alone")
            on_clean |= trials.with_images(victim, k, clean[victim], "clean")
            on_protected |= trials.with_images(victim, k, plain[victim], "protected")
        row = trials.row_with_images(k, on_clean, on_protected, alone)
        trials.say(
            f"with {k} clean images of each class: {row['protected']:.3f} on clean images; "
            f"with these alone {row['alone']:.3f}"
        )
        yield row


def _cases(budget: Budget) -> Iterable[Case]:
    first, *others = budget.victims
    yield Case(first, NONE)
    yield from (Case(other, NONE) for other in others)
    crossed = budget.victims if budget.crossed else (first,)
    yield from (Case(*each) for each in product(crossed, budget.countermeasures))
    yield from (Case(first, NONE, share) for share in budget.clean_shares)


def _summary(
    rows: list[Row], few: list[WithImages], clean: float, pairs: Pairs, decoys: str
) -> Protection:
    """Return protection from the best plain victim and from the best of all.

    A share of clean images is no attack.
    """
    attacks = [row for row in rows if row["clean_share"] == 0 and row["protection"] is not None]
    trained_plainly = [row for row in attacks if row["countermeasure"] == NONE]
    plain, worst = (
        min(each, key=lambda row: row["protection"] or 0.0, default=None)
        for each in (trained_plainly, attacks)
    )
    attacker: Attacker | None = None
    if worst:
        attacker = {"victim": worst["victim"], "countermeasure": worst["countermeasure"]}
    return {
        "measurable": clean - 1 / len(pairs.classes) >= MEASURABLE,
        "plain": plain["protection"] if plain else None,
        "plain_interval": plain["interval"] if plain else None,
        "worst": worst["protection"] if worst else None,
        "worst_interval": worst["interval"] if worst else None,
        "worst_attacker": attacker,
        "with_images": few,
        "decoys": decoys,
    }


def _curve(label: str, run: Attempt) -> Curve:
    return {
        "label": label,
        "steps": [moment.step for moment in run.moments],
        "train_accuracy": [moment.train for moment in run.moments],
        "validation_accuracy": [moment.validation for moment in run.moments],
    }


def _utility(network: nn.Module, pairs: Pairs) -> Utility:
    """Judge a model trained on clean images: on clean test images, and on protected ones.

    The protected ones are those that others were trained on; so the clean figure beside is that of
    the same images, which it has seen, and only the difference counts.
    """
    labels, classes = pairs.clean.labels, len(pairs.classes)

    def score(images: Tensor) -> float:
        return round(balanced_accuracy(predict(network, images), labels, classes), 6)

    with torch.inference_mode():
        return {
            "clean_trained_on_clean": score(to_tensor(pairs.clean.images)),
            "clean_trained_on_protected": score(to_tensor(pairs.protected)),
        }
