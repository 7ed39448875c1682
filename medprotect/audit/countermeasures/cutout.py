"""Cutout."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.boxes import place_boxes
from medprotect.audit.countermeasures.countermeasure import Countermeasure


class Cutout(Countermeasure):
    """A square at a random place of each image is blotted out.

    T. DeVries, G. W. Taylor. *Improved regularization of convolutional neural networks with
    cutout.* 2017, arXiv:1708.04552; there 16 of 32 pixels wide.

    Parameters
    ----------
    share : float
        Side of the square, of the side of the image.
    """

    name = "cutout"

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of the images, each with its square grey."""
        height, width = images.shape[-2:]
        boxes = place_boxes(len(images), (height, width), self.share, rng).to(images.device)
        return functional.cross_entropy(network(images.masked_fill(boxes, 0.0)), labels)
