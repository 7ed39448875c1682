"""Small images with edges and shades, noise for them, and victims without batch normalisation."""

from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor, nn

from medprotect.audit.halves import Labelled

Images = NDArray[np.uint8]
CLASSES = 3


def scenes(count: int, channels: int, seed: int = 0, side: tuple[int, int] = (16, 16)) -> Images:
    """Return images of one bright disc each on a shaded ground; no two are alike."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: side[0], : side[1]]
    images = np.empty((count, *side, channels), np.uint8)
    for image in images:
        row, column = rng.uniform(0.25, 0.75, 2) * side
        disc = np.hypot(rows - row, columns - column) < 0.25 * min(side)
        ground = 70 + rng.uniform(-2, 2) * rows + rng.uniform(-2, 2) * columns
        shade = ground[..., None] + disc[..., None] * rng.uniform(40, 90, channels)
        image[:] = shade.clip(0, 255)
    return images


def speckle(images: Images, seed: int = 0, lsb: int = 8) -> Images:
    """Add to every value plus or minus so much, at random."""
    signs = np.random.default_rng(seed).choice((-lsb, lsb), images.shape)
    return (images + signs).clip(0, 255).astype(np.uint8)


def classwise(count: int, channels: int, seed: int = 0) -> tuple[Images, Labelled]:
    """Return images in clear, and with one pattern a class; the patterns are always the same."""
    clean = scenes(count, channels, seed)
    labels = np.arange(count) % CLASSES
    patterns = np.random.default_rng(5).choice((-8, 8), (CLASSES, *clean.shape[1:]))
    return clean, Labelled((clean + patterns[labels]).clip(0, 255).astype(np.uint8), labels)


def distance(images: Images, others: Images) -> float:
    """Return the root mean square of the difference."""
    return float(np.sqrt(((images.astype(float) - others) ** 2).mean()))


def recoded(image: Images, quality: int) -> Images:
    """Return one image (H, W, C) after a JPEG as Pillow writes it unless told otherwise."""
    stream = BytesIO()
    Picture.fromarray(image.squeeze()).save(stream, "JPEG", quality=quality)
    return np.asarray(Picture.open(stream)).reshape(image.shape)


class Watched(nn.Module):
    """A linear victim that keeps what it was shown."""

    def __init__(self, channels: int, side: int = 16) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        weights = torch.randn(CLASSES, channels * side * side, generator=rng)
        self.weight = nn.Parameter(weights / side)
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.detach())
        logits: Tensor = images.flatten(1) @ self.weight.T
        return logits
