"""The audit itself: victims on clean and on protected images, under every countermeasure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from medprotect.audit.attempt import Attempt, Task, attempt, predict
from medprotect.audit.countermeasures import COUNTERMEASURES
from medprotect.audit.countermeasures.countermeasure import Aid
from medprotect.audit.countermeasures.tensors import to_tensor
from medprotect.audit.fidelity import fidelity
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Images, Pairs
from medprotect.audit.probe import probe
from medprotect.audit.protection import MEASURABLE, Predicted, protection, protection_interval
from medprotect.audit.relabelling import balanced_accuracy
from medprotect.audit.report_schema import (
    Accuracy,
    Attacker,
    Beside,
    Curve,
    Probe,
    Protection,
    Row,
    Utility,
)
from medprotect.audit.victims import VICTIMS

NONE = "none"

NOT_TRIED = (
    "segmentation, detection, and any task other than naming the class",
    "attackers who know the key or the generator",
    "copies of the same images released in clear, earlier or elsewhere: they undo all of it",
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much an audit tries.

    Attributes
    ----------
    name : str
        ``quick``, ``standard`` or ``thorough``.
    victims, countermeasures : tuple of str
        Every victim is tried without countermeasure, the first one under each.
    crossed : bool
        Whether every victim is tried under each.
    clean_shares : tuple of float
        Shares of clean images among the protected ones, tried with the first victim.
    seeds : tuple of int
        Each attempt is made with each.
    steps : int
        Of each training.
    """

    name: str
    victims: tuple[str, ...]
    countermeasures: tuple[str, ...]
    crossed: bool = False
    clean_shares: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 600

    def describe(self) -> list[str]:
        """Return what is tried, in sentences."""
        under = f"{'every one' if self.crossed else self.victims[0]} also under each of"
        tried = [
            f"Models without countermeasure: {', '.join(self.victims)}",
            "From scratch, but for pretrained: EfficientNet-Lite0 that learned ImageNet, "
            "all layers of which are fine-tuned"
            if "pretrained" in self.victims
            else "From scratch",
            f"{under}: {', '.join(self.countermeasures)}" if self.countermeasures else "",
            f"Each with {len(self.seeds)} seeds, {self.steps} steps of 128 images, "
            "AdamW, shifted and mirrored at random",
            "Outputs renamed one to one, and training stopped early, on clean validation images",
        ]
        if self.clean_shares:
            shares = ", ".join(f"{share:.0%}" for share in self.clean_shares)
            tried.append(f"{self.victims[0]} with {shares} of the images in clear")
        return [text for text in tried if text]


_TREATED = ("grey", "jpeg-10", "blur-1", "posterise-2", "half-size", "median")
_AIDED = frozenset({"autoencoder", "diffusion", "inverse"})

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            name="quick",
            victims=("resnet18",),
            countermeasures=("grey", "jpeg-10", "blur-1"),
            seeds=(1,),
            steps=300,
        ),
        Budget(
            name="standard",
            victims=("resnet18", "vgg", "mobilenet", "vit", "pretrained"),
            countermeasures=_TREATED,
            clean_shares=(0.2, 0.5),
        ),
        Budget(
            name="thorough",
            victims=tuple(VICTIMS),
            countermeasures=tuple(each for each in COUNTERMEASURES if each not in _AIDED | {NONE}),
            crossed=True,
            clean_shares=(0.2, 0.5, 0.8),
            seeds=(1, 2, 3, 4, 5),
            steps=3000,
        ),
    )
}


@dataclass(slots=True)
class Examination:
    """What an audit found; see `medprotect.audit.report_schema` for the fields of the JSON."""

    protection: Protection
    accuracy: Accuracy
    matrix: list[Row]
    curves: list[Curve]
    probe: Probe
    utility: Utility
    fidelity: dict[str, Beside]


@dataclass(frozen=True, slots=True)
class _Case:
    victim: str
    countermeasure: str
    clean_share: float = 0.0


