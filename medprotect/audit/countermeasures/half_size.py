"""Half the size and back."""

import numpy as np
from PIL.Image import Resampling

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images
from medprotect.audit.countermeasures.pictures import from_picture, to_picture


class HalfSize(Countermeasure):
    """Shrunk to half of each side and enlarged again: the upper half of all frequencies is lost.

    Resizing as a defence: C. Guo, M. Rana, M. Cisse, L. van der Maaten. *Countering adversarial
    images using input transformations.* ICLR 2018, arXiv:1711.00117; half the resolution is also
    what VoxShield (arXiv:2605.17345, 2026) tests its noise with.
    """

    name = "half-size"

    def treat(self, images: Images) -> Images:
        """Return the images at half their resolution, of the same size."""
        return np.stack([_halve(image) for image in images])


def _halve(image: Images) -> Images:
    picture = to_picture(image)
    half = (max(1, picture.width // 2), max(1, picture.height // 2))
    small = picture.resize(half, Resampling.BILINEAR)  # averages over what it shrinks
    return from_picture(small.resize(picture.size, Resampling.BILINEAR))
