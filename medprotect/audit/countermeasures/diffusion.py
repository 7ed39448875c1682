"""Purification by diffusion."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure, Images
from medprotect.audit.countermeasures.restorer import Restorer, begin, fit, other_images, restore
from medprotect.audit.halves import Labelled

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
