"""How restless an image is around each pixel: noise hides in texture, and shows on what is smooth.

Contrast masking (G. E. Legge, J. M. Foley, J. Opt. Soc. Am. 70 (1980) 1458): beside a pattern of
like fineness, a second one must be about as strong to be seen; on an even ground it is seen sooner.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_GRID = 256
"""Long side on which texture is looked for; what is finer hides little of noise so much coarser."""

_NEIGHBOURHOODS = 64
"""How many fit into the long side: as many as the noise has cells there."""


def texture_spread(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the spread of the texture around each pixel.

    That is the root mean square of what remains of a neighbourhood without its mean: a slope is no
    texture. Beside an edge, the quieter side counts: noise would be seen there.

    Parameters
    ----------
    values : NDArray
        (H, W) of one channel, in any unit; what is not a number counts as 0.

    Returns
    -------
    NDArray of float64
        (H, W), >= 0, in the unit of `values`.
    """
    from scipy.ndimage import uniform_filter

    largest = 1.0
    if values.dtype.kind == "f":  # whatever the unit, squares must not overflow
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        largest = float(np.abs(values).max()) or 1.0
        values = values / largest
    factor = -(-max(values.shape) // _GRID)
    small = _shrink(values, factor)
    side = max(3, round(max(small.shape) / _NEIGHBOURHOODS) | 1)
    rest = small - uniform_filter(small, side, mode="nearest")
    energy = uniform_filter(rest * rest, side, mode="nearest")
    if factor == 1:
        energy = _least_around(energy, side // 2)
    else:  # smooth again, or the steps of the minimum would be seen
        energy = _least_around(energy, side - 1)
        energy = uniform_filter(energy, side, mode="nearest")
    spread: NDArray[np.float64] = np.sqrt(np.maximum(energy, 0)) * largest
    height, width = values.shape
    squares = np.broadcast_to(
        spread[:, None, :, None], (spread.shape[0], factor, spread.shape[1], factor)
    )
    return squares.reshape(spread.shape[0] * factor, -1)[:height, :width]


def _shrink(values: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Return the means of squares of `factor` pixels a side."""
    if factor == 1:
        return values.astype(np.float64)
    height, width = values.shape
    padded = np.pad(values, ((0, -height % factor), (0, -width % factor)), mode="edge")
    if values.dtype.kind == "f":
        squares = padded.reshape(len(padded) // factor, factor, -1, factor)
        means: NDArray[np.float64] = squares.mean((1, 3), dtype=np.float64)
        return means
    # Sums of whole numbers are exact in any order: whole rows first is several times as fast.
    rows = padded[::factor].astype(np.int64)
    for first in range(1, factor):
        rows += padded[first::factor]
    sums = rows[:, ::factor].copy()
    for first in range(1, factor):
        sums += rows[:, first::factor]
    return sums / (factor * factor)


def _least_around(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Return the least value within `reach` rows and columns of each; the edge goes on outside.

    In steps that double: the least of so many neighbours is that of two halves.
    """
    least = np.pad(values, reach, mode="edge")
    for _ in range(2):
        least = np.ascontiguousarray(least.T)
        done, side = 1, 2 * reach + 1
        while done < side:
            step = min(done, side - done)
            least = np.minimum(least[:-step], least[step:])
            done += step
    return least
