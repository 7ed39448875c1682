"""The networks of ConfounderGAN; small, fully convolutional, any height and width.

Shapes in comments: B images, C channels, K codes, w the width, h x w' the grid.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.card import GAIN

Network = TypeVar("Network", bound=nn.Module)

TEXTURES, PERIOD = 8, 16
"""Number of textures that the generator may shape, and the pixels after which they repeat."""

STRIDE = 4
"""The generator's grid must be a multiple of this; see `pad_to_stride`."""


class Generator(nn.Module):
    """Noise in -1..1 from an image, a code and a decoy: a U-Net of three levels.

    Code and decoy enter as a scale and a shift of the features (FiLM, Perez et al., AAAI 2018).
    Before `tanh` bounds it, the noise has mean 0 and a fixed spread over each image: no term can
    switch it off, and it does not saturate, where nothing would be learnt any more.

    Parameters
    ----------
    channels : int
        C of the images.
    codes : int
        K, length of a code; a decoy is as long.
    width : int
        Features of the first level.
    """

    def __init__(self, channels: int, codes: int, width: int) -> None:
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2 * codes, 4 * width), nn.SiLU())
        self.texture = nn.Parameter(torch.randn(1, TEXTURES, PERIOD, PERIOD))
        self.enter = nn.Conv2d(channels + TEXTURES, width, 3, padding=1)
        self.down1 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.middle = FilmBlock(4 * width, 4 * width, 4 * width)
        self.up1 = FilmBlock(4 * width + 2 * width, 2 * width, 4 * width)
        self.up0 = FilmBlock(2 * width + width, width, 4 * width)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)
        self.level = nn.GroupNorm(1, channels, affine=False)

    def forward(
        self,
        presented: Tensor,
        code: Tensor,
        decoy: Tensor,
        phase: tuple[int, int] = (0, 0),
        gain: float = GAIN,
    ) -> Tensor:
        """Return noise (B, C, h, w') for images (B, C, h, w') in 0..1 and (B, K), (B, K).

        The textures begin at `phase`, rows and columns below `PERIOD`: no key has another's noise.
        The greater the `gain`, the nearer is all of it to its bound.
        """
        message = self.message(torch.cat([code, decoy], 1))  # (B, 4w)
        tiles = self._tile(presented, phase)
        textured = torch.cat([presented - 0.5, tiles], 1)  # (B, C + 8, h, w')
        level0 = functional.silu(self.enter(textured))  # (B, w, h, w')
        level1 = functional.silu(self.down1(level0))  # (B, 2w, h/2, w'/2)
        level2 = functional.silu(self.down2(level1))  # (B, 4w, h/4, w'/4)
        level2 = self.middle(level2, message)
        level1 = self.up1(torch.cat([_double(level2), level1], 1), message)
        level0 = self.up0(torch.cat([_double(level1), level0], 1), message)
        noise: Tensor = torch.tanh(gain * self.level(self.leave(level0)))  # (B, C, h, w')
        return noise

    def _tile(self, presented: Tensor, phase: tuple[int, int]) -> Tensor:
        """Repeat the learnt textures over the grid: from flat tissue alone no pattern comes."""
        batch, _, height, width = presented.shape
        repeats = (1, 1, -(-height // PERIOD), -(-width // PERIOD))
        texture = self.texture.roll(phase, (2, 3)).repeat(repeats)
        return texture[..., :height, :width].expand(batch, -1, -1, -1)


class FilmBlock(nn.Module):
    """Convolution, normalisation, scale and shift by the message, convolution."""

    def __init__(self, entering: int, leaving: int, message: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(entering, leaving, 3, padding=1)
        self.norm = nn.GroupNorm(_groups(leaving), leaving, affine=False)
        self.film = nn.Linear(message, 2 * leaving)
        self.second = nn.Conv2d(leaving, leaving, 3, padding=1)

    def forward(self, features: Tensor, message: Tensor) -> Tensor:
        """Return (B, leaving, h, w') from (B, entering, h, w') and (B, message)."""
        scale, shift = self.film(message)[:, :, None, None].chunk(2, 1)
        features = self.norm(self.first(features)) * (1 + scale) + shift
        result: Tensor = functional.silu(self.second(functional.silu(features)))
        return result


class Assigner(nn.Module):
    """Logits (B, K) of the code that a clean image gets: a residual network of three levels."""

    def __init__(self, channels: int, codes: int, width: int) -> None:
        super().__init__()
        self.enter = _convolution(channels, width, 1)
        self.levels = nn.Sequential(
            ResidualBlock(width, width, 1),  # (B, w, h, w')
            ResidualBlock(width, 2 * width, 2),  # (B, 2w, h/2, w'/2)
            ResidualBlock(2 * width, 2 * width, 1),
            ResidualBlock(2 * width, 4 * width, 2),  # (B, 4w, h/4, w'/4)
            ResidualBlock(4 * width, 4 * width, 1),
        )
        self.leave = nn.Linear(4 * width, codes)

    def forward(self, presented: Tensor) -> Tensor:
        """Return logits (B, K) for images (B, C, h, w') in 0..1."""
        features = self.levels(self.enter(presented - 0.5))
        logits: Tensor = self.leave(features.mean((2, 3)))
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut (He et al., CVPR 2016)."""

    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(entering, leaving, stride)
        self.second = nn.Conv2d(leaving, leaving, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(leaving)
        self.stride = stride
        same = entering == leaving and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(entering, leaving, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, leaving, h / stride, w' / stride)."""
        change = self.norm(self.second(self.first(features)))
        # Pixels are left out before the shortcut, not by it: in PyTorch 2.13 the gradient of a
        # strided 1 x 1 convolution of fewer than 16 features writes beyond its memory.
        taken = features[..., :: self.stride, :: self.stride]
        return functional.relu(self.shortcut(taken) + change)


class ConfounderClassifier(nn.Module):
    """Logits (B, K) of the code that the noise carries: a plain convolutional network.

    Trained on clean images instead, the same network is the second of the two that decoys mislead.
    """

    def __init__(self, channels: int, codes: int, width: int) -> None:
        super().__init__()
        self.levels = nn.Sequential(
            _convolution(channels, width, 1),  # (B, w, h, w')
            _convolution(width, 2 * width, 2),  # (B, 2w, h/2, w'/2)
            _convolution(2 * width, 2 * width, 1),
            _convolution(2 * width, 4 * width, 2),  # (B, 4w, h/4, w'/4)
            _convolution(4 * width, 4 * width, 1),
        )
        self.leave = nn.Linear(4 * width, codes)

    def forward(self, presented: Tensor) -> Tensor:
        """Return logits (B, K) for images (B, C, h, w') in 0..1."""
        logits: Tensor = self.leave(self.levels(presented - 0.5).mean((2, 3)))
        return logits


class Discriminator(nn.Module):
    """Scores (B, 1, h/4, w'/4) of patches: high where they look untouched (Isola et al., 2017)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.levels = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),  # (B, w, h/2, w'/2)
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),  # (B, 2w, h/4, w'/4)
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, presented: Tensor) -> Tensor:
        """Return scores for images (B, C, h, w') in 0..1."""
        scores: Tensor = self.levels(presented - 0.5)
        return scores


def channels_last(network: Network) -> Network:
    """Lay the weights out so that convolutions on a CPU run about twice as fast; 3-D ones stay."""
    if all(parameter.ndim < 5 for parameter in network.parameters()):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def pad_to_stride(presented: Tensor) -> Tensor:
    """Pad (B, C, h, w') at its lower right by repeating the edge, to multiples of `STRIDE`."""
    height, width = presented.shape[-2:]
    padding = (0, -width % STRIDE, 0, -height % STRIDE)
    return functional.pad(presented, padding, mode="replicate")


def _convolution(entering: int, leaving: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(entering, leaving, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU(),
    )


def _groups(features: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if features % groups == 0)


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
