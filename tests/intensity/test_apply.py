from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprotect.intensity.apply import apply_noise, share_of_budget
from medprotect.intensity.budget import STRENGTHS, budget_lsb
from medprotect.intensity.windows import view

from .images import make_anatomy, make_image

DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "uint32", "float16", "float32", "float64"]


def noise_like(stored: np.ndarray, value: float | None = None) -> Any:
    shape = (*stored.shape[:2], stored.shape[2] if stored.ndim == 3 else 1)
    if value is not None:
        return np.full(shape, value, np.float32)
    return np.random.default_rng(2).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_bound_holds_for_every_pixel_of_any_values(dtype: str, data: st.DataObject) -> None:
    size = 6 * 7 * np.dtype(dtype).itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))  # any bits, numbers or none
    stored = np.frombuffer(raw, dtype).reshape(6, 7)
    image = make_image(stored, modality=data.draw(st.sampled_from(["", "MR", "CT"])))
    strength = data.draw(st.sampled_from(sorted(STRENGTHS)))
    with np.errstate(all="ignore"):
        budget = budget_lsb(view(image), strength)
        changed = apply_noise(image, noise_like(stored), budget)
        share = share_of_budget(image, changed, budget)
    assert changed.dtype == stored.dtype
    assert changed.shape == stored.shape
    assert share <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_nothing_wraps_at_the_ends_of_the_range(dtype: str) -> None:
    limits = np.iinfo(dtype)
    stored = np.array([[limits.min, limits.max], [limits.max - 1, limits.min + 1]], dtype=dtype)
    image = make_image(stored)
    budget = np.full((2, 2), 5.0)
    up = apply_noise(image, noise_like(stored, 1.0), budget)
    down = apply_noise(image, noise_like(stored, -1.0), budget)
    assert (up.astype(int) - stored.astype(int)).tolist() == [[5, 0], [1, 5]]
    assert (down.astype(int) - stored.astype(int)).tolist() == [[0, -5], [-5, -1]]


def test_the_range_is_that_of_the_stored_bits() -> None:
    stored = np.full((4, 4), 4094, np.uint16)
    image = make_image(stored, lowest=0.0, highest=4095.0)
    assert apply_noise(image, noise_like(stored, 1.0), np.full((4, 4), 9.0)).max() == 4095


@pytest.mark.parametrize(
    ("fields", "sign"),
    [
        ({}, 1),
        ({"photometric": "MONOCHROME1"}, -1),
        ({"slope": -1.0}, -1),
        ({"photometric": "MONOCHROME1", "slope": -1.0}, 1),
    ],
)
def test_brighter_noise_makes_the_presented_image_brighter(
    fields: dict[str, Any], sign: int
) -> None:
    stored = np.full((4, 4), 100, np.int16)
    changed = apply_noise(
        make_image(stored, **fields), noise_like(stored, 1.0), np.full((4, 4), 3.0)
    )
    assert (changed == 100 + 3 * sign).all()


def test_no_pixel_moves_into_the_padding_values() -> None:
    stored = np.arange(-20, 20, dtype=np.int16).reshape(5, 8)
    image = make_image(stored, forbidden=(-3.0, 2.0))
    changed = apply_noise(image, noise_like(stored), np.full((5, 8), 6.0))
    entered = (changed >= -3) & (changed <= 2) & ~((stored >= -3) & (stored <= 2))
    assert not entered.any()


def test_noise_of_ybr_is_the_noise_of_its_rgb() -> None:
    stored = np.full((3, 3, 3), 128, np.uint8)
    image = make_image(stored, photometric="YBR_FULL")
    red = np.zeros((3, 3, 3), np.float32)
    red[..., 0] = 1
    change = apply_noise(image, red, np.full((3, 3), 10.0)).astype(int) - 128
    # 0.299, -0.1687 and 0.5 of 10; chroma towards none, then Y so that red gains no more than 10.
    assert change[0, 0].tolist() == [2, -1, 5]
    grey = apply_noise(image, np.ones((3, 3, 3), np.float32), np.full((3, 3), 10.0))
    assert grey[0, 0].tolist() == [138, 128, 128]


