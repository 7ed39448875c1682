"""Images for tests of intensity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.imaging.image import Image


def make_image(stored: NDArray[Any], **fields: Any) -> Image:
    """An image over the whole range of its dtype."""
    limits = np.finfo(stored.dtype) if stored.dtype.kind == "f" else np.iinfo(stored.dtype)
    return Image(
        **{"stored": stored, "lowest": float(limits.min), "highest": float(limits.max)} | fields
    )


def make_anatomy(dtype: str = "int16", size: int = 48, low: int = -900, high: int = 1200) -> Any:
    """Something like a slice: smooth, with noise, in no place constant."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:size, :size] / size
    smooth = (np.sin(5 * rows) * np.cos(4 * columns) + 1) / 2
    values = low + (high - low) * smooth + random.normal(0, 5, (size, size))
    return values.clip(low, high).astype(dtype)


def make_texture(dtype: str = "int16", size: int = 48, low: int = -900, high: int = 1200) -> Any:
    """Restless everywhere, so that a strength counts in full."""
    values = np.random.default_rng(6).uniform(low, high, (size, size))
    return np.rint(values).astype(dtype)
