"""The noise of one image: assigner, code, decoy, generator."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.along_z import COHERENT, check_along_z
from medprotect.confounder.card import GAIN, GRAIN, Card
from medprotect.confounder.codes import key_decoy, key_phase, key_seed, key_slots, slice_phase
from medprotect.confounder.grain import Grain, slot_code
from medprotect.confounder.key import Key
from medprotect.confounder.networks import Assigner, Generator, pad_to_stride
from medprotect.confounder.slots import MOST_CLASSES, SLOT_COUNT
from medprotect.confounder.weights import load_tensors
from medprotect.errors import PipelineError

GENERATOR = "generator."
ASSIGNER = "assigner."

_LEAST_BOUND = 1e-6
"""Of a budget, to divide by: where there is none, what noise says is of no account."""

_BESIDE_TEXTURE = 0.5
"""Of the grain, what is left where texture says the code, too."""

_MOST_WEAKENED = 3
"""Other classes whose bands are weakened in full."""

UNET_SHARE = 0.5
"""Of the budget, what a generator's noise takes: nearly all of that is at its bound, where grain
seldom reaches it, and would be seen."""


class NoiseNetwork(nn.Module):
    """Assigner and generator as one network: images in, their noise out.

    Its state dict has the names of a pipeline's weights file.

    Parameters
    ----------
    channels, codes : int
        C of the images, and K.
    generator_width, assigner_width : int
        Channels of the first level of each.
    canonical_size, assigner_size : int
        See `medprotect.confounder.card.Images`.
    temperature : float
        Of the assigner.
    decoys : bool
        Whether the noise is to show a wrong class; which one, the key says.
    gain : float
        See `medprotect.confounder.card.Noise`.
    """

    def __init__(
        self,
        channels: int,
        codes: int,
        generator_width: int,
        assigner_width: int,
        canonical_size: int,
        assigner_size: int,
        temperature: float = 1.0,
        decoys: bool = False,
        gain: float = GAIN,
    ) -> None:
        super().__init__()
        self.channels, self.codes, self.decoys = channels, codes, decoys
        self.canonical_size, self.assigner_size = canonical_size, assigner_size
        self.temperature, self.gain = temperature, gain
        self.generator = Generator(channels, codes, generator_width)
        self.assigner = Assigner(channels, codes, assigner_width)

    def forward(
        self,
        image: Tensor,
        code: Tensor | None = None,
        decoy: Tensor | None = None,
        phase: tuple[int, int] = (0, 0),
    ) -> Tensor:
        """Return noise (B, C, H, W) in -1..1 for presented values (B, C, H, W) in 0..1.

        Without a code (B, K), the assigner's posterior is the code; without a decoy there is none.
        """
        return self.unbounded(image, code, decoy, phase).clamp(-1, 1)

    def unbounded(
        self,
        image: Tensor,
        code: Tensor | None = None,
        decoy: Tensor | None = None,
        phase: tuple[int, int] = (0, 0),
    ) -> Tensor:
        """Return the noise before it is bounded: muted colour can leave -1..1 a little."""
        if code is None:
            code = self.posterior(image)
        if decoy is None:
            decoy = torch.zeros_like(code)
        height, width = image.shape[-2:]
        canonical = shrink(image, self.canonical_size)
        rows, columns = canonical.shape[-2:]
        noise: Tensor = self.generator(pad_to_stride(canonical), code, decoy, phase, self.gain)
        noise = noise[..., :rows, :columns]
        if (rows, columns) != (height, width):
            size = (height, width)
            noise = functional.interpolate(noise, size, mode="bilinear", align_corners=False)
            if noise.shape[1] == 3:
                noise = mute_chroma(noise, max(height / rows, width / columns))
        return noise

    def posterior(self, image: Tensor) -> Tensor:
        """Return the assigner's calibrated probabilities (B, K) of images (B, C, H, W)."""
        logits: Tensor = self.assigner(shrink(image, self.assigner_size))
        return functional.softmax(logits / self.temperature, 1)


