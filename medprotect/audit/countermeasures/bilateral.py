"""Bilateral filter."""

import math

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images


class Bilateral(Countermeasure):
    """A blur over pixels of like value: noise is smoothed, edges stay.

    C. Tomasi, R. Manduchi. *Bilateral filtering for gray and color images.* ICCV 1998.

    Parameters
    ----------
    sigma_value : float
        How far values may differ and still be averaged, of 255; between one and two
        times the standard strength.
    sigma_space : float
        Of the blur, in pixels.
    """

    name = "bilateral"

    def __init__(self, sigma_value: float = 12.0, sigma_space: float = 1.5) -> None:
        self.sigma_value = sigma_value
        self.sigma_space = sigma_space

    def treat(self, images: Images) -> Images:
        """Return the images filtered, the channels together."""
        return np.stack([self._filter(image) for image in images])

    def _filter(self, image: Images) -> Images:
        from skimage.restoration import denoise_bilateral

        if image.min() == image.max():
            return image  # scikit-image takes a flat image's range for its scale, and divides by it
        grey = image.shape[2] == 1
        # Its distance of two colours is the Euclidean one over the number of channels.
        sigma = self.sigma_value / 255 / math.sqrt(image.shape[2])
        filtered = denoise_bilateral(
            image[..., 0] / 255 if grey else image / 255,
            sigma_color=sigma,
            sigma_spatial=self.sigma_space,
            mode="edge",
            channel_axis=None if grey else 2,
        )
        rounded: Images = (255 * filtered).round().astype(np.uint8).reshape(image.shape)
        return rounded
