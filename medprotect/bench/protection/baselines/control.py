"""Random noise that says nothing."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Baseline, Images


@dataclass(frozen=True, slots=True, kw_only=True)
class Control(Baseline):
    """Random noise of 1 of 255, whatever the budget: what protects nothing must be measured so."""

    name: ClassVar[str] = "control"

    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images, each value up or down by one, or as it was."""
        steps = np.random.default_rng(self.seed).integers(-1, 2, train.images.shape)
        return self.add(train.images, steps.astype(np.float64))
