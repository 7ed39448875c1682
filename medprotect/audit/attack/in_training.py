"""What attackers change in the training itself."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.before_training import recode
from medprotect.audit.attack.countermeasure import Countermeasure


class Cutout(Countermeasure):
    """A square at a random place of each image is blotted out.

    T. DeVries, G. W. Taylor. *Improved regularization of convolutional neural networks with
    cutout.* 2017, arXiv:1708.04552; there 16 of 32 pixels wide.

    Parameters
    ----------
    share : float
        Side of the square, of the side of the image.
    """

    name = "cutout"

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of the images, each with its square grey."""
        height, width = images.shape[-2:]
        boxes = place_boxes(len(images), (height, width), self.share, rng).to(images.device)
        return functional.cross_entropy(network(images.masked_fill(boxes, 0.0)), labels)


class CutMix(Countermeasure):
    """A rectangle is replaced by that of another image, and its label counts by the area.

    S. Yun, D. Han, S. J. Oh, S. Chun, J. Choe, Y. Yoo. *CutMix: regularization strategy to train
    strong classifiers with localizable features.* ICCV 2019, arXiv:1905.04899. The area is drawn
    once a batch, from Beta(1, 1): uniformly. There every second batch is mixed for small images;
    here all are.
    """

    name = "cutmix"

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of patched images, to both labels."""
        height, width = images.shape[-2:]
        side = math.sqrt(float(torch.rand((), generator=rng)))
        box = place_boxes(1, (height, width), side, rng).to(images.device)
        others = torch.randperm(len(images), generator=rng).to(images.device)
        logits = network(torch.where(box, images[others], images))
        area = float(box.float().mean())  # less than drawn where the box reaches over the edge
        own = functional.cross_entropy(logits, labels)
        return (1 - area) * own + area * functional.cross_entropy(logits, labels[others])


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


ROUGHNESS = (0.3, 0.7)
"""Least and most, of the fractals."""


class UEraser(Countermeasure):
    """Of several strong augmentations of each image, the victim learns from the hardest.

    T. Qin, X. Gao, J. Zhao, K. Ye, C.-Z. Xu. *Learning the unlearnable: adversarial augmentations
    suppress unlearnable example attacks.* 2023, arXiv:2303.15127, "UEraser-max". The augmentations
    are theirs without TrivialAugment. There the attacker is told for which noise to add JPEG; an
    attacker is not, so it is always part.

    Which one is hardest is found without gradients, and only that one is learned from: the same
    loss at less than its cost.

    Parameters
    ----------
    tries : int
        Augmentations of each image; theirs is 5.
    """

    name = "ueraser"

    def __init__(self, tries: int = 5) -> None:
        self.tries = tries

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the mean over images of the loss of their hardest augmentation."""
        hardest = images
        largest = torch.full_like(labels, -1, dtype=images.dtype)
        for _ in range(self.tries):
            augmented = (augment(images + 0.5, rng) - 0.5).to(images.device)
            with torch.no_grad():
                losses = functional.cross_entropy(network(augmented), labels, reduction="none")
            harder = losses > largest
            hardest = torch.where(harder[:, None, None, None], augmented, hardest)
            largest = torch.where(harder, losses, largest)
        return functional.cross_entropy(network(hardest), labels)


