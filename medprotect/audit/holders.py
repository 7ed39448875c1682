"""What somebody does who holds a set of labelled images and k clean ones a class.

Fitting the last layer anew to a few images is P. Kirichenko et al., *Last layer re-training is
sufficient for robustness to spurious correlations*, ICLR 2023, arXiv:2204.02937.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.countermeasure import to_tensor
from medprotect.audit.attack.victims import PEAK_RATES, VICTIMS
from medprotect.audit.attempt import BATCH, RATE, Predicted, Training
from medprotect.audit.halves import Labelled
from medprotect.audit.probe import features_of, read_features
from medprotect.audit.protection import balanced_accuracy, best_relabelling
from medprotect.audit.state import digest
from medprotect.confounder.networks import channels_last
from medprotect.errors import ConfigError

MOMENTS = 10
"""Of a training, at which it may be stopped."""

FOLDS = 5

Runs = dict[str, Predicted]
"""By attack, the classes (N,) given to the test images."""


def draw_few(part: Labelled, k: int, classes: int, seed: int) -> Labelled:
    """Return k images of each class.

    Raises
    ------
    ConfigError
        A class has fewer.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(part.labels == each))[:k] for each in range(classes)]
    if min(map(len, drawn)) < k:
        raise ConfigError(f"A class has fewer than {k} validation images; choose a smaller k.")
    return part.take(np.sort(np.concatenate(drawn)))


