"""Error-minimising noise: a network and the noise both lower the same loss."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Baseline, Images
from medprotect.bench.protection.baselines.descent import BATCH, batches, descend, to_presented
from medprotect.confounder.networks import Assigner, channels_last


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMinimising(Baseline):
    """Noise for each image with which there is nothing left to learn: min-min, sample-wise.

    H. Huang, X. Ma, S. M. Erfani, J. Bailey, Y. Wang. *Unlearnable examples: making personal data
    unexploitable.* ICLR 2021, arXiv:2101.04898. The network is a narrow residual one instead of
    ResNet-18; it learns from 20 batches a round instead of 10, at a rate of 0.02 instead of 0.1,
    at which so few steps do not settle it; and the rounds are limited. Their notebook cuts the
    negative half of the noise off before it is stored; here it is kept.

    Attributes
    ----------
    rounds : int
        At most so many times: train the network a little, then descend on all noise.
    training_steps : int
        Batches that the network learns from in a round.
    steps : int
        Steps of descent in a round.
    enough : float
        Accuracy on the noisy images at which the rounds end.
    width : int
        Features of the network's first level.
    """

    name: ClassVar[str] = "em"

    rounds: int = 10
    training_steps: int = 20
    steps: int = 20
    enough: float = 0.99
    width: int = 8

    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images with noise that lowers the loss."""
        images, labels = to_presented(train.images), torch.from_numpy(train.labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = channels_last(Assigner(train.images.shape[3], classes, self.width))
            noise = self._minimise(network, images, labels)
        return self.add(train.images, 255 * noise.permute(0, 2, 3, 1).numpy())

    def _minimise(self, network: Assigner, images: Tensor, labels: Tensor) -> Tensor:
        optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, weight_decay=5e-4)
        order = batches(len(images))
        noise = torch.zeros_like(images)
        for _ in range(self.rounds):
            network.train()
            for _ in range(self.training_steps):
                at = next(order)
                loss: Any = functional.cross_entropy(network(images[at] + noise[at]), labels[at])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
            network.eval()
            bound = self.budget_lsb / 255
            noise = descend(network, images, noise, labels, bound=bound, steps=self.steps)
            if _accuracy(network, images + noise, labels) >= self.enough:
                break
        return noise


@torch.no_grad()
def _accuracy(network: Assigner, images: Tensor, labels: Tensor) -> float:
    predicted = torch.cat([network(part).argmax(1) for part in images.split(BATCH)])
    return float((predicted == labels).float().mean())