def examine(
    pairs: Pairs, budget: Budget, *, decoys: str = "unknown", aid: Aid | None = None, say: Say
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
    say : callable
        Told, in a line, what was found so far.

    Raises
    ------
    ConfigError
        What a victim or a countermeasure needs is not there.
    """
    _make_each(budget.victims, pairs)
    work = _Work(pairs, budget, aid or Aid(), say)
    clean = {name: work.try_all(_Case(name, NONE), pairs.clean) for name in budget.victims}
    clean_best = max(clean, key=lambda name: work.accuracy(clean[name], "best"))
    rows: list[Row] = []
    found: dict[int, list[Attempt]] = {}
    for case in _cases(budget):
        runs = work.try_all(case, _mixed(pairs, case.clean_share))
        baseline = clean[case.victim] if case.countermeasure == NONE else None
        found[len(rows)] = runs
        rows.append(work.row(case, runs, clean[clean_best], baseline))
    plain = next(at for at, row in enumerate(rows) if row["victim"] == budget.victims[0])
    first = budget.victims[0]
    a_clean = work.accuracy(clean[clean_best], "best")
    return Examination(
        protection=_summary(rows, plain, a_clean, pairs, decoys),
        accuracy={
            "clean": a_clean,
            "chance": 1 / len(pairs.classes),
            "clean_victim": clean_best,
        },
        matrix=rows,
        curves=[
            _curve(f"{first}, clean", clean[first][0]),
            _curve(f"{first}, protected", found[plain][0]),
        ],
        probe=probe(found[plain][0].network, VICTIMS[first], pairs, seed=budget.seeds[0]),
        utility=_utility(clean[first][0].network, pairs),
        fidelity=fidelity(pairs.clean.images, pairs.protected),
    )


def _make_each(victims: Iterable[str], pairs: Pairs) -> None:
    """Make each victim once: what one lacks is said before hours of training."""
    with torch.random.fork_rng(devices=[]):
        for victim in victims:
            VICTIMS[victim](pairs.test.images.shape[3], len(pairs.classes))


def _cases(budget: Budget) -> Iterable[_Case]:
    first, *others = budget.victims
    yield _Case(first, NONE)
    yield from (_Case(other, NONE) for other in others)
    crossed = budget.victims if budget.crossed else (first,)
    yield from (_Case(*each) for each in product(crossed, budget.countermeasures))
    yield from (_Case(first, NONE, share) for share in budget.clean_shares)


def _mixed(pairs: Pairs, clean_share: float) -> Labelled:
    """Return the training images, the first of a random order in clear."""
    images: Images = pairs.protected.copy()
    order = np.random.default_rng(0).permutation(len(images))
    clear = order[: round(clean_share * len(images))]
    images[clear] = pairs.clean.images[clear]
    return Labelled(images, pairs.clean.labels)


@dataclass(frozen=True, slots=True)
class _Work:
    pairs: Pairs
    budget: Budget
    aid: Aid
    say: Say

    def try_all(self, case: _Case, train: Labelled) -> list[Attempt]:
        """Attempt a case with every seed."""
        task = Task(self.pairs.validation, self.pairs.test, len(self.pairs.classes))
        runs = [
            attempt(
                VICTIMS[case.victim],
                COUNTERMEASURES[case.countermeasure](),
                train,
                task,
                seed=seed,
                steps=self.budget.steps,
                aid=self.aid,
            )
            for seed in self.budget.seeds
        ]
        kind = "clean" if train is self.pairs.clean else f"protected, {case.clean_share:.0%} clean"
        best = self.accuracy(runs, "best")
        self.say(f"{case.victim}, {case.countermeasure}, {kind}: {best:.3f} on clean images")
        return runs

    def accuracy(self, runs: Sequence[Attempt], which: str) -> float:
        """Return the balanced accuracy on the clean test images, the mean over seeds."""
        labels, classes = self.pairs.test.labels, len(self.pairs.classes)
        scores = [balanced_accuracy(getattr(run, which), labels, classes) for run in runs]
        return round(float(np.mean(scores)), 6)

    def row(
        self,
        case: _Case,
        runs: Sequence[Attempt],
        clean: Sequence[Attempt],
        same_clean: Sequence[Attempt] | None,
    ) -> Row:
        """Return one row of the matrix."""
        best = self.accuracy(runs, "best")
        classes = len(self.pairs.classes)
        return {
            "victim": case.victim,
            "countermeasure": case.countermeasure,
            "clean_share": case.clean_share,
            "seeds": list(self.budget.seeds),
            "clean_trained": self.accuracy(same_clean, "as_is") if same_clean else None,
            "as_is": self.accuracy(runs, "as_is"),
            "renamed": self.accuracy(runs, "renamed"),
            "early_stopped": best,
            "attacker_best": best,
            "P": protection(self.accuracy(clean, "best"), best, classes),
            "P_interval": protection_interval(
                _outcomes(clean, "best"),
                _outcomes(runs, "best"),
                self.pairs.test.labels,
                classes,
                self.pairs.patients,
            ),
        }


def _outcomes(runs: Sequence[Attempt], which: str) -> list[Predicted]:
    return [getattr(run, which) for run in runs]


def _summary(rows: list[Row], plain: int, clean: float, pairs: Pairs, decoys: str) -> Protection:
    """Return P of the plain victim and of the worst; a share of clean images is no attack."""
    attacks = [row for row in rows if row["clean_share"] == 0 and row["P"] is not None]
    worst = min(attacks, key=lambda row: row["P"] or 0.0, default=None)
    attacker: Attacker | None = None
    if worst:
        attacker = {"victim": worst["victim"], "countermeasure": worst["countermeasure"]}
    return {
        "measurable": clean - 1 / len(pairs.classes) >= MEASURABLE,
        "plain": rows[plain]["P"],
        "plain_interval": rows[plain]["P_interval"],
        "worst": worst["P"] if worst else None,
        "worst_interval": worst["P_interval"] if worst else None,
        "worst_attacker": attacker,
        "decoys": decoys,
    }


def _curve(label: str, run: Attempt) -> Curve:
    return {
        "label": label,
        "steps": list(run.curve.steps),
        "train_accuracy": list(run.curve.train),
        "validation_accuracy": list(run.curve.validation),
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
