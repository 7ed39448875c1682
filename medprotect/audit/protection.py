"""Protection P: which share of what clean images teach is not learned from protected ones.

    P = (A_clean - A_protected) / (A_clean - A_chance)

on balanced accuracy, tested on clean images; A_chance is 1 / K. 1: the victim learned nothing;
0: no protection. A_protected is the best that the attacker gets from the victim as it is, from its
outputs renamed one to one, and from stopping early, each chosen on clean validation images.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

MEASURABLE = 0.15
"""How far clean accuracy must lie above chance, for P to mean anything."""

RESAMPLES = 1000

Predicted = NDArray[np.int64]
"""Classes (N,) that a model gives the clean test images."""

Values = NDArray[np.float64]


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
    names, group = np.unique(
        np.arange(len(labels)) if groups is None else groups, return_inverse=True
    )
    of_class = (labels[:, None] == np.arange(classes)).astype(np.float64)
    found = [[of_class * (run == labels)[:, None] for run in runs] for runs in (clean, protected)]
    values: list[float] = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(names), size=len(names))
        times = np.bincount(drawn, minlength=len(names))[group].astype(np.float64)
        scores = [
            np.mean([_score(runs[pick], of_class, times) for pick in _draw(rng, len(runs))])
            for runs in found
        ]
        value = protection(float(scores[0]), float(scores[1]), classes)
        if value is not None:
            values.append(value)
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)


def _draw(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return rng.integers(count, size=count)


def _score(found: Values, of_class: Values, times: Values) -> float:
    """Return the balanced accuracy where each image counts as many times as it was drawn.

    Parameters
    ----------
    found, of_class : NDArray of float64
        (N, classes), one where an image is of a class; of `found`, where that was told, too.
    times : NDArray of float64
        (N,).
    """
    there = times @ of_class
    present = there > 0
    return float(((times @ found)[present] / there[present]).mean())


def shares(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return the confusion matrix (classes, outputs), each row of a class present summing to 1."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, predicted), 1)
    totals = counts.sum(1, keepdims=True)
    result: NDArray[np.float64] = np.divide(
        counts, totals, out=np.zeros_like(counts), where=totals > 0
    )
    return result


def balanced_accuracy(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> float:
    """Return the mean, over the classes present, of the share found."""
    diagonal = np.diagonal(shares(predicted, labels, classes))
    return float(diagonal[np.unique(labels)].mean())


def best_relabelling(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Return what each output should be renamed to, (classes,), for the best balanced accuracy.

    Solved exactly (Hungarian method); to be fitted on images that the result is not measured on.
    """
    matrix = shares(predicted, labels, classes)
    named, outputs = linear_sum_assignment(matrix, maximize=True)
    renamed = np.empty(classes, dtype=np.int64)
    renamed[outputs] = named
    return renamed
