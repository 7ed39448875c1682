"""Protection P: which share of what clean images teach is not learned from protected ones.

    P = (A_clean - A_protected) / (A_clean - A_chance)

on balanced accuracy, tested on clean images; A_chance is 1 / K. 1: the victim learned nothing;
0: no protection. A_protected is the best that the attacker gets from the victim as it is, from its
outputs renamed one to one, and from stopping early, each chosen on clean validation images.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.relabelling import balanced_accuracy

MEASURABLE = 0.15
"""How far clean accuracy must lie above chance, for P to mean anything."""

RESAMPLES = 1000

Predicted = NDArray[np.int64]
"""Classes (N,) that a model gives the clean test images."""


def protection(clean: float, protected: float, classes: int) -> float | None:
    """Return P from two balanced accuracies; None where clean images teach too little.

    Examples
    --------
    >>> protection(0.9, 0.2, 10)
    0.875
    """
    chance = 1 / classes
    if clean - chance < MEASURABLE:
        return None
    return round((clean - protected) / (clean - chance), 6)


def protection_interval(
    clean: Sequence[Predicted],
    protected: Sequence[Predicted],
    labels: NDArray[np.int64],
    classes: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[float, float] | None:
    """Return the 95 % interval of P by a bootstrap over test images, paired, and over seeds.

    Both models are judged on the same images of each resample: what is hard is so for both.

    Parameters
    ----------
    clean, protected : sequence of NDArray of int64
        Predictions of each seed.
    labels : NDArray of int64
        (N,).
    groups : NDArray of int64, optional
        (N,), the patient of each image; then patients are drawn, not images.
    """
    rng = np.random.default_rng(0)
    members = _members(groups, len(labels))
    values: list[float] = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(members), size=len(members))
        at = np.concatenate([members[each] for each in drawn])
        scores = [
            np.mean([_score(runs[pick], labels, at, classes) for pick in _draw(rng, len(runs))])
            for runs in (clean, protected)
        ]
        value = protection(float(scores[0]), float(scores[1]), classes)
        if value is not None:
            values.append(value)
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)


def _members(groups: NDArray[np.int64] | None, count: int) -> list[NDArray[np.int64]]:
    if groups is None:
        return list(np.arange(count)[:, None])
    return [np.flatnonzero(groups == each) for each in np.unique(groups)]


def _draw(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return rng.integers(count, size=count)


def _score(
    predicted: Predicted, labels: NDArray[np.int64], at: NDArray[np.int64], classes: int
) -> float:
    return balanced_accuracy(predicted[at], labels[at], classes)
