"""The audit itself: victims on clean and on protected images, under every countermeasure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.aids import AIDED, allowed_by, used_by
from medprotect.audit.attack.countermeasure import Aid, Countermeasure, to_tensor
from medprotect.audit.attack.victims import VICTIMS, make_each
from medprotect.audit.attempt import BATCH, Attempt, Task, attempt, predict
from medprotect.audit.fidelity import fidelity
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Images, Pairs
from medprotect.audit.probe import probe
from medprotect.audit.protection import (
    MEASURABLE,
    Predicted,
    balanced_accuracy,
    protection,
    protection_interval,
)
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
from medprotect.audit.state import Settings, State, digest
from medprotect.confounder.assigning import Progress

NONE = "none"

UNAIDED = tuple(each for each in COUNTERMEASURES if each not in (NONE, *AIDED))
"""Countermeasures that need nothing more than the protected images."""

NOT_TRIED = (
    "segmentation, detection, and any task other than naming the class",
    "attackers who know the key or the generator",
    "copies of the same images released in clear, earlier or elsewhere: they undo all of it",
)


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
            f"Each with {len(self.seeds)} seeds, {self.steps} steps of {BATCH} images, "
            "AdamW, shifted and mirrored at random",
            "Outputs renamed one to one, and training stopped early, on clean validation images",
        ]
        if self.clean_shares:
            shares = ", ".join(f"{share:.0%}" for share in self.clean_shares)
            tried.append(f"{self.victims[0]} with {shares} of the images in clear")
        return [text for text in tried if text]

    def aided_by(self, aid: Aid) -> "Budget":
        """Return it with the countermeasures that what the attacker has allows."""
        return replace(self, countermeasures=(*self.countermeasures, *allowed_by(aid)))

    def leave_out(self) -> list[str]:
        """Return what is not tried, in sentences."""
        kinds = dict.fromkeys(VICTIMS, "other models")
        kinds |= dict.fromkeys(UNAIDED, "other countermeasures")
        kinds |= {name: f"attackers who have {need}" for name, need in AIDED.items()}
        left: dict[str, list[str]] = {}
        for name, kind in kinds.items():
            if name not in (*self.victims, *self.countermeasures):
                left.setdefault(kind, []).append(name)
        named = [f"{kind}: {', '.join(names)}" for kind, names in left.items()]
        return [*NOT_TRIED, *named]


_TREATED = ("grey", "jpeg-10", "blur-1", "posterise-2", "half-size", "median")

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
            countermeasures=UNAIDED,
            crossed=True,
            clean_shares=(0.2, 0.5, 0.8),
            seeds=(1, 2, 3, 4, 5),
            steps=3000,
        ),
    )
}


Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A victim, what it does against the protection, and the share of images it has in clear."""

    victim: str
    countermeasure: str
    clean_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What all attempts of an audit share.

    Attributes
    ----------
    pairs : Pairs
        The images.
    seeds : tuple of int
        Each case is tried with each.
    steps : int
        Of each training.
    aid : Aid
        What else the attacker has.
    state : State
        Keeps what is finished, and has what was.
    say : callable
        Told, in a line, what was found.
    progress : callable
        Told the steps done of all trainings together, as they are done.
    cases : int
        How many will be attempted, clean ones among them.
    """

    pairs: Pairs
    seeds: tuple[int, ...]
    steps: int
    aid: Aid
    state: State
    say: Say
    progress: Progress
    cases: int
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
        train = Labelled(images, self.pairs.clean.labels)
        share = f", {case.clean_share:.0%} clean" if case.clean_share else ""
        return self._try(case, train, f"protected{share}")

    def _try(self, case: Case, train: Labelled, kind: str) -> list[Attempt]:
        runs = [self._take_up(case, train, kind, seed) for seed in self.seeds]
        best = self.accuracy(runs, "best")
        self.say(f"{case.victim}, {case.countermeasure}, {kind}: {best:.3f} on clean images")
        return runs

    def _take_up(self, case: Case, train: Labelled, kind: str, seed: int) -> Attempt:
        """Return an attempt as it was kept, or make it; of networks only the first plain one's."""
        victim, classes = VICTIMS[case.victim], len(self.pairs.classes)
        keep = case.countermeasure == Countermeasure.name and seed == self.seeds[0]
        settings = self._settings(case, train, seed)
        make = partial(victim, train.images.shape[3], classes)
        self._made.append(f"{case.victim}, {case.countermeasure}, {kind}, seed {seed}")
        kept = self.state.load(settings, make if keep else None)
        if kept is not None:
            self._tell(self.steps)
            return kept
        run = attempt(
            victim,
            COUNTERMEASURES[case.countermeasure](),
            train,
            Task(self.pairs.validation, self.pairs.test, classes),
            seed=seed,
            steps=self.steps,
            aid=self.aid,
            unfinished=self.state.unfinished(settings),
            progress=self._tell,
        )
        run = run if keep else replace(run, network=None)
        self.state.save(settings, run)
        return run

    def _tell(self, done: int) -> None:
        """Tell how many steps are done, of this training and all before it."""
        number, every = len(self._made), self.cases * len(self.seeds)
        stage = f"training {number} of {every}: {self._made[-1]}"
        self.progress(stage, (number - 1) * self.steps + done, every * self.steps, {})

    def _settings(self, case: Case, train: Labelled, seed: int) -> Settings:
        parts = (train, self.pairs.validation, self.pairs.test)
        arrays = [array for part in parts for array in (part.images, part.labels)]
        return {
            "victim": case.victim,
            "countermeasure": case.countermeasure,
            "seed": seed,
            "steps": self.steps,
            "classes": len(self.pairs.classes),
            "images": digest(*arrays, *used_by(case.countermeasure, self.aid)),
        }

    def accuracy(self, runs: Sequence[Attempt], which: str) -> float:
        """Return the balanced accuracy on the clean test images, the mean over seeds."""
        labels, classes = self.pairs.test.labels, len(self.pairs.classes)
        scores = [balanced_accuracy(getattr(run, which), labels, classes) for run in runs]
        return round(float(np.mean(scores)), 6)

    def row(
        self,
        case: Case,
        runs: Sequence[Attempt],
        clean: Sequence[Attempt],
        same_clean: Sequence[Attempt] | None,
    ) -> Row:
        """Return one row of the matrix.

        Parameters
        ----------
        clean, same_clean : sequence of Attempt
            On clean images: of the victim that does best there, from which P is taken, and of the
            same victim, where this row is to show it.
        """
        best = self.accuracy(runs, "best")
        classes = len(self.pairs.classes)
        return {
            "victim": case.victim,
            "countermeasure": case.countermeasure,
            "clean_share": case.clean_share,
            "seeds": list(self.seeds),
            "clean_trained": self.accuracy(same_clean, "as_is") if same_clean else None,
            "as_is": self.accuracy(runs, "as_is"),
            "renamed": self.accuracy(runs, "renamed"),
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
        Keeps finished attempts; those that it has are not made again.
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
    cases = list(_cases(budget))
    make_each(budget.victims, pairs.test.images.shape[3], len(pairs.classes))
    trials = Trials(
        pairs=pairs,
        seeds=budget.seeds,
        steps=budget.steps,
        aid=aid or Aid(),
        state=state or State(None),
        say=say,
        progress=progress,
        cases=len(budget.victims) + len(cases),
    )
    clean = {name: trials.on_clean(Case(name, NONE)) for name in budget.victims}
    clean_best = max(clean, key=lambda name: trials.accuracy(clean[name], "best"))
    rows: list[Row] = []
    found: dict[int, list[Attempt]] = {}
    for case in cases:
        runs = trials.on_protected(case)
        baseline = clean[case.victim] if case.countermeasure == NONE else None
        found[len(rows)] = runs
        rows.append(trials.row(case, runs, clean[clean_best], baseline))
    progress("comparing images", 0, 1, {})
    plain = next(at for at, row in enumerate(rows) if row["victim"] == budget.victims[0])
    first = budget.victims[0]
    learned = found[plain][0].kept_network()
    a_clean = trials.accuracy(clean[clean_best], "best")
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
        probe=probe(learned, VICTIMS[first], pairs, seed=budget.seeds[0]),
        utility=_utility(clean[first][0].kept_network(), pairs),
        fidelity=fidelity(pairs.clean.images, pairs.protected),
    )


def _cases(budget: Budget) -> Iterable[Case]:
    first, *others = budget.victims
    yield Case(first, NONE)
    yield from (Case(other, NONE) for other in others)
    crossed = budget.victims if budget.crossed else (first,)
    yield from (Case(*each) for each in product(crossed, budget.countermeasures))
    yield from (Case(first, NONE, share) for share in budget.clean_shares)


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
