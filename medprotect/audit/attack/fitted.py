"""What attackers fit to the images that they have, to take the noise away."""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.countermeasure import Aid, Countermeasure, Images, to_images, to_tensor
from medprotect.audit.halves import Labelled
from medprotect.confounder.networks import channels_last
from medprotect.errors import ConfigError

LINEAR_BATCH = 256


class OrthogonalProjection(Countermeasure):
    """What a linear model reads the labels from is projected out.

    P. Sandoval-Segura, V. Singla, J. Geiping, M. Goldblum, T. Goldstein. *What can we learn from
    unlearnable datasets?* NeurIPS 2023, arXiv:2305.19254: logistic regression on the pixels of the
    protected images, then each image without its part along the weights.

    Here the part is that of the difference from the mean image, so that the result fits 8 bits; it
    differs from theirs by one constant image.

    Parameters
    ----------
    steps : int
        Batches that the logistic regression learns from.
    rate : float
        Of its learning (Adam).
    """

    name = "orthogonal-projection"

    _mean: Tensor
    _directions: Tensor  # (R, H * W * C), orthonormal rows

    def __init__(self, steps: int = 500, rate: float = 1e-3) -> None:
        self.steps = steps
        self.rate = rate

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Fit the logistic regression."""
        pixels = to_tensor(train.images).flatten(1)
        self._mean = pixels.mean(0)
        weights = self._fit(pixels - self._mean, torch.from_numpy(train.labels), seed)
        _, sizes, directions = torch.linalg.svd(weights, full_matrices=False)
        # The weights of all classes sum to zero: one direction less than classes means anything.
        self._directions = directions[sizes > 1e-3 * sizes[0]]

    def treat(self, images: Images) -> Images:
        """Return the images without their part along the weights."""
        tensors = to_tensor(images)
        parts = []
        for part in tensors.split(LINEAR_BATCH):
            pixels = part.flatten(1)
            along = (pixels - self._mean) @ self._directions.T @ self._directions
            parts.append(to_images((pixels - along).reshape(part.shape)))
        return np.concatenate(parts)

    def _fit(self, pixels: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Return the weights (K, D) of a logistic regression that started from zero."""
        rng = torch.Generator().manual_seed(seed)
        classes = int(labels.max()) + 1
        weights = torch.zeros(classes, pixels.shape[1], requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.Adam([weights, bias], self.rate)
        for _ in range(self.steps):
            at = torch.randint(len(pixels), (LINEAR_BATCH,), generator=rng)
            logits = functional.linear(pixels[at], weights, bias)
            loss: Any = functional.cross_entropy(logits, labels[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return weights.detach()


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


COARSEST = 2
"""Pixels that one value of the coarsest noise covers."""


class Autoencoder(Countermeasure):
    """A network that removed random noise from other images is let loose on the protected ones.

    Denoising autoencoders: P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol. *Extracting and
    composing robust features with denoising autoencoders.* ICML 2008. Against bounded noise:
    D. Meng, H. Chen. *MagNet: a two-pronged defense against adversarial examples.* CCS 2017,
    arXiv:1705.09064.

    Parameters
    ----------
    bound_lsb : float
        Largest noise it learns from, of 255.
    steps : int
        Batches it learns from.
    """

    name = "autoencoder"

    _network: Restorer

    def __init__(self, bound_lsb: float = 8.0, steps: int = 300) -> None:
        self.bound = bound_lsb / 255
        self.steps = steps

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Learn from clean images of another source.

        Raises
        ------
        ConfigError
            There are none.
        """
        clean = other_images(aid.other, train.images, self.name)
        network, rng = begin(clean.shape[1], seed)

        def loss(at: Tensor) -> Tensor:
            noisy = clean[at] + draw_noise(clean[at].shape, self.bound, rng)
            return functional.mse_loss(network(noisy.clamp(-0.5, 0.5), None, self.bound), clean[at])

        fit(network.parameters(), loss, len(clean), steps=self.steps, rng=rng)
        self._network = network

    def treat(self, images: Images) -> Images:
        """Return the images purified."""
        return restore(images, lambda noisy: self._network(noisy, None, self.bound))


def draw_noise(shape: torch.Size, bound: float, rng: torch.Generator) -> Tensor:
    """Return noise within the bound, of the same coarseness in the whole batch.

    Every second batch has only the two extremes: an optimised noise often lies there.
    """
    count, channels, height, width = shape
    block = int(torch.randint(1, COARSEST + 1, (), generator=rng))
    coarse = (count, channels, -(-height // block), -(-width // block))
    noise = 2 * torch.rand(coarse, generator=rng) - 1
    if float(torch.rand((), generator=rng)) < 0.5:
        noise = noise.sign()
    noise = noise.repeat_interleave(block, 2).repeat_interleave(block, 3)
    return bound * noise[..., :height, :width]


TIMES = 1000
"""Times of the whole schedule, as in DDPM; those after the starting time are not needed."""


class Diffusion(Countermeasure):
    """The noise is drowned in more noise, and all of it removed by a model of other clean images.

    H. M. Dolatabadi, S. Erfani, C. Leckie. *The devil's advocate: shattering the illusion of
    unexploitable data using diffusion models* (AVATAR). SaTML 2024, arXiv:2303.08500, after W. Nie
    et al. *Diffusion models for adversarial purification* (DiffPure). ICML 2022, arXiv:2205.07460.
    Schedule and loss are those of J. Ho, A. Jain, P. Abbeel. *Denoising diffusion probabilistic
    models.* NeurIPS 2020, arXiv:2006.11239.

    Images are not shrunk while noise is added, which is the same but for a factor. The model is
    small, learns only the times that are needed, and takes fewer, longer steps back.

    Parameters
    ----------
    start : int
        Time to which noise is added, of 1000; theirs is 100.
    strides : int
        Steps back from there.
    steps : int
        Batches that the model learns from.
    """

    name = "diffusion"

    _network: Restorer
    _seed: int

    def __init__(self, start: int = 100, strides: int = 10, steps: int = 600) -> None:
        self.strides = strides
        self.steps = steps
        self.levels = noise_levels()[:start]

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Learn from clean images of another source.

        Raises
        ------
        ConfigError
            There are none.
        """
        clean = other_images(aid.other, train.images, self.name)
        self._network, rng = begin(clean.shape[1], seed, guides=1)
        self._seed = seed

        def loss(at: Tensor) -> Tensor:
            times = torch.randint(len(self.levels), (len(at),), generator=rng)
            levels = self.levels[times][:, None, None, None]
            noise = torch.randn(clean[at].shape, generator=rng)
            denoised = self._denoise(clean[at] + levels * noise, levels)
            return ((denoised - clean[at]) / levels).square().mean()  # as if it told the noise

        fit(self._network.parameters(), loss, len(clean), steps=self.steps, rng=rng)

    def treat(self, images: Images) -> Images:
        """Return the images purified."""
        rng = torch.Generator().manual_seed(self._seed)
        return restore(images, lambda noisy: self.purify(noisy, rng))

    def purify(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return images (B, C, h, w) after noise to the starting time and back."""
        times = torch.linspace(len(self.levels) - 1, 0, self.strides).round().long()
        levels = [*self.levels[times].tolist(), 0.0]
        noisy: Tensor = images + levels[0] * torch.randn(images.shape, generator=rng)
        for level, lower in pairwise(levels):
            denoised = self._denoise(noisy, torch.full((len(images), 1, 1, 1), level))
            kept = lower**2 / level**2
            spread = lower * math.sqrt(1 - kept)
            noise = torch.randn(images.shape, generator=rng)
            noisy = denoised + kept * (noisy - denoised) + spread * noise
        return noisy

    def _denoise(self, noisy: Tensor, levels: Tensor) -> Tensor:
        guide = (10 * levels).expand(-1, 1, *noisy.shape[-2:])  # of the size of the images
        denoised: Tensor = self._network(noisy, guide, levels)
        return denoised


def noise_levels() -> Tensor:
    """Return the standard deviation of the noise at each time, (1000,), for images one wide.

    DDPM's are two wide, -1..1, and shrink by the root of `kept`.
    """
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMES), 0)
    return ((1 - kept) / kept).sqrt() / 2


PLACES = 8
"""Learned values a pixel, with which noise can be known that is the same in many images."""


class Inverse(Countermeasure):
    """From images both in clear and protected a network learns the way back.

    The threat of Y. Wang et al. *BridgePure: limited protection leakage can break black-box data
    protection.* NeurIPS 2025: whoever has the protection as a service protects images of their own.
    There a diffusion bridge learns the way back; here a residual U-Net does, which is faster.

    Parameters
    ----------
    steps : int
        Batches it learns from.
    """

    name = "inverse"

    _network: Restorer
    _places: nn.Parameter
    _scale: float

    def __init__(self, steps: int = 400) -> None:
        self.steps = steps

    def prepare(self, train: Labelled, aid: Aid, seed: int) -> None:
        """Learn from leaked pairs.

        Raises
        ------
        ConfigError
            There are none, or not of the size of the protected images.
        """
        clean, protected = self._pairs(aid, train.images)
        self._scale = float((protected - clean).abs().max())
        self._network, rng = begin(clean.shape[1], seed, guides=PLACES)
        places = torch.randn(1, PLACES, *clean.shape[-2:], generator=rng)
        self._places = nn.Parameter(places)

        def loss(at: Tensor) -> Tensor:
            return functional.mse_loss(self._invert(protected[at]), clean[at])

        parameters = [*self._network.parameters(), self._places]
        fit(parameters, loss, len(clean), steps=self.steps, rng=rng)

    def treat(self, images: Images) -> Images:
        """Return what the images were, as far as the network knows."""
        return restore(images, self._invert)

    def treat_tested(self, images: Images) -> Images:
        """Return the images as they are: what is not protected needs no way back."""
        return images

    def _invert(self, protected: Tensor) -> Tensor:
        places = self._places.expand(len(protected), -1, -1, -1)
        clean: Tensor = self._network(protected, places, self._scale)
        return clean

    def _pairs(self, aid: Aid, train: Images) -> tuple[Tensor, Tensor]:
        clean, protected = aid.leaked_clean, aid.leaked_protected
        if clean is None or protected is None or not len(clean):
            raise ConfigError(f"The countermeasure {self.name} needs leaked pairs.")
        if clean.shape != protected.shape:
            raise ConfigError("The leaked images are not pairs: their numbers or sizes differ.")
        if clean.shape[1:] != train.shape[1:]:
            raise ConfigError("The leaked images are not of the size of the protected ones.")
        return to_tensor(clean), to_tensor(protected)
