"""Labelled images that a linear victim learns, and covers that teach it nothing of them.

What it comes to hangs neither on a seed nor on how a processor rounds: from nought its weights grow
only where images of different classes differ. Anatomy is which quarter of the rows is light; a
`cover` is which columns are, the same in all rows, so that who learned from covers sees the same
in all anatomies. Mirrored or moved by a pixel, each is still of its class.
"""

import numpy as np
from torch import nn

from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Images, Pairs

CLASSES = ("top", "upper", "lower", "bottom")
_SIDE = 16


def linear(channels: int, classes: int) -> nn.Module:
    """Return a victim that learns without chance."""
    last = nn.Linear(channels * _SIDE * _SIDE, classes)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Flatten(), last)


def bands(count: int, seed: int = 0) -> Labelled:
    labels = np.arange(count, dtype=np.int64) % 4
    rows = np.arange(_SIDE) // 4
    return Labelled(_light(rows[None, :, None] == labels[:, None, None], seed), labels)


def cover(labels: np.ndarray[tuple[int], np.dtype[np.int64]], seed: int = 9) -> Images:
    columns = np.abs(2 * np.arange(_SIDE) - _SIDE + 1) // 4
    return _light(columns[None, None, :] == labels[:, None, None], seed)


def _light(where: np.ndarray[tuple[int, int, int], np.dtype[np.bool]], seed: int) -> Images:
    """Return images that are light there, and dark and grainy elsewhere."""
    shades = np.where(where, 200, 60)
    shape = (len(where), _SIDE, _SIDE, 1)
    grain = np.random.default_rng(seed).normal(0, 10, shape)
    return (np.broadcast_to(shades[..., None], shape) + grain).clip(0, 255).astype(np.uint8)


def pairs(protected: Images | None = None, count: int = 256) -> Pairs:
    """Return bands, by default "protected" by nothing at all."""
    clean = bands(count)
    return Pairs(
        clean=clean,
        protected=clean.images if protected is None else protected,
        validation=bands(400, seed=1),
        test=bands(800, seed=2),
        classes=CLASSES,
        split="given",
    )
