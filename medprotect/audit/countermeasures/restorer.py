"""The network from images to images that purifying countermeasures share, and how it learns."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Images
from medprotect.audit.countermeasures.tensors import to_images, to_tensor
from medprotect.confounder.networks import channels_last
from medprotect.errors import ConfigError

STRIDE, BATCH = 4, 32


class Restorer(nn.Module):
    """A U-Net of three levels whose result is added to the image; at first it changes nothing.

    O. Ronneberger, P. Fischer, T. Brox. *U-Net: convolutional networks for biomedical image
    segmentation.* MICCAI 2015. Any height and width.

    Parameters
    ----------
    channels : int
        C of the images.
    width : int
        Features of the first level.
    guides : int
        G, channels of what else it sees.
    """

    def __init__(self, channels: int, width: int = 16, guides: int = 0) -> None:
        super().__init__()
        self.enter = nn.Conv2d(2 * channels + guides, width, 3, padding=1)
        self.down1 = _block(width, 2 * width, stride=2)
        self.down2 = _block(2 * width, 4 * width, stride=2)
        self.middle = _block(4 * width, 4 * width)
        self.whole = nn.Linear(4 * width, 4 * width)
        self.up1 = _block(4 * width + 2 * width, 2 * width)
        self.up0 = _block(2 * width + width, width)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(
        self, images: Tensor, guide: Tensor | None = None, scale: Tensor | float = 1.0
    ) -> Tensor:
        """Return images (B, C, h, w) plus `scale` times the change.

        Parameters
        ----------
        images : Tensor
            (B, C, h, w), -0.5..0.5, or beyond with noise.
        guide : Tensor, optional
            (B, G, h, w).
        scale : Tensor or float
            Of the change; a tensor is (B, 1, 1, 1).
        """
        height, width = images.shape[-2:]
        # Noise is small beside the image; seen alone, in units of the change, it is learned sooner.
        around = functional.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
        seen = torch.cat([images, (images - around) / scale], 1)
        seen = seen if guide is None else torch.cat([seen, guide], 1)
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        level0 = functional.silu(self.enter(functional.pad(seen, padding, mode="replicate")))
        level1 = self.down1(level0)
        level2 = self.middle(self.down2(level1))
        level2 = level2 + self.whole(level2.mean((2, 3)))[:, :, None, None]
        level1 = self.up1(torch.cat([_double(level2), level1], 1))
        level0 = self.up0(torch.cat([_double(level1), level0], 1))
        change: Tensor = self.leave(level0)[..., :height, :width]
        return images + scale * change


def begin(channels: int, seed: int, guides: int = 0) -> tuple[Restorer, torch.Generator]:
    """Return an untrained network for images of so many channels, and what `fit` draws from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = channels_last(Restorer(channels, guides=guides))
    return network, torch.Generator().manual_seed(seed)


def _block(entering: int, leaving: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(entering, leaving, 3, stride=stride, padding=1),
        nn.GroupNorm(4, leaving),
        nn.SiLU(),
    )


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode="nearest")


def fit(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int,
    rng: torch.Generator,
) -> None:
    """Lower a loss of random batches, which is given the indices of one out of `count` images."""
    fitted = list(parameters)
    optimizer = torch.optim.AdamW(fitted, 1e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        value: Any = loss(torch.randint(count, (BATCH,), generator=rng))
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(fitted, 1.0)
        optimizer.step()
        rate.step()


@torch.inference_mode()
def restore(images: Images, change: Callable[[Tensor], Tensor]) -> Images:
    """Return images (N, H, W, C) changed by a function of tensors (B, C, h, w), -0.5..0.5."""
    return np.concatenate([to_images(change(to_tensor(part))) for part in _split(images)])


def other_images(other: Images | None, train: Images, name: str) -> Tensor:
    """Return the clean images of another source to learn from, (N, C, h, w) in -0.5..0.5.

    Raises
    ------
    ConfigError
        There are none, or they have other channels than the protected images.
    """
    if other is None or not len(other):
        raise ConfigError(f"The countermeasure {name} needs clean images of another source.")
    if other.shape[3] != train.shape[3]:
        raise ConfigError(
            f"The countermeasure {name} needs other images with {train.shape[3]} channel(s),"
            f" as the protected ones; these have {other.shape[3]}."
        )
    return to_tensor(other)


def _split(images: Images) -> list[Images]:
    return [images[first : first + 256] for first in range(0, len(images), 256)]
