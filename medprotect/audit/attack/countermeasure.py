"""What a countermeasure is: anything an attacker does so that the noise is not learned."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.halves import Labelled

Images = NDArray[np.uint8]
"""Images (N, H, W, C), C 1 or 3."""


@dataclass(frozen=True, slots=True)
class Aid:
    """What an attacker has besides the protected images; nothing by default.

    Attributes
    ----------
    other : Images, optional
        Clean images of another source, without labels.
    leaked_clean, leaked_protected : Images, optional
        Pairs: the same images in clear and protected.
    """

    other: Images | None = None
    leaked_clean: Images | None = None
    leaked_protected: Images | None = None


class Countermeasure:
    """Does nothing; each countermeasure overrides what it needs.

    `prepare` is called once, then `treat` on the training images, and `treat_tested` on those for
    validation and testing; `loss` is what the victim minimises at each step; of
    `variants`, the one that does best on clean validation images is used.
    """

    name: str = "none"
    """Word for it in commands and reports, unique; an object may set its own (``blur-1``)."""

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Learn from what the attacker has: the protected training images, and `aid`."""

    def treat(self, images: Images) -> Images:
        """Return the training images as the victim is to see them, of the same shape and dtype."""
        return images

    def treat_tested(self, images: Images) -> Images:
        """Return clean images as the victim is to see them when it is used; as `treat` does."""
        return self.treat(images)

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of one batch.

        Parameters
        ----------
        network : Module
            The victim, in training mode; images (B, C, h, w) in -0.5..0.5 to logits (B, K).
        images : Tensor
            float32 (B, C, h, w), shifted and mirrored already, -0.5..0.5.
        labels : Tensor
            int64 (B,).
        rng : Generator
            All that is drawn is drawn from it.
        """
        return functional.cross_entropy(network(images), labels)

    def variants(self, network: nn.Module) -> Iterator[nn.Module]:
        """Yield what may be used in place of the victim as it is now: itself, and others."""
        yield network


def to_tensor(images: Images) -> Tensor:
    """Return (N, C, H, W) float32 in -0.5..0.5 from (N, H, W, C)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255 - 0.5


def to_images(tensor: Tensor) -> Images:
    """Return (N, H, W, C) from (N, C, H, W) in -0.5..0.5, rounded; what is beyond is cut off."""
    stored = (255 * (tensor + 0.5)).round().clamp(0, 255).byte()
    images: Images = stored.permute(0, 2, 3, 1).contiguous().numpy()
    return images
