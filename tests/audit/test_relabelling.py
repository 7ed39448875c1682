"""Renaming outputs: exact, one-to-one, and blind to how many images a class has."""

from itertools import permutations

import numpy as np
import pytest

from medprotect.audit.relabelling import balanced_accuracy, best_relabelling, shares


def test_a_permuted_victim_is_undone() -> None:
    labels = np.arange(5).repeat(7)
    order = np.array([3, 0, 4, 1, 2])
    renamed = best_relabelling(order[labels], labels, 5)
    assert np.array_equal(renamed[order[labels]], labels)


@pytest.mark.parametrize("seed", range(20))
def test_no_renaming_is_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(0, 4, 60), random.integers(0, 4, 60)
    best = balanced_accuracy(best_relabelling(predicted, labels, 4)[predicted], labels, 4)
    others = [
        balanced_accuracy(np.array(order)[predicted], labels, 4) for order in permutations(range(4))
    ]
    assert best == pytest.approx(max(others))


def test_a_renaming_is_one_to_one_even_where_an_output_never_comes() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    renamed = best_relabelling(np.zeros(6, dtype=np.int64), labels, 3)
    assert sorted(renamed.tolist()) == [0, 1, 2]


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
