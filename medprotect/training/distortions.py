"""What an attacker does to images first, differentiable: the noise is trained to outlast it.

All functions take and return images (B, C, h, w') in 0..1. The random ones draw from a
`torch.Generator` alone, so that training repeats from its seed.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_LUMINANCE_TABLE = torch.tensor(
    # Quantisation of luminance, ITU-T T.81 Annex K, table K.1.
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
_LEVEL = 128 / 255  # subtracted before the DCT, T.81 A.3.1
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def distort(images: Tensor, rng: torch.Generator, chance: float = 1.0) -> Tensor:
    """Apply to the whole batch a random flip and crop, and at a chance one distortion more."""
    images = shift(flip(images, rng), rng)
    if _uniform(0, 1, rng) >= chance:
        return images
    choices = (resize, blur, jpeg_of_any_quality, grey, window)
    return choices[int(torch.randint(len(choices), (1,), generator=rng))](images, rng)


def flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror left and right, every second batch."""
    return images.flip(-1) if _uniform(0, 1, rng) < 0.5 else images


def shift(images: Tensor, rng: torch.Generator) -> Tensor:
    """Move by up to an eighth of the side, the edge repeated: a crop after padding."""
    height, width = images.shape[-2:]
    reach = max(1, min(height, width) // 8)
    top, left = (int(torch.randint(2 * reach + 1, (1,), generator=rng)) for _ in range(2))
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    return padded[..., top : top + height, left : left + width]


def resize(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shrink to between half and the whole size, and back."""
    height, width = images.shape[-2:]
    factor = _uniform(0.5, 1, rng)
    size = (max(4, round(height * factor)), max(4, round(width * factor)))
    small = functional.interpolate(
        images, size, mode="bilinear", antialias=True, align_corners=False
    )
    return functional.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def blur(images: Tensor, rng: torch.Generator) -> Tensor:
    """Blur with a Gaussian of 0.5 to 1.5 pixels."""
    sigma = _uniform(0.5, 1.5, rng)
    offsets = torch.arange(-3, 4, device=images.device, dtype=images.dtype)
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    line = line / line.sum()
    channels = images.shape[1]
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    across = line.expand(channels, 1, 1, 7)
    rows = functional.conv2d(padded, across, groups=channels)
    return functional.conv2d(rows, across.transpose(2, 3), groups=channels)


def grey(images: Tensor, _rng: torch.Generator) -> Tensor:
    """Replace colour by its luminance."""
    return luminance(images).expand_as(images)


def window(images: Tensor, rng: torch.Generator) -> Tensor:
    """Change contrast, brightness and gamma, as another window would."""
    contrast, brightness = _uniform(0.7, 1.4, rng), _uniform(-0.1, 0.1, rng)
    gamma = _uniform(0.7, 1.4, rng)
    changed = ((images - 0.5) * contrast + 0.5 + brightness).clamp(1e-4, 1)
    return changed**gamma


def jpeg_of_any_quality(images: Tensor, rng: torch.Generator) -> Tensor:
    """Pass through JPEG at a quality of 10 to 90."""
    return jpeg(images, _uniform(10, 90, rng))


def jpeg(images: Tensor, quality: float) -> Tensor:
    """Pass through a JPEG: 8x8 DCT, quantised with the gradient of the identity.

    Parameters
    ----------
    images : Tensor
        (B, C, h, w'), C 1 or 3. Colour is quantised in luminance; of the two differences of
        colour only every second pixel each way is kept (4:2:0), which is what weighs most.
    quality : float
        1 to 100, as in the IJG's encoder.
    """
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    table = (_LUMINANCE_TABLE * scale + 0.5).floor().clamp(1, 255).to(images) / 255
    brightness = luminance(images)
    coded = _quantise_blocks(brightness, table)
    if images.shape[1] == 1:
        return coded.clamp(0, 1)
    height, width = images.shape[-2:]
    colour = functional.avg_pool2d(images - brightness, 2, ceil_mode=True)
    colour = functional.interpolate(colour, (height, width), mode="bilinear", align_corners=False)
    return (coded + colour).clamp(0, 1)


def luminance(images: Tensor) -> Tensor:
    """Return the luminance (B, 1, h, w') of colour images; grey ones as they are."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(_GREY, device=images.device, dtype=images.dtype)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def _quantise_blocks(plane: Tensor, table: Tensor) -> Tensor:
    """Quantise (B, 1, h, w') in the DCT of its 8x8 blocks."""
    height, width = plane.shape[-2:]
    padded = functional.pad(plane - _LEVEL, (0, -width % 8, 0, -height % 8), mode="replicate")
    down, right = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.reshape(-1, down, 8, right, 8).transpose(2, 3)  # (B, down, right, 8, 8)
    basis = _dct().to(plane)
    coefficients = basis @ blocks @ basis.T / table
    rounded = coefficients + (coefficients.round() - coefficients).detach()
    blocks = basis.T @ (rounded * table) @ basis
    coded = blocks.transpose(2, 3).reshape(-1, 1, 8 * down, 8 * right)
    return coded[..., :height, :width] + _LEVEL


def _dct() -> Tensor:
    """Return the orthonormal 8-point DCT-II, (8 frequencies, 8 samples)."""
    frequency = torch.arange(8.0)[:, None]
    sample = torch.arange(8.0)[None, :]
    basis = torch.cos((2 * sample + 1) * frequency * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _uniform(low: float, high: float, rng: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))
