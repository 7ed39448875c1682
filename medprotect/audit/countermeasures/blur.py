"""Blur."""

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images


class Blur(Countermeasure):
    """A Gaussian takes away what is finer than it.

    One of the defences of T. Qin, X. Gao, J. Zhao, K. Ye, C.-Z. Xu. *APBench: A unified
    availability poisoning attack and defenses benchmark.* TMLR 2024. There its sigma is 0.1 pixels,
    which changes nothing; here half a pixel and more.

    Parameters
    ----------
    sigma : float
        Of the Gaussian, in pixels.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        self.name = f"blur-{sigma:g}"
        self.sigma = sigma

    def treat(self, images: Images) -> Images:
        """Return the images blurred, each channel for itself."""
        return np.stack([self._blur(image) for image in images])

    def _blur(self, image: Images) -> Images:
        from scipy.ndimage import gaussian_filter

        sigmas = (self.sigma, self.sigma, 0)
        blurred: Images = gaussian_filter(image.astype(np.float32), sigmas).round().astype(np.uint8)
        return blurred
