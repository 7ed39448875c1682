"""Protection at k: which share of what a set is worth its protected images lack.

To somebody with k clean labelled images a class, and nothing else, a set is worth the balanced
accuracy that is reached with the set and the k, less what is reached with the k alone.

    protection at k = 1 - worth(protected, k) / worth(clean, k)

For k = 0 the k alone give a guess, 1 / classes. All accuracies are on clean test images, which
nobody who attacks holds.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from medprotect.confounder.accuracy import balanced_accuracy, shares

MEASURABLE = 0.10
"""What the clean set must be worth, for protection at k to mean anything."""

RESAMPLES = 1000

_BALANCING_STEPS = 200

Predicted = NDArray[np.int64]
"""Classes (N,) that a model gives the clean test images."""

Told = Mapping[str, Sequence[Predicted]]
"""By attack, the classes (N,) that each seed gives the clean test images."""

Values = NDArray[np.float64]


def worth(with_set: float, alone: float) -> float:
    """Return what a set adds to what its holder has without it.

    Parameters
    ----------
    with_set, alone : float
        Balanced accuracies. A holder whom the set misleads leaves it aside, so it is 0 at least.

    Examples
    --------
    >>> worth(0.75, 0.5)
    0.25
    >>> worth(0.25, 0.5)
    0.0
    """
    return max(0.0, with_set - alone)


def protection_at_k(clean: float, protected: float) -> float | None:
    """Return which share of the worth of the clean set the protected set lacks.

    Parameters
    ----------
    clean, protected : float
        What each is worth to somebody with the same k.

    Returns
    -------
    float or None
        1: the protected set is worth nothing. 0: as much as the clean set. None: not measurable, as
        the clean set itself is worth less than `MEASURABLE`.

    Examples
    --------
    >>> protection_at_k(0.5, 0.125)
    0.75
    >>> protection_at_k(0.05, 0.0) is None
    True
    """
    return None if clean < MEASURABLE else round(1 - protected / clean, 6)


def accuracies(told: Told, labels: Predicted, classes: int) -> dict[str, float]:
    """Return the balanced accuracy of each attack, the mean over its seeds."""
    return {
        attack: round(float(np.mean([balanced_accuracy(run, labels, classes) for run in runs])), 6)
        for attack, runs in told.items()
    }


def best(told: Told, labels: Predicted, classes: int) -> float:
    """Return the balanced accuracy of the best attack, each the mean over its seeds."""
    return max(accuracies(told, labels, classes).values())


def protection(
    clean: Told, protected: Told, alone: Told | None, labels: Predicted, classes: int
) -> float | None:
    """Return protection at k from what the attacks told, as `protection_interval` takes them."""
    without = 1 / classes if alone is None else best(alone, labels, classes)
    worths = [worth(best(told, labels, classes), without) for told in (clean, protected)]
    return protection_at_k(*worths)


def protection_interval(
    clean: Told,
    protected: Told,
    alone: Told | None,
    labels: Predicted,
    classes: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[float, float] | None:
    """Return the 95 % interval of protection at k by a bootstrap over test images and seeds.

    All are judged on the same test images and seeds of each resample, and the best attack is chosen
    anew in each; seeds are drawn together where there are as many. Resamples in which the clean set
    is worth nothing have no value and are left out.

    Parameters
    ----------
    clean, protected : mapping
        What the attacks told, that were made with each set.
    alone : mapping, optional
        What those told that were made with the k alone; None for k = 0, which is a guess.
    labels : NDArray of int64
        (N,), of the test images.
    groups : NDArray of int64, optional
        (N,), of each test image; then groups are drawn, not images.
    """
    rng = np.random.default_rng(0)
    names, group = np.unique(
        np.arange(len(labels)) if groups is None else groups, return_inverse=True
    )
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    times = drawn.astype(np.float64)
    counts = {len(runs) for told in (clean, protected, alone or {}) for runs in told.values()}
    seeds = {
        count: rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
        for count in sorted(counts)
    }

    def tally(right: NDArray[np.bool_]) -> Values:
        """Return (resamples, classes): the images of each class where that is true."""
        table = np.zeros((len(names), classes))
        np.add.at(table, (group[right], labels[right]), 1)
        totals: Values = times @ table
        return totals

    there = tally(np.ones(len(labels), np.bool_))

    def score(told: Told) -> Values:
        """Return (resamples,): what the best attack gets."""
        found: Values = np.max([score_attack(runs) for runs in told.values()], axis=0)
        return found

    def score_attack(runs: Sequence[Predicted]) -> Values:
        shares = np.stack([_mean_share(tally(run == labels), there) for run in runs], axis=1)
        mean: Values = (shares * seeds[len(runs)]).sum(1)
        return mean

    without = np.full(RESAMPLES, 1 / classes) if alone is None else score(alone)
    worths = [np.maximum(0, score(told) - without) for told in (clean, protected)]
    some = worths[0] > 0
    if not some.any():
        return None
    low, high = np.percentile(1 - worths[1][some] / worths[0][some], [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)


def _mean_share(found: Values, there: Values) -> Values:
    """Return (resamples,): the mean, over the classes that were drawn, of the share found."""
    present = there > 0
    shares = np.divide(found, there, out=np.zeros_like(found), where=present)
    means: Values = shares.sum(1) / present.sum(1)
    return means


def balance_outputs(outputs: Values, shares_of_classes: Values) -> Predicted:
    """Return the classes (N,) once a bias of each class makes all as frequent as they should be.

    A model that learned noise tends to give clean images, which have none, one and the same class,
    whatever else it learned. Who sees that moves the thresholds, for which images without labels
    are enough: until the mean probability of each class is its share of what was learned from
    (Saerens, Latinne and Decaestecker, Neural Computation 2002, with the shares known).

    Parameters
    ----------
    outputs : NDArray of float64
        (N, classes), before the softmax.
    shares_of_classes : NDArray of float64
        (classes,), above 0, of sum 1.

    Examples
    --------
    >>> balance_outputs(np.array([[9.0, 1.0], [9.0, 0.0]]), np.array([0.5, 0.5]))
    array([1, 0])
    """
    biases = np.zeros(outputs.shape[1])
    for _ in range(_BALANCING_STEPS):
        moved = outputs + biases
        likely = np.exp(moved - moved.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        biases += np.log(shares_of_classes) - np.log(np.maximum(likely.mean(0), 1e-300))
    balanced: Predicted = (outputs + biases).argmax(1)
    return balanced


def best_relabelling(predicted: Predicted, labels: Predicted, classes: int) -> NDArray[np.int64]:
    """Return what each output should be renamed to, (classes,), for the best balanced accuracy.

    Solved exactly (Hungarian method); to be fitted on images that the result is not measured on.
    """
    matrix = shares(predicted, labels, classes)
    named, outputs = linear_sum_assignment(matrix, maximize=True)
    renamed = np.empty(classes, dtype=np.int64)
    renamed[outputs] = named
    return renamed
