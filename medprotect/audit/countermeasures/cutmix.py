"""CutMix."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.boxes import place_boxes
from medprotect.audit.countermeasures.countermeasure import Countermeasure


class CutMix(Countermeasure):
    """A rectangle is replaced by that of another image, and its label counts by the area.

    S. Yun, D. Han, S. J. Oh, S. Chun, J. Choe, Y. Yoo. *CutMix: regularization strategy to train
    strong classifiers with localizable features.* ICCV 2019, arXiv:1905.04899. The area is drawn
    once a batch, from Beta(1, 1): uniformly. There every second batch is mixed for small images;
    here all are.
    """

    name = "cutmix"

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of patched images, to both labels."""
        height, width = images.shape[-2:]
        side = math.sqrt(float(torch.rand((), generator=rng)))
        box = place_boxes(1, (height, width), side, rng).to(images.device)
        others = torch.randperm(len(images), generator=rng).to(images.device)
        logits = network(torch.where(box, images[others], images))
        area = float(box.float().mean())  # less than drawn where the box reaches over the edge
        own = functional.cross_entropy(logits, labels)
        return (1 - area) * own + area * functional.cross_entropy(logits, labels[others])
