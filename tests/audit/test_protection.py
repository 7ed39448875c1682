"""P: nothing learned is 1, everything is 0, and what clean images do not teach has none."""

from itertools import permutations

import numpy as np
import pytest

from medprotect.audit.protection import (
    balanced_accuracy,
    best_relabelling,
    protection,
    protection_interval,
    shares,
)


@pytest.mark.parametrize(
    ("clean", "protected", "classes", "expected"),
    [(0.9, 0.1, 10, 1.0), (0.9, 0.9, 10, 0.0), (0.9, 0.5, 10, 0.5), (0.8, 0.4, 5, 2 / 3)],
)
def test_p_is_the_share_of_what_is_above_guessing(
    clean: float, protected: float, classes: int, expected: float
) -> None:
    assert protection(clean, protected, classes) == pytest.approx(expected, abs=1e-6)


def test_where_clean_images_teach_too_little_there_is_no_p() -> None:
    assert protection(0.64, 0.5, 2) is None
    assert protection(0.66, 0.5, 2) is not None


def guesses(labels: np.ndarray, right: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    other = (labels + random.integers(1, 4, len(labels))) % 4
    return np.where(random.random(len(labels)) < right, labels, other).astype(np.int64)


LABELS = np.arange(400) % 4


def test_the_interval_holds_the_figure_and_narrows_with_images() -> None:
    clean, protected = guesses(LABELS, 0.9, 1), guesses(LABELS, 0.5, 2)
    low, high = protection_interval([clean], [protected], LABELS, 4) or (1, 0)
    assert low < protection(0.9, 0.5, 4) < high  # type: ignore[operator]
    few = slice(0, 60)
    wide = protection_interval([clean[few]], [protected[few]], LABELS[few], 4) or (0, 0)
    assert wide[1] - wide[0] > 1.5 * (high - low)


def test_the_same_predictions_give_exactly_nothing() -> None:
    clean = guesses(LABELS, 0.8, 3)
    assert protection_interval([clean], [clean], LABELS, 4) == (0.0, 0.0)


def test_images_of_few_patients_tell_less_than_their_number() -> None:
    patients = np.arange(400) // 40
    clean = LABELS.copy()
    spoiled = np.where(patients % 2 == 0, LABELS, (LABELS + 1) % 4)
    by_image = protection_interval([clean], [spoiled], LABELS, 4) or (0, 0)
    by_patient = protection_interval([clean], [spoiled], LABELS, 4, patients) or (0, 0)
    assert by_patient[1] - by_patient[0] > 2 * (by_image[1] - by_image[0])


def test_seeds_that_differ_widen_the_interval() -> None:
    clean = [LABELS, LABELS]
    good, bad = guesses(LABELS, 0.9, 5), guesses(LABELS, 0.3, 6)
    one = protection_interval(clean, [good, good], LABELS, 4) or (0, 0)
    two = protection_interval(clean, [good, bad], LABELS, 4) or (0, 0)
    assert two[1] - two[0] > 3 * (one[1] - one[0])


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
