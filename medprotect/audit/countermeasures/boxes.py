"""Rectangles at random places."""

import torch
from torch import Tensor


def place_boxes(count: int, size: tuple[int, int], share: float, rng: torch.Generator) -> Tensor:
    """Return bool (count, 1, h, w), true within a box of `share` of each side.

    Its centre may lie anywhere in the image, so that part of it may lie outside.
    """
    inside = [_stretch(count, length, share, rng) for length in size]
    return inside[0][:, None, :, None] & inside[1][:, None, None, :]


def _stretch(count: int, length: int, share: float, rng: torch.Generator) -> Tensor:
    """Return bool (count, length), true within `share` of it around a random centre."""
    covered = round(share * length)
    first = torch.randint(length, (count, 1), generator=rng) - covered // 2
    places = torch.arange(length)
    return (places >= first) & (places < first + covered)
