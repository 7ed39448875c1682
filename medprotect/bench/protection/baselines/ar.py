"""Autoregressive perturbations: noise in which each pixel follows from its neighbours."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Baseline, Images

Values = NDArray[np.float64]

SIZE, WARM_UP = 3, 4
"""Side of a filter, and the rows and columns that are cut off, where the random start shows."""

CANDIDATES = 16
"""Filters among which each class's is the one most unlike those before it."""

SHARE = 255 / np.sqrt(32 * 32 * 3) / 8
"""Root mean square of the noise over the budget, about 0.58: norm 1 at a budget of 8 of 255."""

LARGEST_SPREAD = 0.5
"""Of noise that started with spread 1: the noise of a filter with more may grow without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoregressive(Baseline):
    """Every class has a filter, and its noise is what the filter makes of a random start.

    P. Sandoval-Segura, V. Singla, J. Geiping, M. Goldblum, T. Goldstein, D. W. Jacobs.
    *Autoregressive perturbations for data poisoning.* NeurIPS 2022, arXiv:2206.03693.

    There the noise is bound in L2, to norm 1 for 32 x 32 x 3 values in 0..1. Here its root mean
    square is as large at a budget of 8, and what exceeds the budget is cut off: scaled to its peak
    instead, as an option of the published code does, it uses a quarter of the budget and is weaker.

    There, random filters are taken in turn if other filters answer to their noise by more than a
    threshold; here the best of a few candidates is, which ends for any number of classes.
    """

    name: ClassVar[str] = "ar"

    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images with the noise of their class's filter."""
        height, width, channels = train.images.shape[1:]
        rng = np.random.default_rng(self.seed)
        filters = draw_filters(rng, classes, channels, height, width)
        protected = np.empty_like(train.images)
        for label in np.unique(train.labels):
            (at,) = np.nonzero(train.labels == label)
            noise = grow(rng, np.repeat(filters[label][None], len(at), 0), height, width)
            spread = np.sqrt((noise**2).mean((1, 2, 3), keepdims=True))
            noise *= SHARE * self.budget_lsb / spread
            protected[at] = self.add(train.images[at], noise.transpose(0, 2, 3, 1))
        return protected


def draw_filters(
    rng: np.random.Generator, classes: int, channels: int, height: int, width: int
) -> Values:
    """Return filters (K, C, 3, 3): weights of a pixel's neighbours before it; the last is 0.

    They are fit for images of this size: for larger ones their noise may grow.
    """
    chosen = _draw_stable(rng, channels, height, width)[None]
    while len(chosen) < classes:
        candidates = _draw_stable(rng, CANDIDATES * channels, height, width)
        candidates = candidates.reshape(-1, *chosen.shape[1:])
        noise = grow(rng, candidates, height, width)
        errors = [prediction_error(noise, known) for known in chosen]
        chosen = np.concatenate([chosen, candidates[[np.min(errors, 0).argmax()]]])
    return chosen


def grow(rng: np.random.Generator, filters: Values, height: int, width: int) -> Values:
    """Return noise (N, C, height, width), image n from filters[n] (C, 3, 3), pixel by pixel."""
    rows, columns = height + WARM_UP, width + WARM_UP
    noise = rng.standard_normal((*filters.shape[:2], rows, columns))
    for row in range(SIZE, rows + 1):
        for column in range(SIZE, columns + 1):
            window = noise[..., row - SIZE : row, column - SIZE : column]
            window[..., -1, -1] = np.einsum("ncij,ncij->nc", window, filters)
    return noise[..., WARM_UP:, WARM_UP:]


def prediction_error(noise: Values, known: Values) -> Values:
    """Return how badly one filter (C, 3, 3) predicts noise (N, C, h, w), each: (N,).

    The mean absolute sum over channels of what was predicted less what is, relative to the spread
    of the noise: 0 for the filter's own.
    """
    windows = sliding_window_view(noise, (SIZE, SIZE), axis=(2, 3))
    answer = np.einsum("nchwij,cij->nhw", windows, known) - windows[..., -1, -1].sum(1)
    error: Values = np.abs(answer).mean((1, 2)) / np.sqrt((noise**2).mean((1, 2, 3)))
    return error


def _draw_stable(rng: np.random.Generator, count: int, height: int, width: int) -> Values:
    """Return `count` filters (count, 3, 3) whose noise does not grow over the image."""
    stable = np.empty((0, SIZE, SIZE))
    while len(stable) < count:
        drawn = rng.standard_normal((8 * count, SIZE, SIZE))
        drawn[:, -1, -1] = 0
        drawn /= drawn.sum((1, 2), keepdims=True)  # as published: they are stable more often
        with np.errstate(over="ignore", invalid="ignore"):
            noise = grow(rng, drawn[:, None], height, width)
            spread = np.sqrt((noise**2).mean((1, 2, 3)))
        stable = np.concatenate([stable, drawn[spread < LARGEST_SPREAD]])
    return stable[:count]
