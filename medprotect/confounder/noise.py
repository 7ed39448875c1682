"""The noise of one image: assigner, code, decoy, generator."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.confounder.card import Card
from medprotect.confounder.key import Key


class Confounder:
    """A pipeline's networks, loaded and hash-checked, under one owner's key.

    Parameters
    ----------
    card : Card
        Whose weights are loaded.
    key : Key
        Orders the codes and draws the decoys.
    device : str
        A torch device.

    Raises
    ------
    HashMismatchError
        The weights are not those of the card.
    PipelineError
        The weights are missing or not of the card's networks.
    """

    def __init__(self, card: Card, key: Key, device: str = "cpu") -> None:
        self._card, self._key, self._device = card, key, device

    def noise(
        self, presented: NDArray[np.float32], content_sha256: bytes, label: int | None = None
    ) -> NDArray[np.float32]:
        """Return the noise of one image, (H, W, C) in -1..1.

        Parameters
        ----------
        presented : NDArray of float32
            (H, W, C), 0..1; C as in the card, or 1.
        content_sha256 : bytes
            SHA-256 of the image's stored values: draws its decoy.
        label : int, optional
            The class, where it is known; else the assigner's posterior is the code.
        """
        raise NotImplementedError

    def backend(self) -> dict[str, Any]:
        """Return what the noise depends on besides the plan, to be recorded by a run."""
        raise NotImplementedError
