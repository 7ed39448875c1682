import numpy as np

from medprotect.intensity.mask import masked

from .images import make_image


def test_air_outside_a_reconstruction_circle_is_masked_and_air_in_a_lung_is_not() -> None:
    rows, columns = np.mgrid[:64, :64] - 31.5
    distance = np.hypot(rows, columns)
    stored = np.where(distance < 30, 40, -2000).astype(np.int16)
    stored[distance < 5] = -2000
    found = masked(make_image(stored))
    assert (found == (distance >= 30)).all()


def test_saturated_collimation_is_masked() -> None:
    stored = np.random.default_rng(0).integers(100, 3000, (40, 40)).astype(np.uint16)
    stored[:, :6] = 4095
    assert masked(make_image(stored))[:, :6].all()
    assert masked(make_image(stored)).sum() == 40 * 6


def test_what_the_format_locks_is_masked() -> None:
    stored = np.arange(100, dtype=np.uint8).reshape(10, 10)
    locked = stored == 55
    assert masked(make_image(stored, locked=locked))[5, 5]


def test_what_is_no_number_is_masked() -> None:
    stored = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    stored[3, 3], stored[4, 4] = np.nan, np.inf
    found = masked(make_image(stored))
    assert found[3, 3]
    assert found[4, 4]


def test_white_background_of_a_colour_picture_is_masked_only_where_all_channels_are_white() -> None:
    stored = np.random.default_rng(0).integers(10, 200, (12, 12, 3)).astype(np.uint8)
    stored[:3] = 255
    stored[5, 0] = (255, 0, 0)
    found = masked(make_image(stored, photometric="RGB"))
    assert found[:3].all()
    assert found.sum() == 3 * 12


def test_a_constant_image_is_masked_as_a_whole() -> None:
    assert masked(make_image(np.full((5, 5), 7, np.uint16))).all()
