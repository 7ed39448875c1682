"""One random pattern a class."""

import numpy as np

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.classwise import ClassWise

from .toys import CLASSES, change, clean_accuracy, linear_accuracy


def test_a_class_shares_its_pattern_with_no_other(colour: Labelled) -> None:
    noise = change(colour.images, ClassWise().protect(colour, CLASSES))
    patterns = [np.unique(noise[colour.labels == label], axis=0) for label in range(CLASSES)]
    assert [len(pattern) for pattern in patterns] == [1, 1, 1]
    assert len(np.unique(np.concatenate(patterns), axis=0)) == CLASSES
    assert set(np.unique(noise)) == {-8, 8}


def test_a_line_reads_the_class_from_the_noise(grey: Labelled) -> None:
    noise = change(grey.images, ClassWise().protect(grey, CLASSES))
    assert linear_accuracy(noise, grey.labels) > 0.99
    shuffled = np.random.default_rng(0).permutation(grey.labels)
    assert linear_accuracy(noise, shuffled) < 0.6


def test_a_victim_of_the_noise_fails_on_clean_images(colour: Labelled) -> None:
    noisy = ClassWise().protect(colour, CLASSES)
    assert clean_accuracy(Labelled(noisy, colour.labels)) < 0.6  # a third by chance
