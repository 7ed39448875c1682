"""UEraser."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Countermeasure
from medprotect.audit.countermeasures.jpeg import recode
from medprotect.audit.countermeasures.plasma import draw_plasma

ROUGHNESS = (0.3, 0.7)
"""Least and most, of the fractals."""


class UEraser(Countermeasure):
    """Of several strong augmentations of each image, the victim learns from the hardest.

    T. Qin, X. Gao, J. Zhao, K. Ye, C.-Z. Xu. *Learning the unlearnable: adversarial augmentations
    suppress unlearnable example attacks.* 2023, arXiv:2303.15127, "UEraser-max". The augmentations
    are theirs without TrivialAugment. There the attacker is told for which noise to add JPEG; an
    attacker is not, so it is always part.

    Which one is hardest is found without gradients, and only that one is learned from: the same
    loss at less than its cost.

    Parameters
    ----------
    tries : int
        Augmentations of each image; theirs is 5.
    """

    name = "ueraser"

    def __init__(self, tries: int = 5) -> None:
        self.tries = tries

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the mean over images of the loss of their hardest augmentation."""
        hardest = images
        largest = torch.full_like(labels, -1, dtype=images.dtype)
        for _ in range(self.tries):
            augmented = (augment(images + 0.5, rng) - 0.5).to(images.device)
            with torch.no_grad():
                losses = functional.cross_entropy(network(augmented), labels, reduction="none")
            harder = losses > largest
            hardest = torch.where(harder[:, None, None, None], augmented, hardest)
            largest = torch.where(harder, losses, largest)
        return functional.cross_entropy(network(hardest), labels)


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images (B, C, h, w) in 0..1 after JPEG and, half the time each, the other changes."""
    images = recode_randomly(images, rng)
    images = brighten(images, rng)
    images = change_contrast(images, rng)
    return shuffle_channels(images, rng)


def recode_randomly(images: Tensor, rng: torch.Generator) -> Tensor:
    """Pass each image through a JPEG of quality 10 to 99."""
    stored = (255 * images).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    qualities = torch.randint(10, 100, (len(images),), generator=rng).tolist()
    coded = np.stack([recode(*pair) for pair in zip(stored, qualities, strict=True)])
    return torch.from_numpy(coded).permute(0, 3, 1, 2).float() / 255


def brighten(images: Tensor, rng: torch.Generator) -> Tensor:
    """Add clouds of up to the whole range to half of the images."""
    strength = 0.5 + 0.5 * torch.rand(len(images), 1, 1, 1, generator=rng)
    change = strength * (2 * _clouds(images, rng) - 1)
    return torch.where(_half(images, rng), (images + change).clamp(0, 1), images)


def change_contrast(images: Tensor, rng: torch.Generator) -> Tensor:
    """Multiply the contrast of half of the images by clouds of 0 to 4."""
    changed = ((images - 0.5) * 4 * _clouds(images, rng) + 0.5).clamp(0, 1)
    return torch.where(_half(images, rng), changed, images)


def shuffle_channels(images: Tensor, rng: torch.Generator) -> Tensor:
    """Permute the channels of half of the images, each in its own order."""
    count, channels, height, width = images.shape
    order = torch.rand(count, channels, generator=rng).argsort(1)
    order = order[:, :, None, None].expand(-1, -1, height, width)
    return torch.where(_half(images, rng), images.gather(1, order), images)


def _clouds(images: Tensor, rng: torch.Generator) -> Tensor:
    count, channels, height, width = images.shape
    return draw_plasma((count, channels, height, width), ROUGHNESS, rng)


def _half(images: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
