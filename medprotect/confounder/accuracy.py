"""How often a model is right, each class counting the same."""

import numpy as np
from numpy.typing import NDArray


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
