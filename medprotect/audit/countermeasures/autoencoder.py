"""Purification by an autoencoder."""

import torch
from torch import Tensor
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure, Images
from medprotect.audit.countermeasures.restorer import Restorer, begin, fit, other_images, restore
from medprotect.audit.halves import Labelled

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
