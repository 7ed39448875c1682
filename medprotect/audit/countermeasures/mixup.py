"""Mixup."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Countermeasure


class Mixup(Countermeasure):
    """Images are blended with others, and so are their labels.

    H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz. *mixup: beyond empirical risk minimization.*
    ICLR 2018, arXiv:1710.09412. The share is drawn once a batch, from Beta(1, 1): uniformly.
    """

    name = "mixup"

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of blended images, to both labels."""
        share = float(torch.rand((), generator=rng))
        others = torch.randperm(len(images), generator=rng).to(images.device)
        logits = network(share * images + (1 - share) * images[others])
        own = functional.cross_entropy(logits, labels)
        return share * own + (1 - share) * functional.cross_entropy(logits, labels[others])
