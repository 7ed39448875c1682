"""One random pattern a class."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Baseline, Images


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassWise(Baseline):
    """Every image of a class gets the same random pattern.

    The random class-wise noise that Huang et al. (ICLR 2021, arXiv:2101.04898) compare with. There
    it is uniform within the budget, here each value is at plus or minus the budget: the strongest
    that the budget allows.
    """

    name: ClassVar[str] = "class-wise"

    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images with the pattern of their class."""
        rng = np.random.default_rng(self.seed)
        signs = rng.choice((-1.0, 1.0), (classes, *train.images.shape[1:]))
        return self.add(train.images, self.budget_lsb * signs[train.labels])
