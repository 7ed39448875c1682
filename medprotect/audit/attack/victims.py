"""Victims: networks that somebody unauthorised might train, each at a width fit for small images.

All are called with the number of channels and of classes, and give a network that takes images
(B, C, h, w) in -0.5..0.5 to logits (B, K): untrained, but for the one that is called so. Those that
are convolutional see images at their own resolution through a `Stem`.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.pretrained import FineTuned

Victim = Callable[[int, int], nn.Module]
"""``victim(channels, classes)``."""


FINEST = 32
"""Pixels of the short side, at least, that a stem leaves."""


class Stem(nn.Module):
    """A first convolution that halves its features until 32 to 64 pixels are left.

    For small images it is the stem that CIFAR networks have, for 224 pixels near that of ImageNet
    (a stride of 2, then a maximum over 2): what is published for either, and as fast for both.

    Parameters
    ----------
    first : Conv2d
        3 x 3, padded by 1.
    """

    def __init__(self, first: nn.Conv2d) -> None:
        super().__init__()
        self.first = first

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, features, h / 2**n, w / 2**n)."""
        halvings = max(0, int(math.log2(max(1, min(images.shape[-2:]) / FINEST))))
        weight, bias = self.first.weight, self.first.bias
        features = functional.conv2d(images, weight, bias, stride=min(2, 1 + halvings), padding=1)
        for _ in range(halvings - 1):
            features = functional.max_pool2d(features, 2)
        return features


def resnet18(channels: int, classes: int) -> nn.Module:
    """Return MONAI's ResNet-18 at a quarter of its width."""
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
    network.conv1 = Stem(network.conv1)  # type: ignore[arg-type]
    return network


def vgg(channels: int, classes: int) -> nn.Module:
    """Return a plain network of six convolutions in the manner of VGG (ICLR 2015)."""
    layers: list[nn.Module] = [
        Stem(nn.Conv2d(channels, 32, 3, padding=1)),
        nn.BatchNorm2d(32),
        nn.ReLU(),
    ]
    entering = 32
    for width, times in ((32, 1), (64, 2), (128, 2)):
        for _ in range(times):
            layers += [nn.Conv2d(entering, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            entering = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * entering, classes)]
    return nn.Sequential(*layers, *head)


def densenet(channels: int, classes: int) -> nn.Module:
    """Return MONAI's DenseNet with 121's blocks, narrower."""
    from monai.networks.nets.densenet import DenseNet

    network: nn.Module = DenseNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=classes,
        init_features=16,
        growth_rate=8,
        block_config=(6, 12, 24, 16),
    )
    # Its own stem halves twice, which leaves nothing of a small image.
    first = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
    network.features.conv0 = Stem(first)  # type: ignore[union-attr]
    network.features.pool0 = nn.Identity()  # type: ignore[union-attr]
    return network


def mobilenet(channels: int, classes: int) -> nn.Module:
    """Return inverted residuals with depthwise convolutions (MobileNetV2, CVPR 2018)."""
    blocks = [(16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 48, 2), (48, 48, 1), (48, 96, 2)]
    return nn.Sequential(
        Stem(nn.Conv2d(channels, 16, 3, padding=1, bias=False)),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        *(InvertedResidual(*block) for block in blocks),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, classes),
    )


class InvertedResidual(nn.Module):
    """Widen, convolve each feature by itself, narrow."""

    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        wide = 4 * entering
        self.same = entering == leaving and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(entering, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride=stride, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, leaving, 1, bias=False),
            nn.BatchNorm2d(leaving),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, leaving, h / stride, w / stride)."""
        changed: Tensor = self.layers(features)
        return features + changed if self.same else changed


class SmallViT(nn.Module):
    """A transformer on patches (Dosovitskiy et al., ICLR 2021): 8 x 8 of them, 4 blocks."""

    def __init__(self, channels: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 4, stride=4)
        self.place = nn.Parameter(torch.randn(1, width, 8, 8) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K)."""
        resized = functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
        features = self.patches(resized) + self.place  # (B, width, 8, 8)
        features = self.blocks(features.flatten(2).transpose(1, 2))  # (B, 64, width)
        logits: Tensor = self.leave(features.mean(1))
        return logits


def vit(channels: int, classes: int) -> nn.Module:
    """Return a small vision transformer."""
    return SmallViT(channels, classes)


def pretrained(channels: int, classes: int) -> nn.Module:
    """Return an EfficientNet-Lite0 that learned ImageNet, to be fine-tuned.

    Raises
    ------
    ConfigError
        Its weights are not installed.
    """
    return FineTuned(classes)  # grey or colour: it learned from colour


VICTIMS: dict[str, Victim] = {
    "resnet18": resnet18,
    "vgg": vgg,
    "densenet": densenet,
    "mobilenet": mobilenet,
    "vit": vit,
    "pretrained": pretrained,
}

PEAK_RATES: dict[Victim, float] = {pretrained: 1e-3}
"""Peak of the learning rate, for those that are not trained from scratch."""


def make_each(victims: Iterable[str], channels: int, classes: int) -> None:
    """Make each victim once: what one lacks is to be known before hours of training.

    Raises
    ------
    ConfigError
        What a victim needs is not there.
    """
    with torch.random.fork_rng(devices=[]):
        for victim in victims:
            VICTIMS[victim](channels, classes)
