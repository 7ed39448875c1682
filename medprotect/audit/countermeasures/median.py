"""Median."""

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images


class Median(Countermeasure):
    """Each pixel becomes the median of the 3 x 3 around it, each channel for itself.

    Median smoothing: W. Xu, D. Evans, Y. Qi. *Feature squeezing: detecting adversarial examples in
    deep neural networks.* NDSS 2018, arXiv:1704.01155.
    """

    name = "median"

    def treat(self, images: Images) -> Images:
        """Return the images filtered."""
        from scipy.ndimage import median_filter

        filtered: Images = np.stack([median_filter(image, (3, 3, 1)) for image in images])
        return filtered
