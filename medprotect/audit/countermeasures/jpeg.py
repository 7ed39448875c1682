"""JPEG."""

from io import BytesIO

import numpy as np
from PIL import Image as Picture

from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images
from medprotect.audit.countermeasures.pictures import from_picture, to_picture


class Jpeg(Countermeasure):
    """Compression keeps what the eye sees, and colour at half the resolution.

    Z. Liu, Z. Zhao, M. Larson. *Image shortcut squeezing: countering perturbative availability
    poisons with compression.* ICML 2023, arXiv:2301.13838; there at quality 10.

    Parameters
    ----------
    quality : int
        1 to 95, as Pillow has it; colour is subsampled 4:2:0.
    """

    def __init__(self, quality: int = 10) -> None:
        self.name = f"jpeg-{quality}"
        self.quality = quality

    def treat(self, images: Images) -> Images:
        """Return the images encoded and decoded again."""
        return np.stack([recode(image, self.quality) for image in images])


def recode(image: Images, quality: int) -> Images:
    """Pass one image (H, W, C) through a JPEG file."""
    stream = BytesIO()
    to_picture(image).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    with Picture.open(stream) as picture:
        return from_picture(picture)