def hold_out(part: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """Return nine tenths of a set to learn from, and one to choose by; they share no group."""
    units = np.arange(len(part)) if part.groups is None else part.groups
    names = np.random.default_rng(seed).permutation(np.unique(units))
    held = np.isin(units, names[: max(1, len(names) // 10)])
    return part.take(~held), part.take(held)


def fit(
    network: nn.Module,
    part: Labelled,
    *,
    steps: int,
    seed: int,
    peak: float,
    drawn: NDArray[np.int64] | None = None,
    look: Callable[[int], None] = lambda _: None,
) -> None:
    """Train a network, as `medprotect.audit.attempt.attempt` does without countermeasure.

    Parameters
    ----------
    network : Module
        Trained in place.
    peak : float
        Of the learning rate.
    drawn : NDArray of int64, optional
        Indices of images; one that is there twice is learned twice as often. Else each is once.
    look : callable, optional
        Told the number of steps that are done: at `MOMENTS` of them, or all, the last among them.
    """
    drawn = np.arange(len(part)) if drawn is None else drawn
    plain = COUNTERMEASURES["none"]()
    training = Training(network, peak, steps, seed)
    every = max(1, steps // MOMENTS)
    for step in range(steps):
        at = drawn[training.draw(step, len(drawn), BATCH).numpy()]
        training.learn(plain, to_tensor(part.images[at]), torch.from_numpy(part.labels[at]))
        if (step + 1) % every == 0 or step + 1 == steps:
            look(step + 1)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a victim was at a moment of its training."""

    step: int
    held: float
    features: Tensor
    predicted: Predicted
    weights: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who trains one kind of network.

    Attributes
    ----------
    victim : str
        One of `VICTIMS`.
    tested : NDArray of uint8
        (N, H, W, C), clean images that nothing is chosen by.
    classes : int
        Number of classes.
    seed : int
        Of all trainings.
    steps : int
        Of each training.
    share : float, optional
        Of the steps, in 0..1, after which the holder stops from experience.
    """

    victim: str
    tested: NDArray[np.uint8]
    classes: int
    seed: int
    steps: int
    share: float | None = None

    def settings(self) -> dict[str, str | int]:
        """Return all but the images that the outcome depends on."""
        return {
            "holder": self.victim,
            "tested": digest(self.tested),
            "classes": self.classes,
            "seed": self.seed,
            "steps": self.steps,
            "share": str(self.share),
        }

    def attack_alone(self, few: dict[int, Labelled]) -> dict[int, Runs]:
        """Return what the k alone teach, for each k but 0."""
        with self._own_randomness():
            return {k: {self.victim: self._learn(part)} for k, part in few.items() if k}

    def attack(self, train: Labelled, few: dict[int, Labelled]) -> dict[int, Runs]:
        """Return what a set teaches somebody who has the k, too, for each k."""
        with self._own_randomness():
            learned, held = hold_out(train, self.seed)
            moments = self._watch(learned, held)
            found: dict[int, Runs] = {}
            for k, part in few.items():
                runs = self._stop(moments)
                if k:
                    runs |= self._choose(moments, part)
                    runs["last layer"] = self._fit_last_layer(moments, part)
                    runs["fine-tuned"] = self._fine_tune(moments[-1], part)
                    runs["together"] = self._learn_together(learned, part)
                found[k] = {f"{self.victim}, {name}": run for name, run in runs.items()}
        return found

    def _own_randomness(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng(devices=[])  # dropout draws from torch's own

    def _new(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return channels_last(VICTIMS[self.victim](self.tested.shape[3], self.classes))

    def _fit(
        self,
        network: nn.Module,
        part: Labelled,
        drawn: NDArray[np.int64] | None = None,
        look: Callable[[int], None] = lambda _: None,
    ) -> None:
        peak = PEAK_RATES.get(VICTIMS[self.victim], RATE)
        fit(network, part, steps=self.steps, seed=self.seed, peak=peak, drawn=drawn, look=look)

    def _learn(self, part: Labelled, drawn: NDArray[np.int64] | None = None) -> Predicted:
        network = self._new()
        self._fit(network, part, drawn)
        return classify(network, features_of(network, self.tested))

    def _watch(self, learned: Labelled, held: Labelled) -> list[_Moment]:
        """Train on a set and return what the victim was at each moment."""
        network = self._new()
        moments: list[_Moment] = []

        def look(step: int) -> None:
            guess = classify(network, features_of(network, held.images))
            features = features_of(network, self.tested)
            moments.append(
                _Moment(
                    step,
                    balanced_accuracy(guess, held.labels, self.classes),
                    features,
                    classify(network, features),
                    {name: each.clone() for name, each in network.state_dict().items()},
                )
            )

        self._fit(network, learned, look=look)
        return moments

    def _stop(self, moments: list[_Moment]) -> Runs:
        """Stop without any clean image."""
        on_protected = max(moments, key=lambda moment: moment.held)  # the first of the best
        runs = {
            "as it ends": moments[-1].predicted,
            "best on the set": on_protected.predicted,
        }
        if self.share is not None:
            due = self.share * self.steps
            nearest = min(moments, key=lambda moment: abs(moment.step - due))
            runs["at the share"] = nearest.predicted
        return runs

    def _choose(self, moments: list[_Moment], few: Labelled) -> Runs:
        """Rename the outputs, and choose the moment, by the k."""
        choices: list[tuple[float, Predicted]] = []
        for moment in moments:
            network = self._at(moment)
            seen = classify(network, features_of(network, few.images))
            order = best_relabelling(seen, few.labels, self.classes)
            for names in (np.arange(self.classes), order):
                score = balanced_accuracy(names[seen], few.labels, self.classes)
                choices.append((score, names[moment.predicted]))
        best = max(choices, key=lambda choice: choice[0])
        return {"renamed": choices[-1][1], "moment chosen": best[1]}

    def _fit_last_layer(self, moments: list[_Moment], few: Labelled) -> Predicted:
        """Fit the last layer to the k, at the moment whose features read the k best."""
        choices: list[tuple[float, Predicted]] = []
        for moment in moments:
            features = features_of(self._at(moment), few.images)
            guess = self._read_across(features, few.labels)
            score = balanced_accuracy(guess, few.labels, self.classes)
            tested = read_features(features, few.labels, moment.features, self.classes)
            choices.append((score, tested))
        return max(choices, key=lambda choice: choice[0])[1]

    def _read_across(self, features: Tensor, labels: NDArray[np.int64]) -> Predicted:
        """Return what readers give that were fitted to the other folds."""
        rank = np.zeros(len(labels), np.int64)
        for each in range(self.classes):
            at = np.flatnonzero(labels == each)
            rank[at] = np.arange(len(at))
        guess = np.zeros(len(labels), np.int64)
        for fold in range(FOLDS):
            held = rank % FOLDS == fold
            if held.any() and not held.all():
                kept = features[torch.from_numpy(~held)]
                tested = features[torch.from_numpy(held)]
                guess[held] = read_features(kept, labels[~held], tested, self.classes)
        return guess

    def _fine_tune(self, moment: _Moment, few: Labelled) -> Predicted:
        network = self._at(moment)
        self._fit(network, few)
        return classify(network, features_of(network, self.tested))

    def _learn_together(self, learned: Labelled, few: Labelled) -> Predicted:
        """Learn from the set and the k, which are drawn as often as the set: too few else."""
        both = Labelled(
            np.concatenate([learned.images, few.images]),
            np.concatenate([learned.labels, few.labels]),
        )
        again = len(learned) + np.arange(len(learned)) % len(few)
        return self._learn(both, np.concatenate([np.arange(len(learned)), again]))

    def _at(self, moment: _Moment) -> nn.Module:
        network = self._new()
        network.load_state_dict(moment.weights)
        return network.eval()


@torch.inference_mode()
def classify(network: nn.Module, features: Tensor) -> Predicted:
    """Return the classes (N,) that a network's last linear layer gives to what enters it (N, F)."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    predicted: Predicted = last(features).argmax(1).numpy()
    return predicted
