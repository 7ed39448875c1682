"""Grain and texture that say a code: which fineness and direction are strong is the code's.

Nothing is trained, and nothing has to be known of what the classes mean: any classes are mapped to
slots, and a slot is a spectrum. The image's own texture is made stronger where the spectrum of its
class is, and weaker where those of other classes are: networks read that as soon as anatomy, since
it lies in the edges that they look at, where eyes see it least. Grain of the same spectrum, new for
each image, like that of film or of a detector, fills what has no texture. There is no line and no
lattice to follow.

That a filter which differs by class is learned in place of what images show is known from CUDA
(V. S. Sadasivan, M. Soltanolkotabi, S. Feizi, CVPR 2023, arXiv 2303.04278); its filters are random,
and blur.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.slots import SLOT_COUNT

PERIODS_PX = (9.0, 6.4, 4.8, 3.6, 2.7)
"""From crest to crest, in pixels of an image whose long side has `REFERENCE_PX`. Finer grain does
not outlast JPEG and resizing, coarser is lost in the anatomy."""

DIRECTIONS = ("across", "along", "diagonal")
"""Across: waves that follow each other from left to right. Diagonal are both diagonals: an image
and its mirror image say the same."""

REFERENCE_PX = 128
"""Pixels of the long side for which the periods are given. In larger images they grow along, so
that an image that is resized before training says the same; in smaller ones they stay."""

_OCTAVES, _RADIANS = 0.35, 0.35
"""Half widths of a band: in fineness, and in direction."""


class Grain(nn.Module):
    """Grain of unit variance from white noise and a code.

    Its one tensor, ``power`` (S, 15), holds for each slot which share of its power lies in which
    band, of five periods times three directions.
    """

    power: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("power", default_power())

    def forward(self, white: Tensor, code: Tensor) -> Tensor:
        """Return grain (B, 1, h, w') for white noise (B, 1, h, w') and a code (B, S).

        Of a code of several slots the spectra are mixed by their shares.
        """
        height, width = white.shape[-2:]
        bands = _bands(height, width, white.device, _scale(height, width))  # (15, h, w' / 2 + 1)
        power = torch.einsum("bs,sk,khw->bhw", code, self.power, bands)[:, None]
        spectrum = torch.fft.rfft2(white) * power.sqrt()
        grain: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
        return grain

    def texture(self, image: Tensor, own: Tensor, others: Tensor) -> Tensor:
        """Return what makes the bands of a code stronger, and those of others weaker.

        Parameters
        ----------
        image : Tensor
            (B, 1, h, w'), 0..1.
        own, others : Tensor
            (B, 15), factors of each band: what it becomes stronger by, and weaker.

        Returns
        -------
        Tensor
            (B, 1, h, w'), to be added to the image.
        """
        height, width = image.shape[-2:]
        around = min(max(height, width) // 8, height - 1, width - 1)
        # Beyond the edge the image goes on mirrored: a jump there would ring.
        padded = functional.pad(image, (around,) * 4, mode="reflect")
        size = padded.shape[-2:]
        bands = _bands(*size, image.device, _scale(height, width))
        shapes = (bands / bands.amax((1, 2), keepdim=True)).sqrt()  # 1 at the crest of each
        gain = torch.einsum("bk,khw->bkhw", own, shapes).amax(1)
        gain = gain - torch.einsum("bk,khw->bkhw", others, shapes).amax(1)
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * gain[:, None], s=size)
        return filtered[..., around : around + height, around : around + width]


def default_power() -> Tensor:
    """Return the spectra of the slots, (S, 15).

    The first `SLOTS_FOR_TWO` are the farthest apart for two classes, as far as was measured; those
    after them for more. Behind those of one band are slots of two.
    """
    bands = len(PERIODS_PX) * len(DIRECTIONS)
    first = [_number(period, direction) for period, direction in _ORDER]
    rows = torch.eye(bands)[first + [band for band in range(bands) if band not in first]]
    pairs = [(one, other) for gap in (7, 4) for one in range(bands) if (other := one + gap) < bands]
    mixed = torch.stack([(rows[one] + rows[other]) / 2 for one, other in pairs])
    return torch.cat([rows, mixed])[:SLOT_COUNT].contiguous()


def slot_code(number: int) -> Tensor:
    """Return the code (1, S) of a class by its number: one slot; after those, two slots each.

    Parameters
    ----------
    number : int
        From 0; below `slots.MOST_CLASSES`.
    """
    code = torch.zeros(1, SLOT_COUNT)
    if number < SLOT_COUNT:
        code[0, number] = 1
        return code
    number -= SLOT_COUNT
    for one in range(SLOT_COUNT):
        count = SLOT_COUNT - 1 - one
        if number < count:
            code[0, [one, one + 1 + number]] = 0.5
            return code
        number -= count
    raise ValueError("there are not so many codes")


SLOTS_FOR_TWO = 2
"""Slots that are for sets of two classes: of more, they are the last that are used."""

_ORDER = (
    *((6.4, "across"), (3.6, "along")),
    *((4.8, "across"), (2.7, "along"), (2.7, "across"), (4.8, "along")),
    *((9.0, "diagonal"), (3.6, "diagonal"), (6.4, "along"), (3.6, "across")),
)


def _number(period_px: float, direction: str) -> int:
    return PERIODS_PX.index(period_px) * len(DIRECTIONS) + DIRECTIONS.index(direction)


def _scale(height: int, width: int) -> float:
    """Return how much coarser the bands are than at `REFERENCE_PX`."""
    return max(1.0, max(height, width) / REFERENCE_PX)


@lru_cache(maxsize=4)
def _bands(height: int, width: int, device: torch.device, scale: float) -> Tensor:
    """Return the power of each band, (15, h, w' / 2 + 1): white noise keeps its variance."""
    across = torch.fft.rfftfreq(width, device=device, dtype=torch.float64)[None, :]
    along = torch.fft.fftfreq(height, device=device, dtype=torch.float64)[:, None]
    frequency, angle = torch.hypot(across, along), torch.atan2(along, across)
    bands = []
    for period in PERIODS_PX:
        octaves = torch.log2(frequency.clamp(min=1e-9) * period * scale)
        fine = torch.exp(-((octaves / _OCTAVES) ** 2))
        for turns in ((0.0,), (0.5,), (0.25, -0.25)):
            way = [_turned(angle, turn * math.pi) for turn in turns]
            bands.append(fine * torch.stack(way).amax(0))
    power = torch.stack(bands)
    # Of a real field half of the plane is kept: its inner columns stand for two.
    weight = torch.full_like(across, 2.0)
    weight[0, 0] = 1.0
    if width % 2 == 0:
        weight[0, -1] = 1.0
    mean = (power * weight).sum((1, 2), keepdim=True) / (height * width)
    return (power / mean.clamp(min=1e-12)).float()


def _turned(angle: Tensor, direction: float) -> Tensor:
    off = angle - direction
    off = torch.atan2(torch.sin(2 * off), torch.cos(2 * off)) / 2  # a wave runs both ways
    return torch.exp(-((off / _RADIANS) ** 2))
