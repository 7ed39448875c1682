"""Plasma fractals: clouds of random shade."""

import torch
from torch import Tensor
from torch.nn import functional


def draw_plasma(
    size: tuple[int, int, int, int], roughness: tuple[float, float], rng: torch.Generator
) -> Tensor:
    """Return fractals (B, C, h, w), each from 0 to 1.

    By midpoint displacement (A. Fournier, D. Fussell, L. Carpenter, *Computer rendering of
    stochastic models*, CACM 1982): from a grid of 3 x 3 random values, each step halves the
    distance of the points and adds random values that are smaller by the roughness.

    Parameters
    ----------
    size : tuple of int
        (B, C, h, w).
    roughness : tuple of float
        Least and most, drawn for each image, in 0..1: near 0 is smooth, 1 is white noise.
    """
    count, channels, height, width = size
    low, high = roughness
    factor = low + (high - low) * torch.rand(count, 1, 1, 1, generator=rng)
    side, scale = 3, torch.ones(1)
    plasma = torch.rand(count, channels, side, side, generator=rng)
    while side < max(height, width):
        side, scale = 2 * side - 1, scale * factor
        plasma = functional.interpolate(plasma, (side, side), mode="bilinear", align_corners=True)
        plasma = plasma + scale * (torch.rand(plasma.shape, generator=rng) - 0.5)
    plasma = plasma[..., :height, :width]
    low_values, high_values = plasma.amin((2, 3), True), plasma.amax((2, 3), True)
    return (plasma - low_values) / (high_values - low_values).clamp(min=1e-6)
