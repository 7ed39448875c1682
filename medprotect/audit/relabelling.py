"""The attacker's best one-to-one renaming of a victim's outputs, and what it gives."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


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
