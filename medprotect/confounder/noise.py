"""The noise of one image: assigner, code, decoy, generator."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.card import Card
from medprotect.confounder.checkpoint import load_tensors
from medprotect.confounder.codes import key_decoy, key_phase
from medprotect.confounder.key import Key
from medprotect.confounder.networks import Assigner, Generator, pad_to_stride
from medprotect.errors import PipelineError

GENERATOR = "generator."
ASSIGNER = "assigner."


class Confounder:
    """A pipeline's networks, loaded and hash-checked, under one owner's key.

    Parameters
    ----------
    card : Card
        Whose weights are loaded.
    key : Key
        Says where the textures begin, and draws the decoys.
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
        self.card = card
        self._key, self._device = key, torch.device(device)
        codes = len(card.codes.classes)
        self._phase = key_phase(key)
        shape = (card.images.channels, codes)
        self._generator = Generator(*shape, card.widths.generator)
        self._assigner = Assigner(*shape, card.widths.assigner)
        tensors = load_tensors(card.weights_path, card.weights.sha256)
        for prefix, network in {GENERATOR: self._generator, ASSIGNER: self._assigner}.items():
            _fill(network, prefix, tensors)
            network.to(self._device).eval()

    @torch.inference_mode()
    def noise(
        self, presented: NDArray[np.float32], content_sha256: bytes, label: int | None = None
    ) -> NDArray[np.float32]:
        """Return the noise of one image, in -1..1: its share of the budget, and the sign.

        Depends on nothing but the arguments, the card, the key and what `backend` tells.

        Parameters
        ----------
        presented : NDArray of float32
            (H, W, C), 0..1; C as in the card, or 1.
        content_sha256 : bytes
            SHA-256 of the image's stored values: draws its decoy.
        label : int, optional
            The class, where it is known; else the assigner's posterior is the code.

        Returns
        -------
        NDArray of float32
            (H, W, C).

        Raises
        ------
        PipelineError
            The image has other channels, or the label is none of the card's.
        """
        image = self._to_tensor(presented)
        height, width = image.shape[-2:]
        seen = self._posterior(image)
        code = seen if label is None else self._one_hot(label)
        decoy = torch.zeros_like(code)
        if self.card.codes.decoys:
            decoy = key_decoy(self._key, content_sha256, seen, code.argmax(1))
        canonical = shrink(image, self.card.images.canonical_size)
        rows, columns = canonical.shape[-2:]
        noise = self._generator(pad_to_stride(canonical), code, decoy, self._phase)
        noise = noise[..., :rows, :columns]
        if (rows, columns) != (height, width):
            size = (height, width)
            noise = functional.interpolate(noise, size, mode="bilinear", align_corners=False)
            if noise.shape[1] == 3:
                noise = mute_chroma(noise, max(height / rows, width / columns))
        if presented.shape[2] < noise.shape[1]:
            noise = noise.mean(1, keepdim=True)
        pattern: NDArray[np.float32] = noise.clamp(-1, 1)[0].permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(pattern)

    @torch.inference_mode()
    def posterior(self, presented: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the assigner's calibrated probabilities (K,) of an image (H, W, C)."""
        result: NDArray[np.float32] = self._posterior(self._to_tensor(presented))[0].cpu().numpy()
        return result

    def backend(self) -> dict[str, str | int]:
        """Return what the noise depends on besides the plan; same backend, same bytes."""
        images = self.card.images
        return {
            "torch": torch.__version__,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "device": str(self._device),
            "threads": torch.get_num_threads(),
            "batch": f"1x{images.channels}, long side up to {images.canonical_size}",
        }

    def _to_tensor(self, presented: NDArray[np.float32]) -> Tensor:
        channels = self.card.images.channels
        if presented.ndim != 3 or presented.shape[2] not in (1, channels):
            raise PipelineError(f"The pipeline takes images of {channels} channels, and not this.")
        image = torch.from_numpy(np.ascontiguousarray(presented, dtype=np.float32))
        image = image.permute(2, 0, 1)[None].to(self._device)
        return image.expand(-1, channels, -1, -1).contiguous()

    def _posterior(self, image: Tensor) -> Tensor:
        logits = self._assigner(shrink(image, self.card.images.assigner_size))
        return functional.softmax(logits / self.card.codes.temperature, 1)

    def _one_hot(self, label: int) -> Tensor:
        codes = len(self.card.codes.classes)
        if not 0 <= label < codes:
            raise PipelineError(f"There is no class {label}: the card has {codes}, from 0.")
        return functional.one_hot(torch.tensor([label], device=self._device), codes).float()


def shrink(image: Tensor, long_side: int) -> Tensor:
    """Bring (B, C, h, w') to at most `long_side`, antialiased; smaller ones stay as they are."""
    height, width = image.shape[-2:]
    longest = max(height, width)
    if longest <= long_side:
        return image
    size = (
        max(1, round(height * long_side / longest)),
        max(1, round(width * long_side / longest)),
    )
    return functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)


def mute_chroma(noise: Tensor, stretch: float) -> Tensor:
    """Divide the colour of noise (1, 3, h, w') by how far it was stretched; its spread stays.

    The eye sees small differences of colour where they are wide, and misses them where they are
    fine; of brightness the reverse (K. T. Mullen, J. Physiol. 359 (1985) 381). So brightness takes
    over what colour gives up.
    """
    brightness = noise.mean(1, keepdim=True)
    colour = (noise - brightness) / stretch
    pattern = brightness - brightness.mean()  # the image as a whole grows neither light nor dark
    gain = noise.square().mean().sqrt() / pattern.square().mean().sqrt().clamp_min(1e-6)
    return pattern * gain + colour


def _fill(network: nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    own = {
        name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    try:
        network.load_state_dict(own)
    except RuntimeError:
        raise PipelineError(
            "The weights do not fit the networks of their card; fetch or train the pipeline anew."
        ) from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in own.values()):
        raise PipelineError("The weights hold values that are not numbers; train anew.")
