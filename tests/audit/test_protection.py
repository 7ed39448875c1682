"""Protection at k: nothing learned is 1, everything 0; what clean images do not teach has none."""

from itertools import permutations

import numpy as np
import pytest

from medprotect.audit.protection import (
    MEASURABLE,
    accuracies,
    balance_outputs,
    best,
    best_relabelling,
    protection,
    protection_at_k,
    protection_interval,
    worth,
)
from medprotect.confounder.accuracy import balanced_accuracy

LABELS = np.arange(400, dtype=np.int64) % 4


def right(share: float, labels: np.ndarray = LABELS) -> np.ndarray:
    """Return guesses of which that share is right in each class, in the first images of it."""
    rank = np.arange(len(labels)) // 4
    return np.where(rank < share * len(labels) / 4, labels, (labels + 1) % 4)


class TestWorth:
    def test_it_is_what_a_set_adds(self) -> None:
        assert worth(0.8, 0.5) == pytest.approx(0.3)

    def test_a_set_that_misleads_is_left_aside(self) -> None:
        assert worth(0.1, 0.25) == 0


class TestBalance:
    @pytest.mark.parametrize("bias", [0.0, 5.0, 60.0])
    def test_a_bias_to_one_class_hides_nothing_that_was_learned(self, bias: float) -> None:
        outputs = np.random.default_rng(0).normal(size=(400, 4))
        outputs[np.arange(400), LABELS] += 2
        outputs[:, 1] += bias
        balanced = balance_outputs(outputs, np.full(4, 0.25))
        assert balanced_accuracy(balanced, LABELS, 4) > 0.75

    def test_a_class_is_given_as_often_as_it_should_be(self) -> None:
        outputs = np.random.default_rng(0).normal(size=(1000, 2)) * 20
        assert abs(float(np.mean(balance_outputs(outputs, np.array([0.9, 0.1])))) - 0.1) < 0.02

    def test_what_was_not_learned_does_not_come_of_it(self) -> None:
        outputs = np.random.default_rng(0).normal(size=(400, 4))
        balanced = balance_outputs(outputs, np.full(4, 0.25))
        assert balanced_accuracy(balanced, LABELS, 4) < 0.35


class TestProtection:
    @pytest.mark.parametrize(
        ("clean", "protected", "expected"),
        [(0.4, 0.0, 1.0), (0.4, 0.4, 0.0), (0.4, 0.1, 0.75), (0.2, 0.3, -0.5)],
    )
    def test_it_is_the_share_of_the_worth_that_is_lacking(
        self, clean: float, protected: float, expected: float
    ) -> None:
        assert protection_at_k(clean, protected) == pytest.approx(expected)

    def test_where_the_clean_set_is_worth_little_there_is_none(self) -> None:
        assert protection_at_k(MEASURABLE, 0.0) == 1
        assert protection_at_k(np.nextafter(MEASURABLE, 0), 0.0) is None
        assert protection_at_k(0.0, 0.0) is None

    def test_ten_clean_images_of_a_known_study(self) -> None:
        alone, clean, protected = 0.688, 0.865, 0.733
        found = protection_at_k(worth(clean, alone), worth(protected, alone))
        assert found == pytest.approx(0.75, abs=0.005)


class TestBest:
    def test_an_attack_counts_by_the_mean_of_its_seeds(self) -> None:
        told = {"steady": [right(0.6), right(0.6)], "lucky": [right(1.0), right(0.1)]}
        assert best(told, LABELS, 4) == pytest.approx(0.6)

    def test_each_class_counts_the_same(self) -> None:
        labels = np.array([0] * 90 + [1] * 10)
        assert best({"all one": [np.zeros(100, np.int64)]}, labels, 2) == 0.5