class GrainNetwork(nn.Module):
    """Grain, the image's own texture and, where there is one, an assigner: images in, noise out.

    The noise is the same in all channels. Its state dict has the names of a pipeline's weights
    file.

    Parameters
    ----------
    channels, codes, canonical_size, assigner_size, temperature
        As of `NoiseNetwork`.
    assigner_width : int
        Channels of the assigner's first level; 0 where there is none.
    gain : float
        Spread of the grain, as a share of the budget, before it is bounded.
    stronger, weaker : float
        See `medprotect.confounder.card.Noise`.
    """

    decoys = False

    def __init__(
        self,
        channels: int,
        codes: int,
        canonical_size: int,
        assigner_size: int,
        assigner_width: int = 0,
        temperature: float = 1.0,
        gain: float = GAIN,
        stronger: float = 0.0,
        weaker: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels, self.codes = channels, codes
        self.canonical_size, self.assigner_size = canonical_size, assigner_size
        self.temperature, self.gain = temperature, gain
        self.stronger, self.weaker = stronger, weaker
        self.generator = Grain()
        self.assigner = Assigner(channels, codes, assigner_width) if assigner_width else None

    def forward(
        self,
        image: Tensor,
        code: Tensor | None = None,
        seed: int = 0,
        others: Tensor | None = None,
        bound: Tensor | None = None,
    ) -> Tensor:
        """Return noise (B, C, H, W) in -1..1 for presented values (B, C, H, W) in 0..1.

        Parameters
        ----------
        code : Tensor, optional
            (B, S), shares of the slots; without one, of all alike, which says nothing.
        seed : int
            Draws the grain.
        others : Tensor, optional
            (O, S), the codes of all other classes.
        bound : Tensor, optional
            (B, 1, H, W), the budget in presented values. Without it there is grain alone: how much
            stronger texture is made goes by itself, not by the budget.
        """
        batch, channels, height, width = image.shape
        if code is None:
            code = torch.full((batch, SLOT_COUNT), 1 / SLOT_COUNT, device=image.device)
        rows, columns = _fitted(height, width, self.canonical_size)
        rng = torch.Generator().manual_seed(seed)
        white = torch.randn((batch, 1, rows, columns), generator=rng).to(image.device)
        with_texture = bound is not None and self.stronger > 0 and min(rows, columns) > 1
        gain = self.gain * (_BESIDE_TEXTURE if with_texture else 1)
        noise: Tensor = gain * self.generator(white, code)
        if (rows, columns) != (height, width):
            size = (height, width)
            noise = functional.interpolate(noise, size, mode="bilinear", align_corners=False)
        if bound is not None and with_texture:
            noise = noise + self._texture(image, code, others) / bound.clamp(min=_LEAST_BOUND)
        return noise.clamp(-1, 1).expand(-1, channels, -1, -1)

    def _texture(self, image: Tensor, code: Tensor, others: Tensor | None) -> Tensor:
        """Return how the image's own texture is to change, (B, 1, H, W), in presented values."""
        own = self.stronger * (code @ self.generator.power).clamp(max=1)
        less = torch.zeros_like(own)
        if others is not None and len(others):
            # Where there are many others, nearly all bands are theirs.
            share = self.weaker * min(1.0, _MOST_WEAKENED / len(others))
            less = share * (others @ self.generator.power).amax(0).clamp(max=1).expand_as(own)
        small = shrink(image.mean(1, keepdim=True), self.canonical_size)
        changed = self.generator.texture(small, own, torch.where(own > 0, 0, less))
        size = (image.shape[-2], image.shape[-1])
        if changed.shape[-2:] != size:
            changed = functional.interpolate(changed, size, mode="bilinear", align_corners=False)
        return changed

    def posterior(self, image: Tensor) -> Tensor:
        """Return the assigner's calibrated probabilities (B, K); all alike where there is none."""
        if self.assigner is None:
            return torch.full((len(image), self.codes), 1 / self.codes, device=image.device)
        logits: Tensor = self.assigner(shrink(image, self.assigner_size))
        return functional.softmax(logits / self.temperature, 1)


def make_network(card: Card) -> NoiseNetwork | GrainNetwork:
    """Return the networks of a card, not filled."""
    arguments = network_arguments(card)
    return GrainNetwork(**arguments) if card.noise.carrier == GRAIN else NoiseNetwork(**arguments)


def network_arguments(card: Card) -> dict[str, Any]:
    """Return what the networks of a card are made with, by name."""
    if card.noise.carrier == GRAIN:
        return {
            "channels": card.images.channels,
            "codes": len(card.codes.classes),
            "canonical_size": card.images.canonical_size,
            "assigner_size": card.images.assigner_size,
            "assigner_width": card.widths.assigner,
            "temperature": card.codes.temperature,
            "gain": card.noise.gain,
            "stronger": card.noise.stronger,
            "weaker": card.noise.weaker,
        }
    return {
        "channels": card.images.channels,
        "codes": len(card.codes.classes),
        "generator_width": card.widths.generator,
        "assigner_width": card.widths.assigner,
        "canonical_size": card.images.canonical_size,
        "assigner_size": card.images.assigner_size,
        "temperature": card.codes.temperature,
        "decoys": card.codes.decoys,
        "gain": card.noise.gain,
    }


def fill(network: nn.Module, card: Card) -> None:
    """Fill the networks of a card with its weights, hash-checked.

    Raises
    ------
    HashMismatchError
        The weights are not those of the card.
    PipelineError
        The weights are missing, or not of these networks.
    """
    tensors = load_tensors(card.weights_path, card.weights.sha256)
    own = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if name.startswith((GENERATOR, ASSIGNER))
    }
    try:
        network.load_state_dict(own)
    except RuntimeError:
        raise PipelineError(
            "The weights do not fit the networks of their card. Fetch or train the pipeline again."
        ) from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in own.values()):
        raise PipelineError(
            "The weights hold values that are not numbers. Train the pipeline again."
        )


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
    along_z : str
        ``coherent`` or ``independent``; see `medprotect.confounder.along_z`.
    classes : int, optional
        How many classes the labels have, where they are not those of the card: grain says any.

    Raises
    ------
    HashMismatchError
        The weights are not those of the card.
    PipelineError
        The weights are missing or not of the card's networks.
    ConfigError
        There is no such way along z.
    """

    def __init__(
        self,
        card: Card,
        key: Key,
        device: str = "cpu",
        *,
        along_z: str = COHERENT,
        classes: int | None = None,
    ) -> None:
        self.card = card
        self._along_z, self._classes = check_along_z(along_z), classes
        self._key, self._device = key, torch.device(device)
        self._network = make_network(card)
        fill(self._network, card)
        self._network.to(self._device).eval()

    def noise(
        self,
        presented: NDArray[np.float32],
        content_sha256: bytes,
        label: int | None = None,
        bound: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the noise of one image; see `key_noise`."""
        return key_noise(
            self._network,
            self._key,
            presented,
            content_sha256,
            label,
            bound,
            along_z=self._along_z,
            classes=self._classes,
        )

    @torch.inference_mode()
    def posterior(self, presented: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the assigner's calibrated probabilities (K,) of an image (H, W, C)."""
        image = _to_tensor(presented, self._network)
        result: NDArray[np.float32] = self._network.posterior(image)[0].cpu().numpy()
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


@torch.inference_mode()
def key_noise(
    network: NoiseNetwork | GrainNetwork,
    key: Key,
    presented: NDArray[np.float32],
    content_sha256: bytes,
    label: int | None = None,
    bound: NDArray[np.float32] | None = None,
    *,
    along_z: str = COHERENT,
    classes: int | None = None,
) -> NDArray[np.float32]:
    """Return the noise of one image under a key, in -1..1: its share of the budget, and the sign.

    That of a generator takes `UNET_SHARE` of it.

    Depends on nothing but the arguments and what `Confounder.backend` tells.

    Parameters
    ----------
    network : NoiseNetwork or GrainNetwork
        Filled, in evaluation mode.
    key : Key
        The owner's.
    presented : NDArray of float32
        (H, W, C), 0..1; C as in the card, or 1.
    content_sha256 : bytes
        SHA-256 of the image's stored values: draws its decoy, and where its textures begin.
    label : int, optional
        The class, where it is known; else the assigner's posterior is the code.
    bound : NDArray of float32, optional
        (H, W), the budget in presented values: by it the image's own texture is changed, too.
    along_z : str
        Whether the textures of all images begin at one place (``coherent``), or those of each at
        its own (``independent``). Grain is each image's own, like a detector's.
    classes : int, optional
        How many classes there are, of which the label is one; else those of the networks.

    Returns
    -------
    NDArray of float32
        (H, W, C).

    Raises
    ------
    PipelineError
        The image has other channels, or the label is none of the card's.
    """
    image = _to_tensor(presented, network)
    if isinstance(network, GrainNetwork):
        code, others = _slots(network, key, image, label, classes or network.codes)
        limit = None if bound is None else torch.from_numpy(bound)[None, None].to(image.device)
        seed = key_seed(key, content_sha256)
        return _to_array(network(image, code, seed, others, limit)[:, :1])
    seen = network.posterior(image)
    code = seen if label is None else _one_hot(label, seen)
    decoy = None
    if network.decoys:
        decoy = key_decoy(key, content_sha256, seen, code.argmax(1))
    phase = key_phase(key) if along_z == COHERENT else slice_phase(key, content_sha256)
    noise = network.unbounded(image, code, decoy, phase)
    if presented.shape[2] < noise.shape[1]:
        noise = noise.mean(1, keepdim=True)
    return _to_array(UNET_SHARE * noise.clamp(-1, 1))


def _slots(
    network: GrainNetwork, key: Key, image: Tensor, label: int | None, classes: int
) -> tuple[Tensor, Tensor | None]:
    """Return the shares (1, S) of the slots of a class, and those of the others (O, S).

    Where the class is not known, the assigner's posterior shares out the slots, and there are no
    others.
    """
    if not 1 <= classes <= MOST_CLASSES:
        raise PipelineError(f"Grain says {MOST_CLASSES} classes at most, and there are {classes}.")
    if label is not None and not 0 <= label < classes:
        raise PipelineError(f"There is no class {label}: there are {classes}, from 0.")
    slots = key_slots(key, classes)
    if label is not None:
        known = torch.cat([slot_code(slot) for slot in slots]).to(image.device)
        rest = [number for number in range(classes) if number != label]
        return known[label : label + 1], known[rest]
    if network.assigner is None:
        return torch.full((1, SLOT_COUNT), 1 / SLOT_COUNT, device=image.device), None
    codes = torch.cat([slot_code(slot) for slot in slots[: network.codes]]).to(image.device)
    return network.posterior(image) @ codes, None


def _to_array(noise: Tensor) -> NDArray[np.float32]:
    pattern: NDArray[np.float32] = noise[0].permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pattern)


