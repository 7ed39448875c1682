"""What is done to images before training, without learning."""

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.before_training import (
    Background,
    Bilateral,
    Blur,
    Grey,
    HalfSize,
    Jpeg,
    Median,
    NonLocalMeans,
    Normalise,
    Posterise,
    Window,
    find_background,
)
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.halves import Labelled

from .scenes import Images, distance, recoded, scenes, speckle

SMOOTHING = ["blur-0.5", "blur-1", "half-size", "median", "bilateral", "non-local-means"]


def shaded(channels: int) -> Images:
    """Images without edges, 32 x 32: a ramp each."""
    ramp = np.linspace(60, 190, 32).round().astype(np.uint8)
    return np.broadcast_to(ramp[None, :, None, None], (3, 32, 32, channels)).copy()


def point(channels: int = 1) -> Images:
    """One image, black but for one white pixel."""
    image = np.zeros((1, 15, 15, channels), np.uint8)
    image[0, 7, 7] = 255
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMOOTHING)
def test_smoothing_takes_noise_away(name: str, channels: int) -> None:
    clean = shaded(channels)
    noisy = speckle(clean)
    left = distance(COUNTERMEASURES[name]().treat(noisy), clean)
    assert left < 0.8 * distance(noisy, clean)


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMOOTHING)
def test_smoothing_leaves_a_flat_image(name: str, channels: int, value: int) -> None:
    flat = np.full((2, 12, 12, channels), value, np.uint8)
    assert np.array_equal(COUNTERMEASURES[name]().treat(flat), flat)


@pytest.mark.parametrize("sigma", [0.5, 1, 1.5])
def test_a_blurred_point_is_a_gaussian_of_that_sigma(sigma: float) -> None:
    blurred = Blur(sigma).treat(point())[0, ..., 0].astype(float)
    distances = np.arange(15) - 7
    gaussian = np.exp(-(distances**2) / (2 * sigma**2))
    gaussian /= gaussian.sum()
    assert np.abs(blurred - 255 * np.outer(gaussian, gaussian)).max() < 1


def test_blur_mixes_neither_channels_nor_images() -> None:
    images = np.zeros((3, 9, 9, 3), np.uint8)
    images[1, 4, 4, 2] = 255
    changed = np.argwhere(Blur(1).treat(images))
    assert set(changed[:, 0]) == {1}
    assert set(changed[:, 3]) == {2}


@pytest.mark.parametrize("quality", [10, 50, 75])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_pillow_writes(quality: int, channels: int) -> None:
    images = speckle(scenes(3, channels))
    expected = np.stack([recoded(image, quality) for image in images])
    assert np.array_equal(Jpeg(quality).treat(images), expected)


def test_jpeg_keeps_half_the_resolution_of_colour() -> None:
    board = np.indices((16, 16)).sum(0) % 2
    stripes = np.zeros((1, 16, 16, 3), np.uint8)
    stripes[0, ..., 0], stripes[0, ..., 2] = 110 + 60 * board, 110 + 60 * (1 - board)
    treated = Jpeg(75).treat(stripes)[0].astype(float)
    assert np.abs(treated[..., 0] - treated[..., 2]).mean() < 20  # 60 before


def test_grey_has_the_luminance_that_pillow_has() -> None:
    images = speckle(scenes(3, 3))
    treated = Grey().treat(images)
    expected = np.stack([np.asarray(Picture.fromarray(image).convert("L")) for image in images])
    assert np.abs(treated - expected[..., None].astype(float)).max() <= 1
    assert np.array_equal(treated[..., 0], treated[..., 2])


def test_grey_leaves_grey_images() -> None:
    images = speckle(scenes(3, 1))
    assert np.array_equal(Grey().treat(images), images)


@pytest.mark.parametrize(("bits", "levels"), [(1, [0, 128]), (2, [0, 64, 128, 192])])
def test_posterised_images_have_the_levels_of_their_bits(bits: int, levels: list[int]) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    treated = Posterise(bits).treat(every)
    assert np.unique(treated).tolist() == levels
    assert (treated <= every).all()


def test_half_the_size_loses_what_changes_from_pixel_to_pixel_and_keeps_the_rest() -> None:
    board = (255 * (np.indices((16, 16)).sum(0) % 2)).astype(np.uint8)[None, ..., None]
    inside = HalfSize().treat(board)[0, 4:-4, 4:-4]
    assert np.abs(inside - 127.5).max() < 3
    assert distance(HalfSize().treat(shaded(1)), shaded(1)) < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_the_median_removes_a_single_point(channels: int) -> None:
    assert Median().treat(point(channels)).max() == 0


