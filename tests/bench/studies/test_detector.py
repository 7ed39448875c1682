"""How well protected images are told from clean ones."""

import numpy as np
import pytest

from medprotect.audit.attack.victims import vgg
from medprotect.bench.studies.detector import Images, area_under_curve, detect

from ...audit.stripes import stripes


def checked(images: Images, lsb: int) -> Images:
    """Lay a chequerboard on images."""
    board = 2 * (np.indices(images.shape[1:3]).sum(0)[..., None] % 2) - 1
    return (images + lsb * board).clip(0, 255).astype(np.uint8)


def area(lsb: int) -> float:
    known, tested = stripes(120, seed=1).images, stripes(200, seed=2).images
    pairs = ((known, checked(known, lsb)), (tested, checked(tested, lsb)))
    return detect(*pairs, steps=60, network=vgg)


def test_obvious_noise_is_found_in_images_never_seen() -> None:
    assert area(40) > 0.95


def test_without_noise_nothing_can_be_told() -> None:
    assert abs(area(0) - 0.5) < 0.1  # the same images twice, with scores alike but for rounding


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0], [1.0, 2.0], 0.0),
        ([1.0], [0.0, 2.0], 0.5),
        ([1.0, 1.0], [1.0], 0.5),
        ([0.5, 2.5], [0.0, 1.0, 2.0], 4 / 6),
    ],
)
def test_the_area_is_the_share_of_pairs_in_the_right_order(
    positive: list[float], negative: list[float], expected: float
) -> None:
    assert area_under_curve(np.array(positive), np.array(negative)) == pytest.approx(expected)
