"""Linearly separable perturbations."""

import numpy as np

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.lsp import LinearlySeparable

from .toys import CLASSES, change, clean_accuracy, draw, linear_accuracy


def test_a_line_reads_the_class_from_the_noise(grey: Labelled) -> None:
    noise = change(grey.images, LinearlySeparable().protect(grey, CLASSES))
    assert linear_accuracy(noise, grey.labels) > 0.99


def test_no_two_images_of_a_class_get_the_same_noise(grey: Labelled) -> None:
    noise = change(grey.images, LinearlySeparable().protect(grey, CLASSES))
    assert len(np.unique(noise, axis=0)) > 0.95 * len(grey)


def test_the_noise_is_constant_over_a_sixteenth_of_the_image() -> None:
    train = draw(24, 3, seed=3, side=(18, 16))
    noise = change(train.images, LinearlySeparable().protect(train, CLASSES))
    patches = noise[:, :15].reshape(24, 3, 5, 4, 4, 3)
    assert np.array_equal(patches, np.broadcast_to(patches[:, :, :1, :, :1], patches.shape))
    assert (noise[:, 14] != noise[:, 15]).any()
    assert (noise[:, :, 3] != noise[:, :, 4]).any()


def test_a_victim_of_the_noise_fails_on_clean_images(colour: Labelled) -> None:
    noisy = LinearlySeparable().protect(colour, CLASSES)
    assert clean_accuracy(Labelled(noisy, colour.labels)) < 0.6  # a third by chance
