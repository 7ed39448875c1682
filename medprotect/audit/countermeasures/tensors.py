"""Images as victims and other networks take them, and back."""

import numpy as np
import torch
from torch import Tensor

from medprotect.audit.countermeasures.countermeasure import Images


def to_tensor(images: Images) -> Tensor:
    """Return (N, C, H, W) float32 in -0.5..0.5 from (N, H, W, C)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255 - 0.5


def to_images(tensor: Tensor) -> Images:
    """Return (N, H, W, C) from (N, C, H, W) in -0.5..0.5, rounded; what is beyond is cut off."""
    stored = (255 * (tensor + 0.5)).round().clamp(0, 255).byte()
    images: Images = stored.permute(0, 2, 3, 1).contiguous().numpy()
    return images