def _to_tensor(presented: NDArray[np.float32], network: NoiseNetwork | GrainNetwork) -> Tensor:
    channels = network.channels
    if presented.ndim != 3 or presented.shape[2] not in (1, channels):
        raise PipelineError(f"The pipeline takes only images of {channels} channels.")
    image = torch.from_numpy(np.ascontiguousarray(presented, dtype=np.float32))
    image = image.permute(2, 0, 1)[None].to(next(iter(network.state_dict().values())).device)
    return image.expand(-1, channels, -1, -1).contiguous()


def _one_hot(label: int, like: Tensor) -> Tensor:
    codes = like.shape[1]
    if not 0 <= label < codes:
        raise PipelineError(f"There is no class {label}: the card has {codes}, from 0.")
    return functional.one_hot(torch.tensor([label], device=like.device), codes).float()


def shrink(image: Tensor, long_side: int) -> Tensor:
    """Bring (B, C, h, w') to at most `long_side`, antialiased; smaller ones stay as they are."""
    height, width = image.shape[-2:]
    size = _fitted(height, width, long_side)
    if size == (height, width):
        return image
    return functional.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)


def _fitted(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Return rows and columns of an image brought to at most `long_side`."""
    longest = max(height, width)
    if longest <= long_side:
        return height, width
    return max(1, round(height * long_side / longest)), max(1, round(width * long_side / longest))


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
