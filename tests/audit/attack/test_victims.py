"""Victims take what an export may hold, at its own resolution."""

import pytest
import torch
from torch import nn

from medprotect.audit.attack.victims import VICTIMS, Stem


@pytest.mark.parametrize("name", list(VICTIMS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_victim_takes_grey_and_colour_of_any_size(name: str, channels: int) -> None:
    for side in (28, 45, 100):
        network = VICTIMS[name](channels, 5).eval()
        with torch.no_grad():
            assert network(torch.zeros(2, channels, side, side)).shape == (2, 5)


def stem(channels: int) -> Stem:
    return Stem(nn.Conv2d(channels, 4, 3, padding=1))


@pytest.mark.parametrize(
    ("side", "left"),
    [(8, 8), (28, 28), (32, 32), (63, 63), (64, 32), (100, 50), (128, 32), (224, 56)],
)
def test_a_stem_halves_large_images_alone(side: int, left: int) -> None:
    assert stem(3)(torch.zeros(1, 3, side, side)).shape == (1, 4, left, left)


def test_a_stem_goes_by_the_short_side() -> None:
    assert stem(1)(torch.zeros(1, 1, 200, 32)).shape == (1, 4, 200, 32)
