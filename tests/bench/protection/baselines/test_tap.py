"""Targeted adversarial poisoning."""

import numpy as np
import pytest
import torch

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Images
from medprotect.bench.protection.baselines.descent import to_presented
from medprotect.bench.protection.baselines.tap import TargetedPoisoning, _vary
from medprotect.errors import ConfigError

from .toys import CLASSES, accuracy, clean_accuracy, draw

TAP = TargetedPoisoning(training_steps=120, batch=16, steps=15, shift=2)


@pytest.fixture(scope="module")
def train() -> Labelled:
    return draw(240, 1, seed=1)


@pytest.fixture(scope="module")
def noisy(train: Labelled) -> Images:
    return TAP.protect(train, CLASSES)


def test_the_clean_classifier_sees_the_shifted_class(train: Labelled, noisy: Images) -> None:
    network = TAP.train_clean(train, CLASSES)
    assert accuracy(network, to_presented(train.images) - 0.5, train.labels) > 0.6
    shifted = (train.labels + 2) % CLASSES
    assert accuracy(network, to_presented(noisy) - 0.5, shifted) > 0.6


def test_a_shift_to_the_same_class_is_refused(train: Labelled) -> None:
    with pytest.raises(ConfigError, match="leads each of 3 classes to itself"):
        TargetedPoisoning(shift=6).protect(train, CLASSES)


def test_a_victim_of_the_noise_fails_on_clean_images(train: Labelled, noisy: Images) -> None:
    assert clean_accuracy(Labelled(noisy, train.labels)) < 0.6  # a third by chance


def test_images_are_mirrored_and_shifted_by_whole_pixels_each_by_itself() -> None:
    image = torch.from_numpy(np.random.default_rng(0).random((1, 2, 16, 24), dtype=np.float32))
    torch.manual_seed(0)
    varied = _vary(image.expand(64, -1, -1, -1))
    centre = varied[..., 2:-2, 3:-3]
    whole = [
        mirrored[..., top : top + 12, left : left + 18]
        for mirrored in (image, image.flip(-1))
        for top in range(5)
        for left in range(7)
    ]
    places = [
        [at for at, part in enumerate(whole) if torch.allclose(part[0], one, atol=1e-5)]
        for one in centre
    ]
    assert [len(found) for found in places] == [1] * 64
    found = {at for (at,) in places}
    assert len(found) > 30
    assert min(found) < 35 <= max(found)
