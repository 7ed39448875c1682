"""A training small enough for a test: 4 classes of stripes, told apart by their direction."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from medprotect.confounder.card import Widths
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A few steps of small networks, of all of them."""
    return Recipe(
        steps=6,
        assigner_steps=5,
        batch=8,
        seed=3,
        decoys=True,
        widths=Widths(generator=8, assigner=8),
    )


@pytest.fixture(scope="session")
def stripes() -> Callable[..., Samples]:
    """`stripes(count)` is a training set."""
    return make_stripes


def make_stripes(count: int = 48, size: int = 12, channels: int = 1) -> Samples:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 4
    rows, columns = np.mgrid[:size, :size]
    angles = labels * np.pi / 4
    phase = np.outer(np.cos(angles), rows.ravel()) + np.outer(np.sin(angles), columns.ravel())
    shift = random.uniform(0, 6, (count, 1))
    images = (0.5 + 0.4 * np.sin(phase + shift)).reshape(count, 1, size, size)
    images = np.repeat(images, channels, axis=1) + random.normal(0, 0.03, (count, 1, size, size))
    return Samples(
        torch.from_numpy(images.clip(0, 1).astype(np.float32)),
        torch.full((count, 1, 1, 1), 16 / 255),
        torch.from_numpy(labels),
        ("across", "up", "along", "down"),
    )
