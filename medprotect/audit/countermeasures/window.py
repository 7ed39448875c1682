"""Other windows."""

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure, Images
from medprotect.audit.halves import Labelled


class Window(Countermeasure):
    """Each training image is shown with another contrast, brightness and gamma.

    As radiologists' windows differ (DICOM PS3.3 C.11.2); contrast and brightness are among the
    usual augmentations, see E. D. Cubuk et al. *AutoAugment: learning augmentation policies from
    data.* CVPR 2019, arXiv:1805.09501. Used are images as they come: the window is known then.

    Parameters
    ----------
    contrast, gamma : float
        Largest factor; the least is 1 by it.
    brightness : float
        Largest shift either way, of the presented range.
    """

    name = "window"

    def __init__(self, contrast: float = 1.4, gamma: float = 1.4, brightness: float = 0.1) -> None:
        self.contrast = contrast
        self.gamma = gamma
        self.brightness = brightness
        self._seed = 0

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Take the seed."""
        self._seed = seed

    def treat(self, images: Images) -> Images:
        """Return the images, each with settings of its own."""
        rng = np.random.default_rng(self._seed)
        return np.stack([self._show(image, rng) for image in images])

    def treat_tested(self, images: Images) -> Images:
        """Return the images as they are."""
        return images

    def _show(self, image: Images, rng: np.random.Generator) -> Images:
        contrast = self.contrast ** rng.uniform(-1, 1)
        gamma = self.gamma ** rng.uniform(-1, 1)
        brightness = self.brightness * rng.uniform(-1, 1)
        shown = ((image / 255 - 0.5) * contrast + 0.5 + brightness).clip(0, 1)
        rounded: Images = (255 * shown**gamma).round().astype(np.uint8)
        return rounded
