"""Classes weigh alike, however many images they have."""

import numpy as np

from medprotect.confounder.accuracy import balanced_accuracy, shares


def test_balanced_accuracy_weighs_classes_alike() -> None:
    labels = np.array([0] * 98 + [1] * 2)
    assert balanced_accuracy(np.zeros(100, dtype=np.int64), labels, 2) == 0.5


def test_balanced_accuracy_leaves_out_classes_without_images() -> None:
    labels = np.array([0, 2])
    assert balanced_accuracy(labels, labels, 3) == 1.0


def test_shares_of_each_class_sum_to_one() -> None:
    matrix = shares(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), 3)
    assert matrix.sum(1).tolist() == [1, 1, 0]
    assert matrix[0].tolist() == [0.5, 0.5, 0]
