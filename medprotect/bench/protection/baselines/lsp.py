"""Linearly separable perturbations: a coarse pattern a class, with a cloud of variants."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Baseline, Images

PATCHES = 4
"""Patches a side: theirs are 8 of 32 pixels."""

SEPARATION = 10.0
"""Distance of a class's centre from zero in every feature, where a cloud's spread is about 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearlySeparable(Baseline):
    """Every image gets a point of its class's Gaussian cloud, drawn as large patches.

    D. Yu, H. Zhang, W. Chen, J. Yin, T.-Y. Liu. *Availability attacks create shortcuts.* KDD 2022,
    arXiv:2111.00898. The clouds stand at vertices of a hypercube, each with a random covariance, as
    scikit-learn's ``make_classification``, which the paper uses, draws them.

    There the noise is bound in L2, to the norm of a constant 6 of 255; here its root mean square is
    the budget, and what exceeds the budget is cut off.
    """

    name: ClassVar[str] = "lsp"

    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images with patches."""
        count, height, width, channels = train.images.shape
        rng = np.random.default_rng(self.seed)
        features = PATCHES * PATCHES * channels
        points = _draw_clouds(rng, train.labels, classes, features)
        points *= self.budget_lsb / np.sqrt((points**2).mean(1, keepdims=True))
        noise = points.reshape(count, PATCHES, PATCHES, channels)
        noise = noise.repeat(-(-height // PATCHES), 1).repeat(-(-width // PATCHES), 2)
        return self.add(train.images, noise[:, :height, :width])


def _draw_clouds(
    rng: np.random.Generator, labels: NDArray[np.int64], classes: int, features: int
) -> NDArray[np.float64]:
    """Return one point for each label, (N, features)."""
    # Drawn as numbers without replacement: no two classes get the same vertex.
    vertices = rng.choice(2**features, classes, replace=False)[:, None] >> np.arange(features) & 1
    points = rng.standard_normal((len(labels), features))
    for label, vertex in enumerate(vertices):
        spread = rng.uniform(-1, 1, (features, features))
        points[labels == label] @= spread
        points[labels == label] += SEPARATION * (2 * vertex - 1)
    return points
