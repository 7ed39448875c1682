"""Fewer bits."""

import numpy as np

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images


class Posterise(Countermeasure):
    """Only the upper bits of each channel are kept.

    Bit depth reduction: Z. Liu, Z. Zhao, M. Larson. *Image shortcut squeezing: countering
    perturbative availability poisons with compression.* ICML 2023, arXiv:2301.13838; there with 2
    bits.

    Parameters
    ----------
    bits : int
        1 to 8.
    """

    def __init__(self, bits: int = 2) -> None:
        self.name = f"posterise-{bits}"
        self.bits = bits

    def treat(self, images: Images) -> Images:
        """Return the images with the lower bits zero."""
        return images & np.uint8(0xFF << (8 - self.bits) & 0xFF)
