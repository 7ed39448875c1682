"""The inverse, learned from leaked pairs."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure, Images
from medprotect.audit.countermeasures.restorer import Restorer, begin, fit, restore
from medprotect.audit.countermeasures.tensors import to_tensor
from medprotect.audit.halves import Labelled
from medprotect.errors import ConfigError

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
