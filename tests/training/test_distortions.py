"""Distortions: what real tools do, with gradients, from a seed."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut
from torch import Tensor

from medprotect.training import distortions
from medprotect.training.distortions import blur, distort, grey, jpeg, luminance, window

Random = Callable[[Tensor, torch.Generator], Tensor]
RANDOM = [
    distortions.flip,
    distortions.shift,
    distortions.resize,
    distortions.blur,
    distortions.grey,
    distortions.window,
    distortions.jpeg_of_any_quality,
    distort,
]


def picture(channels: int, height: int = 64, width: int = 64) -> Tensor:
    colour = torch.from_numpy(astronaut()[100 : 100 + height, 180 : 180 + width].copy())
    images = colour.permute(2, 0, 1)[None].float() / 255
    return images if channels == 3 else luminance(images)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("change", RANDOM)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(64, 64), (28, 28), (19, 33), (5, 6)])
def test_shape_and_range_are_kept(change: Random, channels: int, size: tuple[int, int]) -> None:
    images = picture(channels, *size)
    for seed in range(8):
        changed = change(images, rng(seed))
        assert changed.shape == images.shape
        assert bool(torch.isfinite(changed).all())
        assert float(changed.min()) >= -1e-5
        assert float(changed.max()) <= 1 + 1e-5


@pytest.mark.parametrize("change", RANDOM)
def test_the_same_seed_gives_the_same_images(change: Random) -> None:
    images = picture(3)
    assert torch.equal(change(images, rng(5)), change(images, rng(5)))


@pytest.mark.parametrize("change", RANDOM)
def test_gradients_reach_the_noise(change: Random) -> None:
    for seed in range(8):
        images = picture(3).requires_grad_()
        change(images, rng(seed)).square().sum().backward()
        assert images.grad is not None
        assert float(images.grad.abs().sum()) > 0
        assert bool(torch.isfinite(images.grad).all())


def real_jpeg(images: Tensor, quality: int) -> Tensor:
    array = (images[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8).squeeze()
    stream = BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=quality)
    coded = np.asarray(Image.open(stream)).reshape(*array.shape[:2], -1)
    return torch.from_numpy(coded.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90])
def test_grey_jpeg_agrees_with_a_real_encoder(quality: int) -> None:
    images = (picture(1) * 255).round() / 255
    difference = jpeg(images, quality) - real_jpeg(images, quality)
    assert float(difference.abs().mean()) < 0.004


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_colour_jpeg_is_nearer_to_a_real_one_than_the_original_is(quality: int) -> None:
    images = (picture(3) * 255).round() / 255
    real = real_jpeg(images, quality)
    assert float((jpeg(images, quality) - real).square().mean()) < 0.75 * float(
        (images - real).square().mean()
    )


def test_jpeg_of_a_size_that_is_no_multiple_of_eight_keeps_the_picture() -> None:
    images = picture(1, 19, 33)
    assert float((jpeg(images, 90) - images).abs().mean()) < 0.02


def test_grey_leaves_luminance_and_nothing_else() -> None:
    images = picture(3)
    shade = grey(images, rng())
    assert torch.allclose(luminance(shade), luminance(images), atol=1e-5)
    assert torch.equal(shade[:, 0], shade[:, 2])


def test_blur_keeps_a_flat_image_and_lowers_detail() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert torch.allclose(blur(flat, rng()), flat, atol=1e-6)
    assert float(blur(picture(3), rng()).std()) < float(picture(3).std())


def test_a_window_keeps_the_order_of_grey_values() -> None:
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 1, 8, 64)
    for seed in range(10):
        shown = window(ramp, rng(seed))[0, 0, 0]
        assert bool((shown.diff() >= 0).all())


def test_without_chance_images_are_flipped_and_moved_alone() -> None:
    images = picture(3)
    for seed in range(8):
        draws = rng(seed)
        moved = distortions.shift(distortions.flip(images, draws), draws)
        assert torch.equal(distort(images, rng(seed), 0.0), moved)


def test_at_full_chance_something_nearly_always_is() -> None:
    images = picture(3)
    changed = [not torch.equal(distort(images, rng(seed), 1.0), images) for seed in range(20)]
    assert sum(changed) >= 19
