"""Noise that says nothing: of one, up as often as down, for every class alike."""

import numpy as np

from medprotect.bench.protection.baselines.control import Control

from .toys import CLASSES, change, draw


def test_it_goes_up_down_and_nowhere_as_often_in_each_class() -> None:
    train = draw(240, 1, seed=1)
    noise = change(train.images, Control(budget_lsb=8).protect(train, CLASSES))
    for label in range(CLASSES):
        found, counts = np.unique(noise[train.labels == label], return_counts=True)
        assert list(found) == [-1, 0, 1]
        assert np.abs(counts / counts.sum() - 1 / 3).max() < 0.02
