"""Targeted adversarial poisoning: images that a clean classifier takes for another class."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.victims import resnet18
from medprotect.audit.halves import Labelled
from medprotect.bench.protection.baselines.baseline import Baseline, Images
from medprotect.bench.protection.baselines.descent import batches, descend, to_presented
from medprotect.confounder.networks import channels_last
from medprotect.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetedPoisoning(Baseline):
    """Adversarial examples towards the next class: what is learned from them names another class.

    L. Fowl, M. Goldblum, P. Chiang, J. Geiping, W. Czaja, T. Goldstein. *Adversarial examples make
    strong poisons.* NeurIPS 2021, arXiv:2106.10807. There 250 steps on ResNet-18, the best of eight
    starts; here fewer steps, larger, from one start, on a ResNet-18 of a quarter of the width.

    Attributes
    ----------
    steps : int
        Steps of descent.
    training_steps, batch : int
        How many batches the clean classifier learns from, and of how many images.
    shift : int
        Class ``y`` is made to look like ``(y + shift) mod K``; not a multiple of K.
    """

    name: ClassVar[str] = "tap"

    steps: int = 40
    training_steps: int = 600
    batch: int = 64
    shift: int = 1

    def protect(self, train: Labelled, classes: int) -> Images:
        """Return the training images with noise towards the shifted class.

        Raises
        ------
        ConfigError
            The shift leads every class to itself.
        """
        if self.shift % classes == 0:
            raise ConfigError(f"A shift by {self.shift} leads each of {classes} classes to itself.")
        network = self.train_clean(train, classes)
        images, labels = to_presented(train.images), torch.from_numpy(train.labels)
        bound = self.budget_lsb / 255
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            noise = descend(
                lambda presented: network(_vary(presented) - 0.5),
                images,
                (bound * torch.randn_like(images)).clamp(-bound, bound),
                (labels + self.shift) % classes,
                bound=bound,
                steps=self.steps,
            )
        return self.add(train.images, 255 * noise.permute(0, 2, 3, 1).numpy())

    def train_clean(self, train: Labelled, classes: int) -> nn.Module:
        """Return the classifier that the noise is made for; it takes images in -0.5..0.5."""
        images, labels = to_presented(train.images) - 0.5, torch.from_numpy(train.labels)
        steps = self.training_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = channels_last(resnet18(train.images.shape[3], classes))
            optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
            rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
            for _, at in zip(range(steps), batches(len(images), self.batch), strict=False):
                loss: Any = functional.cross_entropy(network(_vary(images[at])), labels[at])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
        return network.eval()


def _vary(images: Tensor) -> Tensor:
    """Mirror and shift each image of (B, C, h, w) by up to an eighth, as its own chance has it."""
    count, _, height, width = images.shape
    mirror = 1 - 2.0 * torch.randint(2, (count,))
    places = torch.zeros(count, 2, 3)
    places[:, 0, 0], places[:, 1, 1] = mirror, 1
    for axis, length in enumerate((width, height)):
        reach = length // 8
        pixels = torch.randint(-reach, reach + 1, (count,))
        places[:, axis, 2] = 2 * pixels / length
    grid = functional.affine_grid(places, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