def augment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images (B, C, h, w) in 0..1 after JPEG and, half the time each, the other changes."""
    images = recode_randomly(images, rng)
    images = brighten(images, rng)
    images = change_contrast(images, rng)
    return shuffle_channels(images, rng)


def recode_randomly(images: Tensor, rng: torch.Generator) -> Tensor:
    """Pass each image through a JPEG of quality 10 to 99."""
    stored = (255 * images).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    qualities = torch.randint(10, 100, (len(images),), generator=rng).tolist()
    coded = np.stack([recode(*pair) for pair in zip(stored, qualities, strict=True)])
    return torch.from_numpy(coded).permute(0, 3, 1, 2).float() / 255


def brighten(images: Tensor, rng: torch.Generator) -> Tensor:
    """Add clouds of up to the whole range to half of the images."""
    strength = 0.5 + 0.5 * torch.rand(len(images), 1, 1, 1, generator=rng)
    change = strength * (2 * _clouds(images, rng) - 1)
    return torch.where(_half(images, rng), (images + change).clamp(0, 1), images)


def change_contrast(images: Tensor, rng: torch.Generator) -> Tensor:
    """Multiply the contrast of half of the images by clouds of 0 to 4."""
    changed = ((images - 0.5) * 4 * _clouds(images, rng) + 0.5).clamp(0, 1)
    return torch.where(_half(images, rng), changed, images)


def shuffle_channels(images: Tensor, rng: torch.Generator) -> Tensor:
    """Permute the channels of half of the images, each in its own order."""
    count, channels, height, width = images.shape
    order = torch.rand(count, channels, generator=rng).argsort(1)
    order = order[:, :, None, None].expand(-1, -1, height, width)
    return torch.where(_half(images, rng), images.gather(1, order), images)


def _clouds(images: Tensor, rng: torch.Generator) -> Tensor:
    count, channels, height, width = images.shape
    return draw_plasma((count, channels, height, width), ROUGHNESS, rng)


def _half(images: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5


class AdversarialTraining(Countermeasure):
    """The victim learns from the worst that bounded noise makes of each image.

    A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu. *Towards deep learning models resistant
    to adversarial attacks.* ICLR 2018, arXiv:1706.06083: projected gradient descent, here in 10
    steps (PGD-10). Against noise like ours: L. Tao et al. *Better safe than sorry: preventing
    delusive adversaries with adversarial training.* NeurIPS 2021, arXiv:2102.04716.

    Parameters
    ----------
    bound_lsb, step_lsb : float
        Largest noise, and a step towards it, of 255.
    steps : int
        Of descent, for each batch.
    """

    name = "adversarial-training"

    def __init__(self, bound_lsb: float = 8.0, step_lsb: float = 2.0, steps: int = 10) -> None:
        self.bound = bound_lsb / 255
        self.step = step_lsb / 255
        self.steps = steps

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of the images with the noise that raises it most."""
        return functional.cross_entropy(network(self.attack(network, images, labels, rng)), labels)

    def attack(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the images with that noise, within their range."""
        training = network.training
        network.eval()  # the statistics of batch normalisation are not to follow the attempts
        lowest, highest = images - self.bound, images + self.bound
        start = self.bound * (2 * torch.rand(images.shape, generator=rng) - 1)
        attacked = (images + start.to(images.device)).clamp(-0.5, 0.5)
        for _ in range(self.steps):
            attacked.requires_grad_()
            loss = functional.cross_entropy(network(attacked), labels)
            (gradient,) = torch.autograd.grad(loss, attacked)
            attacked = attacked.detach() + self.step * gradient.sign()
            attacked = attacked.clamp(lowest, highest).clamp(-0.5, 0.5)
        network.train(training)
        return attacked


def place_boxes(count: int, size: tuple[int, int], share: float, rng: torch.Generator) -> Tensor:
    """Return bool (count, 1, h, w), true within a box of `share` of each side.

    Its centre may lie anywhere in the image, so that part of it may lie outside.
    """
    inside = [_stretch(count, length, share, rng) for length in size]
    return inside[0][:, None, :, None] & inside[1][:, None, None, :]


def _stretch(count: int, length: int, share: float, rng: torch.Generator) -> Tensor:
    """Return bool (count, length), true within `share` of it around a random centre."""
    covered = round(share * length)
    first = torch.randint(length, (count, 1), generator=rng) - covered // 2
    places = torch.arange(length)
    return (places >= first) & (places < first + covered)


def draw_plasma(
    size: tuple[int, int, int, int], roughness: tuple[float, float], rng: torch.Generator
) -> Tensor:
    """Return fractals (B, C, h, w), each from 0 to 1.

    By midpoint displacement (A. Fournier, D. Fussell, L. Carpenter, *Computer rendering of
    stochastic models*, CACM 1982): from a grid of 3 x 3 random values, each step halves the
    distance of the points and adds random values that are smaller by the roughness.

    Parameters
    ----------
    size : tuple of int
        (B, C, h, w).
    roughness : tuple of float
        Least and most, drawn for each image, in 0..1: near 0 is smooth, 1 is white noise.
    """
    count, channels, height, width = size
    low, high = roughness
    factor = low + (high - low) * torch.rand(count, 1, 1, 1, generator=rng)
    side, scale = 3, torch.ones(1)
    plasma = torch.rand(count, channels, side, side, generator=rng)
    while side < max(height, width):
        side, scale = 2 * side - 1, scale * factor
        plasma = functional.interpolate(plasma, (side, side), mode="bilinear", align_corners=True)
        plasma = plasma + scale * (torch.rand(plasma.shape, generator=rng) - 0.5)
    plasma = plasma[..., :height, :width]
    low_values, high_values = plasma.amin((2, 3), True), plasma.amax((2, 3), True)
    return (plasma - low_values) / (high_values - low_values).clamp(min=1e-6)


class Warps(Countermeasure):
    """Each pixel is taken from a random place nearby, anew whenever the victim sees the image.

    COIN: M. Li, X. Wang, Z. Yu, S. Hu, Z. Zhou, L. Zhang, L. Y. Zhang. *Detecting and corrupting
    convolution-based unlearnable examples.* AAAI 2025, arXiv:2311.18403. As there, the places are
    drawn for each pixel by itself, alike in all channels, and read by bilinear interpolation, in
    training alone. There what lies beyond an edge is the opposite edge, here it is the edge.

    Parameters
    ----------
    reach : float
        Farthest place along each axis, in pixels; theirs is 2.
    """

    name = "warps"

    def __init__(self, reach: float = 2.0) -> None:
        self.reach = reach

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the loss of the images warped."""
        return functional.cross_entropy(network(warp(images, self.reach, rng)), labels)


def warp(images: Tensor, reach: float, rng: torch.Generator) -> Tensor:
    """Return images (B, C, h, w), each pixel from up to `reach` pixels away along each axis."""
    count, _, height, width = images.shape
    shift = reach * (2 * torch.rand(count, height, width, 2, generator=rng) - 1)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([columns, rows], -1) + shift  # pixels, (x, y)
    # Between -1 at the middle of the first pixel and 1 at that of the last.
    grid = 2 * places / torch.tensor([max(width - 1, 1), max(height - 1, 1)]) - 1
    grid = grid.to(images.device, images.dtype)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=True)
