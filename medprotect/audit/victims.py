"""Victims: models trained on images by somebody unauthorised."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.halves import Labelled
from medprotect.confounder.networks import channels_last

Victim = Callable[[int, int], nn.Module]
"""``victim(channels, classes)`` is an untrained network, images (B, C, h, w) to logits."""


def resnet18(channels: int, classes: int) -> nn.Module:
    """Return MONAI's ResNet-18 at a quarter of its width, with the stem for small images."""
    from monai.networks.nets.resnet import ResNet

    network: nn.Module = ResNet(
        block="basic",
        layers=[2, 2, 2, 2],
        block_inplanes=[16, 32, 64, 128],
        spatial_dims=2,
        n_input_channels=channels,
        num_classes=classes,
        conv1_t_size=3,
        conv1_t_stride=1,
        no_max_pool=True,
    )
    return network


def vgg(channels: int, classes: int) -> nn.Module:
    """Return a plain network of six convolutions in the manner of VGG."""
    layers: list[nn.Module] = []
    entering = channels
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(entering, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            entering = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * entering, classes)]
    return nn.Sequential(*layers, *head)


VICTIMS: dict[str, Victim] = {"resnet18": resnet18, "vgg": vgg}


def train_victim(
    victim: Victim, part: Labelled, classes: int, *, seed: int, epochs: int = 12, batch: int = 128
) -> nn.Module:
    """Train a victim as anybody would: AdamW, one cycle of the rate, random shift and mirroring."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = channels_last(victim(part.images.shape[3], classes))
        images, labels = to_tensor(part.images), torch.from_numpy(part.labels)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
        steps = epochs * (len(part) // batch)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        network.train()
        for _ in range(epochs):
            for indices in torch.randperm(len(part)).split(batch)[: len(part) // batch]:
                logits = network(_vary(images[indices]))
                loss: Any = functional.cross_entropy(logits, labels[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
    return network.eval()


@torch.inference_mode()
def predict(network: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the predicted classes (N,)."""
    parts = [network(part).argmax(1) for part in to_tensor(images).split(256)]
    predicted: NDArray[np.int64] = torch.cat(parts).numpy()
    return predicted


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Return (N, C, H, W) float32 in -0.5..0.5 from (N, H, W, C)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5


def _vary(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    reach = max(1, height // 14)
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    top, left = (int(torch.randint(2 * reach + 1, ())) for _ in range(2))
    moved = padded[..., top : top + height, left : left + width]
    mirrored = moved.flip(-1) if float(torch.rand(())) < 0.5 else moved
    return mirrored.contiguous(memory_format=torch.channels_last)