def test_the_median_mixes_no_channels() -> None:
    images = np.zeros((1, 9, 9, 3), np.uint8)
    images[..., 1] = 200
    assert np.array_equal(Median().treat(images), images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("countermeasure", [Bilateral(), NonLocalMeans()], ids=lambda c: c.name)
def test_edges_outlast_what_smooths_within_them(
    countermeasure: Bilateral | NonLocalMeans, channels: int
) -> None:
    edge = np.full((1, 16, 16, channels), 40, np.uint8)
    edge[:, :, 8:] = 200
    assert distance(countermeasure.treat(edge), edge) < 2
    assert distance(Blur(1).treat(edge), edge) > 10


@pytest.mark.parametrize("channels", [1, 3])
def test_a_wider_bilateral_filter_smooths_more_in_grey_and_in_colour(channels: int) -> None:
    noisy = speckle(shaded(channels))
    changes = [distance(Bilateral(value).treat(noisy), noisy) for value in (1, 12, 40)]
    assert changes[0] < changes[1] < changes[2]
    assert changes[0] < 1


@pytest.mark.parametrize("channels", [1, 3])
def test_non_local_means_smooth_more_where_more_noise_is_expected(channels: int) -> None:
    noisy = speckle(shaded(channels))
    changes = [distance(NonLocalMeans(noise).treat(noisy), noisy) for noise in (0.5, 4, 16)]
    assert changes[0] < changes[1] < changes[2]
    assert changes[0] < 1


def test_windows_differ_from_image_to_image_and_keep_the_order_of_values() -> None:
    images = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (20, 1, 256, 1)).copy()
    shown = Window().treat(images)[:, 0, :, 0].astype(int)
    assert (np.diff(shown, axis=1) >= 0).all()
    assert len(np.unique(shown, axis=0)) == 20
    assert shown[:, 128].min() < 110
    assert shown[:, 128].max() > 145


def test_gamma_moves_the_middle_and_leaves_the_ends() -> None:
    images = np.broadcast_to(np.array([0, 128, 255], np.uint8)[:, None], (20, 1, 3, 1)).copy()
    shown = Window(contrast=1, brightness=0).treat(images)[:, 0, :, 0]
    assert set(shown[:, 0]) == {0}
    assert set(shown[:, 2]) == {255}
    assert shown[:, 1].min() < 115
    assert shown[:, 1].max() > 140


def test_windows_follow_the_seed() -> None:
    images = scenes(3, 1)
    train = Labelled(images, np.arange(3))
    treated = []
    for seed in (1, 2):
        window = Window()
        window.prepare(train, Aid(), seed)
        treated.append(window.treat(images))
    assert not np.array_equal(*treated)


def test_without_room_a_window_is_the_image_itself() -> None:
    images = scenes(3, 3)
    assert np.array_equal(Window(contrast=1, gamma=1, brightness=0).treat(images), images)


def test_tested_images_keep_their_window() -> None:
    images = scenes(3, 3)
    assert np.array_equal(Window().treat_tested(images), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_images_have_one_mean_and_spread_in_every_channel(channels: int) -> None:
    treated = Normalise().treat(scenes(6, channels)).astype(float)
    assert np.abs(treated.mean((1, 2)) - 127.5).max() < 2
    assert np.abs(treated.std((1, 2)) - 45).max() < 5  # what is beyond the range is cut off


def test_a_shift_of_colour_is_gone_after_normalisation() -> None:
    images = scenes(6, 3)
    shifted = images + np.array([8, 0, 4], np.uint8)
    assert distance(Normalise().treat(shifted), Normalise().treat(images)) < 0.5


def test_normalisation_keeps_flat_images_flat() -> None:
    treated = Normalise().treat(np.full((2, 9, 9, 3), 200, np.uint8))
    assert len(np.unique(treated)) == 1


def body(channels: int = 1) -> tuple[Images, np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """Slices of a bright disc with a dark hole in near-black air, and where the air is."""
    rows, columns = np.mgrid[:40, :40]
    far = np.hypot(rows - 20, columns - 18)
    image = np.where(far < 13, 150, 4)
    image[far < 4] = 4
    slices = np.broadcast_to(image[None, ..., None], (3, 40, 40, channels)).astype(np.uint8)
    return speckle(slices, lsb=4), far >= 13


@pytest.mark.parametrize("channels", [1, 3])
def test_air_becomes_black_and_the_body_stays_with_its_holes(channels: int) -> None:
    slices, air = body(channels)
    treated = Background().treat(slices)
    edge = np.abs(np.hypot(*(np.mgrid[:40, :40] - np.array([20, 18])[:, None, None])) - 13) < 1.5
    assert (treated[:, air & ~edge] == 0).all()
    assert np.array_equal(treated[:, ~air & ~edge], slices[:, ~air & ~edge])


def test_dark_tissue_beside_bright_tissue_is_no_background() -> None:
    slices, air = body()
    slices[:, :, :20][:, ~air[:, :20]] = 60
    assert not find_background(slices[0])[20, 10]


def test_a_bright_spot_apart_from_the_body_is_background() -> None:
    slices, _ = body()
    slices[0, 2:5, 34:37] = 200
    assert find_background(slices[0])[3, 35]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["scenes", "bright ground", "flat", "point"])
def test_images_without_a_dark_background_stay(kind: str, channels: int) -> None:
    images = {
        "scenes": scenes(4, channels) // 2 + 60,
        "bright ground": 255 - body(channels)[0],
        "flat": np.full((2, 9, 9, channels), 3, np.uint8),
        "point": point(channels),
    }[kind]
    assert np.array_equal(Background().treat(images), images)
