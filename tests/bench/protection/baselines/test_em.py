"""Error-minimising noise."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Images
from medprotect.bench.protection.baselines.descent import descend, to_presented
from medprotect.bench.protection.baselines.em import ErrorMinimising
from medprotect.confounder.networks import Assigner

from .toys import CLASSES, change, draw, linear_accuracy


@pytest.fixture(scope="module")
def noisy(colour: Labelled) -> Images:
    return ErrorMinimising(rounds=4, steps=10).protect(colour, CLASSES)


def test_a_line_reads_the_class_from_the_noise(colour: Labelled, noisy: Images) -> None:
    noise = change(colour.images, noisy)
    assert linear_accuracy(noise, colour.labels) > 0.8
    reordered = np.random.default_rng(0).permuted(noise.reshape(len(noise), -1), axis=1)
    assert linear_accuracy(reordered, colour.labels) < 0.6  # a third by chance


def test_the_network_that_the_noise_descends_on_has_less_left_to_learn(colour: Labelled) -> None:
    images, labels = to_presented(colour.images), torch.from_numpy(colour.labels)
    torch.manual_seed(3)
    network = Assigner(3, CLASSES, 8).eval()
    noise = descend(network, images, torch.zeros_like(images), labels, bound=8 / 255, steps=10)
    random = noise.flatten(1)[:, torch.randperm(noise[0].numel())].view_as(noise)
    with torch.no_grad():
        clean, after, beside = (
            float(functional.cross_entropy(network(images + each), labels))
            for each in (torch.zeros_like(noise), noise, random)
        )
    assert clean - after > 3 * abs(clean - beside)


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
