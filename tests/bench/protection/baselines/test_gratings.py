"""One fixed grating a class."""

import numpy as np
import pytest

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.gratings import PERIODS, Gratings

from .toys import CLASSES, change, clean_accuracy, linear_accuracy


def stripes_of(classes: int, side: int = 96) -> np.ndarray:
    grey = Labelled(np.full((classes, side, side, 1), 128, np.uint8), np.arange(classes))
    return change(grey.images, Gratings().protect(grey, classes))[..., 0]


@pytest.mark.parametrize("classes", [2, 4, 8, 11])
def test_no_two_classes_share_stripes(classes: int) -> None:
    noise = stripes_of(classes)
    assert set(np.unique(noise)) == {-8, 8}
    flat = noise.reshape(classes, -1) / 8
    alike = np.abs(flat @ flat.T) / flat.shape[1] - np.eye(classes)
    assert alike.max() < 0.5


def test_stripes_have_the_periods_and_directions_that_are_stated() -> None:
    first, second = stripes_of(2)
    assert (first == first[:, :1]).all()
    assert (second == second[:1]).all()
    for noise, period in zip((first[:, 0], second[0]), PERIODS, strict=True):
        assert np.abs(np.fft.rfft(noise)).argmax() == round(96 / period)


def test_a_line_reads_the_class_from_the_noise(grey: Labelled) -> None:
    noise = change(grey.images, Gratings().protect(grey, CLASSES))
    assert linear_accuracy(noise, grey.labels) > 0.99


def test_a_victim_of_the_noise_fails_on_clean_images(colour: Labelled) -> None:
    noisy = Gratings().protect(colour, CLASSES)
    assert clean_accuracy(Labelled(noisy, colour.labels)) < 0.6  # a third by chance
