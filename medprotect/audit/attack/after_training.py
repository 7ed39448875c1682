"""What attackers do to a trained model."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn

from medprotect.audit.attack.countermeasure import Aid, Countermeasure
from medprotect.audit.halves import Labelled

SCALES = (0.02, 0.05, 0.1)
"""Of the noise on a tensor of weights, by their own spread."""


class WeightNoise(Countermeasure):
    """Of the trained victim and a few copies with noise on their weights, the best is used.

    M. Zhang et al. *SoK: unlearnability and unlearning for model dememorization.* 2026,
    arXiv:2605.11592: what a model seems not to have learned may come back under small changes of
    its weights. The simplest form: the noise is Gaussian, by the spread of each tensor of weights,
    in a few sizes, and the best copy is the one that does best on clean validation images. Nothing
    is learned from these, as fine-tuning would. It costs a test of each copy at each look, which is
    little beside the training.

    Parameters
    ----------
    copies : int
        Of each size of noise.
    """

    name = "weight-noise"

    def __init__(self, copies: int = 3) -> None:
        self.copies = copies
        self._seed = 0

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Take the seed."""
        self._seed = seed

    def variants(self, network: nn.Module) -> Iterator[nn.Module]:
        """Yield the victim itself, then the copies."""
        yield network
        rng = torch.Generator().manual_seed(self._seed)
        for scale in SCALES:
            for _ in range(self.copies):
                yield perturb(network, scale, rng)


def perturb(network: nn.Module, scale: float, rng: torch.Generator) -> nn.Module:
    """Return a copy whose weights have Gaussian noise of `scale` times the spread of each tensor.

    Single numbers, such as a temperature, have no spread and stay.
    """
    copy = deepcopy(network)
    with torch.no_grad():
        for weights in copy.parameters():
            if weights.numel() > 1:
                noise = torch.randn(weights.shape, generator=rng).to(weights.device)
                weights.add_(scale * weights.std() * noise)
    return copy
