"""What a baseline is: another method that makes labelled images unlearnable."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.halves import Labelled

Images = NDArray[np.uint8]
"""Images (N, H, W, C), C 1 or 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline(ABC):
    """Another method, at the same budget, with the same labels.

    Attributes
    ----------
    budget_lsb : int
        Largest change of any stored value: 8 of 255 is strength ``standard``.
    seed : int
        Of all that is drawn.
    """

    name: ClassVar[str] = ""
    """Word for it in commands and reports, unique."""

    budget_lsb: int = 8
    seed: int = 1

    @abstractmethod
    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images with noise, of the same shape, each within the budget."""

    def add(self, images: Images, noise: NDArray[np.floating]) -> Images:
        """Add noise in stored values: rounded, within the budget, within 0..255."""
        step = np.clip(np.rint(noise), -self.budget_lsb, self.budget_lsb).astype(np.int16)
        noisy: Images = np.clip(images.astype(np.int16) + step, 0, 255).astype(np.uint8)
        return noisy
