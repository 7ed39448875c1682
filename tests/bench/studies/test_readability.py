"""How soon a new network reads noise that lies on other images."""

import numpy as np

from medprotect.audit.halves import Labelled
from medprotect.bench.studies.readability import read_noise, swap

from ...audit.stripes import stripes

CLEAN = stripes(256)
SHADES = np.array([-40, -15, 15, 40])[CLEAN.labels][:, None, None, None]
PROTECTED = np.clip(CLEAN.images + SHADES, 0, 255).astype(np.uint8)


def read(protected: np.ndarray) -> list[float]:
    images = Labelled(swap(CLEAN.images, protected), CLEAN.labels)
    return [share for _, share in read_noise(images, 4, "vgg", seed=1, steps=60)]


def test_the_noise_of_each_image_lies_on_another() -> None:
    numbered = np.arange(50, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 1), np.uint8)
    swapped = swap(numbered, numbered + 100)
    assert sorted(swapped[:, 0, 0, 0]) == list(range(100, 150))
    assert np.all(swapped != numbered + 100)


def test_noise_that_says_the_class_is_read() -> None:
    assert max(read(PROTECTED)) > 0.8


def test_without_noise_nothing_is_read_of_the_anatomy_of_another() -> None:
    assert max(read(CLEAN.images)) < 0.6  # a quarter by chance, of 51 images
