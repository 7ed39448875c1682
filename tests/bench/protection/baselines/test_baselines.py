"""What holds for every baseline."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines import BASELINES
from medprotect.bench.protection.baselines.baseline import Baseline

from .toys import CLASSES, change, clean_accuracy, draw

SHORTER = {
    "em": {"rounds": 1, "training_steps": 2, "steps": 12},
    "tap": {"training_steps": 4, "batch": 8, "steps": 3},
}

QUICK: dict[str, Callable[..., Baseline]] = {
    name: partial(baseline, **SHORTER.get(name, {})) for name, baseline in BASELINES.items()
}

ALWAYS = {"control": 1}
"""What changes images by so much, whatever the budget."""

every = pytest.mark.parametrize("name", list(BASELINES))


def few(channels: int, side: tuple[int, int] = (12, 13)) -> Labelled:
    return draw(24, channels, seed=3, side=side)


def test_each_is_registered_by_its_name() -> None:
    assert set(BASELINES) == {"class-wise", "em", "tap", "lsp", "ar", "gratings", "control"}
    assert [BASELINES[name]().name for name in BASELINES] == list(BASELINES)


@every
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("budget_lsb", [3, 8])
def test_images_keep_their_shape_and_change_up_to_the_budget(
    name: str, channels: int, budget_lsb: int
) -> None:
    train = few(channels)
    before = train.images.copy()
    noisy = QUICK[name](budget_lsb=budget_lsb).protect(train, CLASSES)
    assert noisy.dtype == np.uint8
    assert noisy.shape == train.images.shape
    assert np.array_equal(train.images, before)
    assert np.abs(change(train.images, noisy)).max() == ALWAYS.get(name, budget_lsb)


@every
def test_black_and_white_stay_within_the_range(name: str) -> None:
    train = few(1)
    extreme = Labelled(np.where(train.images > 128, 255, 0).astype(np.uint8), train.labels)
    noise = change(extreme.images, QUICK[name]().protect(extreme, CLASSES))
    assert noise[extreme.images == 0].min() >= 0
    assert noise[extreme.images == 255].max() <= 0
    assert np.abs(noise).max() == ALWAYS.get(name, 8)


@every
def test_a_seed_gives_the_same_noise_again_and_another_seed_another(name: str) -> None:
    train = few(3)
    first, again, other = (QUICK[name](seed=seed).protect(train, CLASSES) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@every
def test_the_random_numbers_of_others_are_left_alone(name: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    QUICK[name]().protect(few(1), CLASSES)
    assert torch.equal(torch.rand(3), expected)


@every
def test_a_class_without_images_is_no_obstacle(name: str) -> None:
    train = few(1)
    noisy = QUICK[name]().protect(train, CLASSES + 2)
    assert not np.array_equal(noisy, train.images)


def test_clean_images_teach_a_victim(colour: Labelled) -> None:
    assert clean_accuracy(colour) > 0.65  # a third by chance


def test_noise_that_tells_no_class_does_not_keep_a_victim_from_learning() -> None:
    train = draw(240, 3, seed=1, contrast=12)
    noise = np.random.default_rng(0).choice((-8.0, 8.0), train.images.shape)
    noisy = BASELINES["class-wise"]().add(train.images, noise)
    assert clean_accuracy(Labelled(noisy, train.labels), contrast=12) > 0.75