@pytest.mark.parametrize("halved_chroma", [False, True])
@given(raw=st.binary(min_size=4 * 6 * 3, max_size=4 * 6 * 3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_bound_of_ybr_holds_in_the_rgb_that_a_reader_computes(
    halved_chroma: bool, raw: bytes, seed: int
) -> None:
    random = np.random.default_rng(seed)
    stored = np.frombuffer(raw, np.uint8).reshape(4, 6, 3).copy()
    if halved_chroma:
        stored[:, 1::2, 1:] = stored[:, ::2, 1:]
    image = make_image(stored, photometric="YBR_FULL", halved_chroma=halved_chroma)
    budget = random.integers(0, 12, (4, 6)).astype(float)
    noise = np.sign(random.uniform(-1, 1, (4, 6, 3))) * random.uniform(0.5, 1, (4, 6, 1)) ** 0.1
    changed = apply_noise(image, noise.astype(np.float32), budget)
    before, after = (rgb_of(each) for each in (stored, changed))
    assert (np.abs(after - before) <= budget[..., None] + 1e-6).all()
    shown = [np.floor(np.clip(rgb, 0, 255) + 0.5) for rgb in (before, after)]
    assert (np.abs(shown[1] - shown[0]) <= budget[..., None]).all()
    assert share_of_budget(image, changed, budget) <= 1
    if halved_chroma:
        assert np.array_equal(changed[:, ::2, 1:], changed[:, 1::2, 1:])


def rgb_of(ybr: np.ndarray) -> np.ndarray:
    """As JFIF and PS3.3 section C.7.6.3.1.2 have it, unrounded."""
    y, cb, cr = (ybr[..., at].astype(float) - (128 if at else 0) for at in range(3))
    green = y - 0.344136286 * cb - 0.714136286 * cr
    return np.stack([y + 1.402 * cr, green, y + 1.772 * cb], axis=-1)


def test_full_noise_of_any_colour_changes_ybr_by_most_of_its_budget() -> None:
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 4, 2).transpose(1, 2, 0)
    noise = np.repeat(signs, 4, axis=1).astype(np.float32)
    stored = np.full(noise.shape, 128, np.uint8)
    for halved_chroma in (False, True):
        image = make_image(stored, photometric="YBR_FULL", halved_chroma=halved_chroma)
        changed = apply_noise(image, noise, np.full(noise.shape[:2], 8.0))
        gained = (rgb_of(changed) - rgb_of(stored)) * noise
        assert gained.mean() > 6.5


def test_a_change_of_ybr_that_shows_more_in_rgb_than_in_a_sample_is_beyond_its_budget() -> None:
    stored = np.full((4, 4, 3), 128, np.uint8)
    changed = stored + np.array([3, 0, 8], np.uint8)
    image = make_image(stored, photometric="YBR_FULL")
    assert share_of_budget(image, changed, np.full((4, 4), 8.0)) == pytest.approx(14.216 / 8)


def test_one_channel_of_noise_serves_three() -> None:
    stored = np.full((3, 3, 3), 50, np.uint8)
    image = make_image(stored, photometric="RGB")
    changed = apply_noise(image, np.ones((3, 3, 1), np.float32), np.full((3, 3), 2.0))
    assert (changed == 52).all()


def test_without_budget_nothing_changes_in_floating_point_either() -> None:
    stored = make_anatomy("float32", low=0, high=1)
    stored[0, 0], stored[1, 1] = np.nan, np.inf
    changed = apply_noise(make_image(stored), noise_like(stored), np.zeros(stored.shape))
    assert np.array_equal(changed, stored, equal_nan=True)


class TestShareOfBudget:
    def test_a_pixel_one_beyond_is_seen(self) -> None:
        stored = make_anatomy("int16")
        image = make_image(stored, modality="CT")
        budget = budget_lsb(view(image), "standard")
        at = tuple(np.argwhere(budget == 12)[0])
        changed = stored.copy()
        changed[at] += 13
        assert share_of_budget(image, changed, budget) == pytest.approx(13 / 12)

    def test_a_change_without_budget_is_infinite(self) -> None:
        stored = make_anatomy("int16")
        changed = stored.copy()
        changed[3, 3] += 1
        assert share_of_budget(make_image(stored), changed, np.zeros(stored.shape)) == np.inf

    def test_another_shape_or_dtype_is_infinite(self) -> None:
        stored = make_anatomy("int16")
        budget = np.full(stored.shape, 9.0)
        assert share_of_budget(make_image(stored), stored[:-1], budget) == np.inf
        assert share_of_budget(make_image(stored), stored.astype(np.int32), budget) == np.inf

    def test_no_change_is_0(self) -> None:
        stored = make_anatomy("float32")
        stored[2, 2] = np.nan
        assert share_of_budget(make_image(stored), stored.copy(), np.zeros(stored.shape)) == 0

    def test_a_number_that_becomes_none_is_seen(self) -> None:
        stored = make_anatomy("float32")
        changed = stored.copy()
        changed[2, 2] = np.nan
        assert share_of_budget(make_image(stored), changed, np.ones(stored.shape)) == np.inf