class TestInterval:
    def test_the_same_predictions_give_exactly_nothing(self) -> None:
        told = {"a": [right(0.8)]}
        assert protection_interval(told, told, None, LABELS, 4) == (0.0, 0.0)

    def test_a_set_worth_nothing_gives_exactly_one(self) -> None:
        clean, protected = {"a": [right(0.9)]}, {"a": [right(0.0)]}
        assert protection_interval(clean, protected, None, LABELS, 4) == (1.0, 1.0)

    def test_what_the_k_teach_alone_is_no_worth_of_the_set(self) -> None:
        alone = {"a": [right(0.5)]}
        found = protection_interval({"a": [right(0.9)]}, alone, alone, LABELS, 4)
        assert found == (1.0, 1.0)

    def test_it_is_that_of_a_ratio_of_two_binomials(self) -> None:
        # All images that the protected set teaches, the clean set teaches: of chance 1/4, the
        # ratio of worths is (p - 1/4) / (c - 1/4), and its spread follows by the delta method.
        count, c, p = 4000, 0.85, 0.4
        labels = np.arange(count, dtype=np.int64) % 4
        clean, protected = {"a": [right(c, labels)]}, {"a": [right(p, labels)]}
        low, high = protection_interval(clean, protected, None, labels, 4) or (1, 0)
        up, down = p - 0.25, c - 0.25
        variance = p * (1 - p) + (up / down) ** 2 * c * (1 - c) - 2 * up / down * p * (1 - c)
        spread = np.sqrt(variance / count) / down
        middle = 1 - up / down
        assert (low + high) / 2 == pytest.approx(middle, abs=0.3 * spread)
        assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)

    def test_images_that_go_together_tell_as_much_as_one(self) -> None:
        groups = np.arange(400) // 40
        wrong = (LABELS + 1) % 4
        spoiled = np.where(groups % 2 == 0, LABELS, wrong)
        clean, protected = {"a": [LABELS]}, {"a": [spoiled]}
        by_image = protection_interval(clean, protected, None, LABELS, 4) or (0, 0)
        by_group = protection_interval(clean, protected, None, LABELS, 4, groups) or (0, 0)
        # 40 images a group: the spread grows by the root of 40.
        ratio = (by_group[1] - by_group[0]) / (by_image[1] - by_image[0])
        assert 0.6 * np.sqrt(40) < ratio < 1.4 * np.sqrt(40)

    def test_names_of_groups_do_not_matter(self) -> None:
        groups = np.arange(400) // 7
        clean, protected = {"a": [right(0.9)]}, {"a": [right(0.4)]}
        found = protection_interval(clean, protected, None, LABELS, 4, groups)
        assert found == protection_interval(clean, protected, None, LABELS, 4, 3 * groups + 5)

    def test_the_best_attack_counts(self) -> None:
        clean = {"a": [right(0.9)]}
        one = protection_interval(clean, {"b": [right(0.6)]}, None, LABELS, 4)
        two = {"b": [right(0.6)], "c": [right(0.3)]}
        assert protection_interval(clean, two, None, LABELS, 4) == one

    def test_seeds_that_differ_widen_it(self) -> None:
        clean = {"a": [LABELS, LABELS]}
        same, unlike = {"a": [right(0.6)] * 2}, {"a": [right(0.9), right(0.3)]}
        one = protection_interval(clean, same, None, LABELS, 4) or (0, 0)
        two = protection_interval(clean, unlike, None, LABELS, 4) or (0, 0)
        assert two[1] - two[0] > 2 * (one[1] - one[0])

    def test_a_clean_set_that_teaches_nothing_has_none(self) -> None:
        told = {"a": [right(0.0)]}
        assert protection_interval(told, told, None, LABELS, 4) is None

    def test_an_attack_of_fewer_seeds_is_judged_beside_those_of_more(self) -> None:
        clean = {"a": [right(0.9)] * 3}
        found = protection_interval(clean, {"b": [right(0.4)]}, None, LABELS, 4)
        assert found == protection_interval(clean, {"b": [right(0.4)] * 3}, None, LABELS, 4)


def test_protection_goes_by_the_best_attack_of_each() -> None:
    alone = {"a": [right(0.5)]}
    clean = {"a": [right(0.9)], "b": [right(0.7)]}
    protected = {"a": [right(0.2)], "b": [right(0.6)]}
    assert protection(clean, protected, alone, LABELS, 4) == pytest.approx(0.75)
    assert protection(clean, protected, None, LABELS, 4) == pytest.approx(1 - 0.35 / 0.65, abs=1e-6)
    assert accuracies(protected, LABELS, 4) == {"a": 0.2, "b": 0.6}


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
