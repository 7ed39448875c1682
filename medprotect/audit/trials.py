"""Cases tried with every seed: victims under countermeasures, as rows of the matrix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from medprotect.audit.aids import used_by
from medprotect.audit.attempt import Attempt, Task, attempt
from medprotect.audit.countermeasures import COUNTERMEASURES
from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Images, Pairs
from medprotect.audit.protection import Predicted, protection, protection_interval
from medprotect.audit.relabelling import balanced_accuracy
from medprotect.audit.report_schema import Row
from medprotect.audit.state import Settings, State, digest
from medprotect.audit.victims import VICTIMS
from medprotect.confounder.assigning import Progress

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
