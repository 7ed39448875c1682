"""Error-minimising noise."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from medprotect.audit.baselines.baseline import Images
from medprotect.audit.baselines.descent import to_presented
from medprotect.audit.baselines.em import ErrorMinimising
from medprotect.audit.halves import Labelled

from .toys import CLASSES, change, draw, fit


@pytest.fixture(scope="module")
def noisy(colour: Labelled) -> Images:
    return ErrorMinimising(rounds=4, steps=10).protect(colour, CLASSES)


def early_loss(images: Images, labels: np.ndarray) -> float:
    """Return the training loss of another network after a few passes."""
    network = fit(Labelled(images, labels), seed=3, steps=120)
    with torch.no_grad():
        return float(functional.cross_entropy(network(to_presented(images)), torch.tensor(labels)))


def test_a_fresh_network_has_less_left_to_learn_than_under_random_noise(
    colour: Labelled, noisy: Images
) -> None:
    noise = change(colour.images, noisy).astype(float)
    reordered = np.random.default_rng(0).permutation(noise.reshape(len(noise), -1), axis=1)
    random = ErrorMinimising().add(colour.images, reordered.reshape(noise.shape))
    assert early_loss(noisy, colour.labels) < 0.7 * early_loss(random, colour.labels)


def test_both_signs_of_the_noise_are_kept(colour: Labelled, noisy: Images) -> None:
    noise = change(colour.images, noisy)
    assert 0.2 < (noise < 0).mean() < 0.8
    assert 0.2 < (noise > 0).mean() < 0.8


def test_rounds_end_when_the_network_is_accurate_enough() -> None:
    train = draw(24, 1, seed=3)
    once, ended, twice = (
        ErrorMinimising(rounds=rounds, enough=enough, steps=2, training_steps=2).protect(
            train, CLASSES
        )
        for rounds, enough in ((1, 1.1), (2, 0.0), (2, 1.1))
    )
    assert np.array_equal(once, ended)
    assert not np.array_equal(once, twice)
