"""Who holds a set and a few clean images."""

import numpy as np
import pytest
import torch

from medprotect.audit.attack.countermeasure import Countermeasure
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.halves import Labelled
from medprotect.audit.holders import ALONE, TRAININGS, Holder, draw_few
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.errors import ConfigError

from .bands import bands, linear

TEST = bands(400, seed=2)
FEW = bands(40, seed=1)
HOLDER = Holder("resnet18", TEST, 4, seed=1, steps=40)


@pytest.fixture(autouse=True)
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VICTIMS, "resnet18", linear)


def attacks(train: Labelled, k: int) -> dict[str, float]:
    few = draw_few(FEW, max(k, 1), 4, 1)
    task = Task(FEW, TEST, 4)
    run = attempt(linear, Countermeasure(), train, task, seed=1, steps=40, few=few)
    runs = {**run.without_clean_images, **HOLDER.choose(run, few)}
    for attack in TRAININGS:
        runs[attack] = HOLDER.train(attack, few, train=train, run=run)
    return {name: balanced_accuracy(each, TEST.labels, 4) for name, each in runs.items()}


class TestDrawFew:
    def test_so_many_of_each_class(self) -> None:
        few = draw_few(FEW, 3, 4, seed=1)
        assert np.bincount(few.labels).tolist() == [3, 3, 3, 3]
        assert len(draw_few(FEW, 0, 4, seed=1)) == 0

    def test_another_seed_draws_others(self) -> None:
        one, same, other = (draw_few(FEW, 3, 4, seed).images for seed in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_the_first_are_those_of_fewer(self) -> None:
        few, more = (draw_few(FEW, k, 4, seed=1) for k in (2, 5))
        assert np.array_equal(few.images, more.images[:8])

    def test_fewer_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="fewer than 11"):
            draw_few(FEW, 11, 4, seed=1)


class TestAttacks:
    def test_outputs_that_were_renamed_are_renamed_back(self) -> None:
        train = bands(256)
        found = attacks(Labelled(train.images, (train.labels + 1) % 4), k=5)
        assert found["as it ends"] == 0
        for name in ("renamed", "moment chosen", "last layer"):
            assert found[name] == 1

    def test_the_k_weigh_as_much_as_the_set(self) -> None:
        train = bands(256)
        random = Labelled(train.images, np.random.default_rng(0).permutation(train.labels))
        found = attacks(random, k=10)
        assert found["together"] > found["as it ends"]

    def test_the_k_alone_teach_what_they_hold(self) -> None:
        found = HOLDER.train(ALONE, draw_few(FEW, 5, 4, 1))
        assert balanced_accuracy(found, TEST.labels, 4) == 1

    def test_of_more_clean_images_the_first_choose_as_if_there_were_no_others(self) -> None:
        train, task = bands(256), Task(FEW, TEST, 4)
        few, more = (draw_few(FEW, k, 4, 1) for k in (2, 5))
        found = []
        for given in (few, more):
            run = attempt(linear, Countermeasure(), train, task, seed=1, steps=10, few=given)
            found.append(HOLDER.choose(run, few))
        assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])

    def test_an_attempt_without_clean_images_cannot_choose_by_them(self) -> None:
        run = attempt(linear, Countermeasure(), bands(64), Task(FEW, TEST, 4), seed=1, steps=2)
        with pytest.raises(ValueError, match="without clean images"):
            HOLDER.choose(run, draw_few(FEW, 2, 4, 1))

    def test_a_seed_gives_the_same_again_and_leaves_other_randomness_alone(self) -> None:
        before = torch.get_rng_state()
        first, again = (attacks(bands(64), k=2) for _ in range(2))
        assert first == again
        assert torch.equal(torch.get_rng_state(), before)
