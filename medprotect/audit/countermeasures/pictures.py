"""Images as Pillow has them, and back."""

import numpy as np
from PIL import Image as Picture

from medprotect.audit.countermeasures.countermeasure import Images


def to_picture(image: Images) -> Picture.Image:
    """Return a Pillow image of one image (H, W, C), C 1 or 3."""
    return Picture.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def from_picture(picture: Picture.Image) -> Images:
    """Return (H, W, C), C 1 or 3."""
    image = np.asarray(picture)
    return image[..., None] if image.ndim == 2 else image
