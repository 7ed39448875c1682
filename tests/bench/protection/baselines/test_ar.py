"""Autoregressive perturbations."""

import numpy as np
import pytest

from medprotect.bench.protection.baselines.ar import (
    Autoregressive,
    draw_filters,
    grow,
    prediction_error,
)

from .toys import CLASSES, change, draw


@pytest.mark.parametrize("channels", [1, 3])
def test_a_filter_predicts_its_own_noise_exactly_and_no_other(channels: int) -> None:
    rng = np.random.default_rng(1)
    filters = draw_filters(rng, 8, channels, 28, 28)
    noise = grow(rng, filters, 28, 28)
    errors = np.array([prediction_error(noise, known) for known in filters])
    assert np.diagonal(errors).max() < 1e-9
    assert errors[~np.eye(8, dtype=bool)].min() > 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_the_filter_of_its_class_predicts_protected_noise_best(channels: int) -> None:
    train = draw(60, channels, seed=3, side=(32, 28))
    noise = change(train.images, Autoregressive(seed=4).protect(train, CLASSES))
    filters = draw_filters(np.random.default_rng(4), CLASSES, channels, 32, 28)
    values = noise.transpose(0, 3, 1, 2).astype(float)
    errors = np.array([prediction_error(values, known) for known in filters])
    assert (errors.argmin(0) == train.labels).mean() > 0.9


def test_no_two_images_get_the_same_noise() -> None:
    train = draw(24, 1, seed=3)
    noise = change(train.images, Autoregressive().protect(train, CLASSES))
    assert len(np.unique(noise, axis=0)) == 24


def test_noise_does_not_grow_with_the_image() -> None:
    rng = np.random.default_rng(2)
    spread = grow(rng, draw_filters(rng, 4, 1, 96, 96), 96, 96).std((1, 2, 3))
    assert spread.max() < 1.5
    assert spread.min() > 0.005


def test_every_filter_sums_to_one_and_leaves_its_own_pixel_out() -> None:
    filters = draw_filters(np.random.default_rng(3), 5, 3, 16, 12)
    assert filters.shape == (5, 3, 3, 3)
    assert np.allclose(filters.sum((2, 3)), 1)
    assert not filters[..., -1, -1].any()
