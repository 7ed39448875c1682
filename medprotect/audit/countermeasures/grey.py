"""Grey."""

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images


class Grey(Countermeasure):
    """Colour is replaced by its luminance (ITU-R BT.601); grey images stay as they are.

    Z. Liu, Z. Zhao, M. Larson. *Image shortcut squeezing: countering perturbative availability
    poisons with compression.* ICML 2023, arXiv:2301.13838.
    """

    name = "grey"

    def treat(self, images: Images) -> Images:
        """Return the luminance, in as many channels as before."""
        if images.shape[3] == 1:
            return images
        luminance = (images @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
        return np.repeat(luminance[..., None], 3, axis=3)
