"""What somebody does who holds k clean labelled images a class, and perhaps a larger set.

Fitting the last layer anew to a few images is P. Kirichenko et al., *Last layer re-training is
sufficient for robustness to spurious correlations*, ICLR 2023, arXiv:2204.02937.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medprotect.audit.attack.countermeasure import to_tensor
from medprotect.audit.attack.victims import PEAK_RATES, VICTIMS
from medprotect.audit.attempt import (
    RATE,
    Attempt,
    Unfinished,
    fit,
    hold_out,
    own_randomness,
    predict,
)
from medprotect.audit.halves import Labelled
from medprotect.audit.moments import Few
from medprotect.audit.protection import Predicted, best_relabelling
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.confounder.networks import channels_last
from medprotect.errors import ConfigError

FOLDS = 5

ALONE, FINE_TUNED, TOGETHER = "alone", "fine-tuned", "together"
TRAININGS = (FINE_TUNED, TOGETHER)
"""The attacks with a set and the k that take a training of their own."""

Runs = dict[str, Predicted]
"""By attack, the classes (N,) given to the test images."""


def most_images(part: Labelled, classes: int) -> int:
    """Return of how many images of each class a few can be drawn."""
    return int(np.bincount(part.labels, minlength=classes).min())


def draw_few(part: Labelled, k: int, classes: int, seed: int) -> Labelled:
    """Return k images of each class; the first of them are those of a smaller k.

    Raises
    ------
    ConfigError
        A class has fewer.
    """
    if most_images(part, classes) < k:
        raise ConfigError(f"A class has fewer than {k} validation images; choose a smaller k.")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(part.labels == each))[:k] for each in range(classes)]
    return part.take(np.stack(drawn, axis=1).ravel())


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who trains one kind of network.

    Attributes
    ----------
    victim : str
        One of `VICTIMS`.
    test : Labelled
        Clean images that nothing is chosen by.
    classes : int
        Number of classes.
    seed : int
        Of all trainings.
    steps : int
        Of each training.
    """

    victim: str
    test: Labelled
    classes: int
    seed: int
    steps: int

    def train(
        self,
        attack: str,
        few: Labelled,
        *,
        train: Labelled | None = None,
        run: Attempt | None = None,
        unfinished: Unfinished | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Predicted:
        """Return what an attack tells that takes a training of its own.

        Parameters
        ----------
        attack : str
            ``alone``: learn from the k; ``fine-tuned``: what learned from the set
            learns from them afterwards; ``together``: learn from the set and the k.
        few : Labelled
            The k of each class.
        train : Labelled, optional
            The set, for ``together``.
        run : Attempt, optional
            What learned from the set, for ``fine-tuned``.
        unfinished, progress : optional
            As in `medprotect.audit.attempt.attempt`.
        """
        victim = VICTIMS[self.victim]
        part, drawn = few, None
        if attack == TOGETHER and train is not None:
            part, drawn = self._mix(train, few)
        with own_randomness(self.seed):
            network = channels_last(victim(self.test.images.shape[3], self.classes))
            if attack == FINE_TUNED and run is not None:
                network.load_state_dict(run.kept_network().state_dict())
            fit(
                network,
                part,
                steps=self.steps,
                seed=self.seed,
                peak=PEAK_RATES.get(victim, RATE),
                drawn=drawn,
                unfinished=unfinished,
                progress=progress,
            )
        return predict(network, to_tensor(self.test.images))

    def _mix(self, train: Labelled, few: Labelled) -> tuple[Labelled, NDArray[np.int64]]:
        """Return the set with the k, and what is drawn: the k as often as the set, too few else."""
        learned, _ = hold_out(train, self.seed)
        both = Labelled(
            np.concatenate([learned.images, few.images]),
            np.concatenate([learned.labels, few.labels]),
        )
        again = len(learned) + np.arange(len(learned)) % len(few)
        return both, np.concatenate([np.arange(len(learned)), again])

    def choose(self, run: Attempt, few: Labelled) -> Runs:
        """Return what needs no more training: the k rename, choose the moment, fit a last layer.

        Parameters
        ----------
        run : Attempt
            That was made with these few, or with more of which these are the first.
        """
        at = slice(len(few))
        seen = [(moment, _kept(moment.few)) for moment in run.moments]
        named: list[tuple[float, Predicted]] = []
        read: list[tuple[float, Predicted]] = []
        for moment, kept in seen:
            guess = kept.predicted[at]
            order = best_relabelling(guess, few.labels, self.classes)
            for names in (np.arange(self.classes), order):
                named.append((self._score(names[guess], few), names[moment.predicted]))
            features = kept.features[at]
            across = self._score(self._read_across(features, few.labels), few)
            read.append((across, read_features(features, few.labels, kept.tested, self.classes)))
        return {
            "renamed": named[-1][1],
            "moment chosen": _first_best(named),
            "last layer": _first_best(read),
        }

    def _read_across(self, features: Tensor, labels: Predicted) -> Predicted:
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

    def _score(self, guess: Predicted, few: Labelled) -> float:
        return balanced_accuracy(guess, few.labels, self.classes)


def _kept(few: Few | None) -> Few:
    if few is None:
        raise ValueError("the attempt was made without clean images")
    return few


def _first_best(choices: list[tuple[float, Predicted]]) -> Predicted:
    return max(choices, key=lambda choice: choice[0])[1]


def read_features(
    learned: Tensor, labels: NDArray[np.int64], tested: Tensor, classes: int
) -> NDArray[np.int64]:
    """Return the classes (M,) that a linear reader of features gives.

    Parameters
    ----------
    learned : Tensor
        (N, F), of the images that the reader is fitted to, and whose labels (N,) it is told.
    tested : Tensor
        (M, F), of those that it reads.
    """
    mean, spread = learned.mean(0), learned.std(0).clamp_min(1e-6)
    weights = _fit((learned - mean) / spread, torch.from_numpy(labels), classes)
    ones = torch.ones(len(tested), 1)
    guess: NDArray[np.int64] = (
        (torch.cat([(tested - mean) / spread, ones], 1) @ weights).argmax(1).numpy()
    )
    return guess


def _fit(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Fit a logistic regression with a small weight decay; convex, so it has one answer."""
    entering = torch.cat([features, torch.ones(len(features), 1)], 1)
    weights = torch.zeros(entering.shape[1], classes, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(entering @ weights, labels)
        loss = loss + 1e-3 * weights.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weights.detach()
