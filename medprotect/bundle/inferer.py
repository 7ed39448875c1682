"""Running the network under the owner's key."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer

from medprotect.confounder.along_z import COHERENT, check_along_z
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key, default_key_path
from medprotect.confounder.noise import (
    GrainNetwork,
    NoiseNetwork,
    fill,
    key_noise,
    network_arguments,
)
from medprotect.errors import ConfigError, PipelineError
from medprotect.protect.transforms import Carried

HASHES = "content_sha256"
"""Key of the meta data of presented values under which the hashes of their images stand."""


def find_key(key_file: str) -> Key:
    """Return the owner's key: of a file, or of the user's configuration folder for "".

    Raises
    ------
    KeyFileError
        There is none, or it can be read by others.
    """
    return Key.load(Path(key_file).expanduser() if key_file else default_key_path())


class NoiseInferer(Inferer):
    """Makes the noise of each image by itself, as `medprotect run` does.

    Parameters
    ----------
    key_file : str
        The owner's key; "" for that of the user's configuration folder. Read when it is needed.
    along_z : str
        ``coherent`` or ``independent``; see `medprotect.confounder.along_z`.

    Raises
    ------
    ConfigError
        There is no such way along z.
    """

    def __init__(self, key_file: str = "", along_z: str = COHERENT) -> None:
        super().__init__()
        self._key_file, self._along_z = key_file, check_along_z(along_z)
        self._key: Key | None = None

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., Any], *_args: Any, **_kwargs: Any
    ) -> torch.Tensor:
        """Return noise in -1..1 for presented values (B, C, H, W) or (B, C, H, W, N).

        Raises
        ------
        ConfigError
            The network is not one of a pipeline.
        """
        if not isinstance(network, NoiseNetwork | GrainNetwork):
            raise ConfigError("The network is not a NoiseNetwork, and no GrainNetwork.")
        if self._key is None:
            self._key = find_key(self._key_file)
        hashes = _hashes(inputs)
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        noise = torch.empty_like(plain)
        for at, item in enumerate(plain):
            planes = item if item.ndim == 4 else item[..., None]
            made = noise[at] if item.ndim == 4 else noise[at][..., None]
            for index in range(planes.shape[-1]):
                presented = planes[..., index].permute(1, 2, 0).cpu().numpy()
                known = hashes[at][index] if hashes else _digest(presented)
                pattern = key_noise(network, self._key, presented, known, along_z=self._along_z)
                made[..., index] = torch.from_numpy(pattern).permute(2, 0, 1)
        return noise


def _hashes(inputs: torch.Tensor) -> list[list[bytes]]:
    """Return the hashes of the images of each item; none where the meta data has none."""
    carried = inputs.meta.get(HASHES) if isinstance(inputs, MetaTensor) else None
    items = [carried] if isinstance(carried, Carried) else carried or []
    return [hashes for each in items if isinstance(hashes := each.value, list)]


def _digest(presented: np.ndarray[Any, Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(presented).data).digest()


class WeightsLoader:
    """A handler that fills the network with the pipeline's weights, hash-checked, at the start.

    Parameters
    ----------
    network : NoiseNetwork or GrainNetwork
        To be filled.
    folder : str
        Of the pipeline.
    """

    def __init__(self, network: NoiseNetwork | GrainNetwork, folder: str) -> None:
        self._network, self._folder = network, Path(folder)

    def attach(self, engine: Any) -> None:
        """Register with an ignite engine."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, _engine: Any = None) -> None:
        """Fill the network.

        Raises
        ------
        PipelineError
            The configs were written for other weights, or the weights are damaged.
        """
        card = load_card(self._folder)
        expected = network_arguments(card).items()
        # The widths are no attributes: weights of others do not fit.
        if any(getattr(self._network, name, value) != value for name, value in expected):
            raise PipelineError(
                "The configs are not those of the card; write them again: "
                "python -m medprotect.bundle.layout FOLDER."
            )
        fill(self._network, card)
