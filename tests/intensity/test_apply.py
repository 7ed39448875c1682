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
    assert change[0, 0].tolist() == [3, -2, 5]  # 0.299, -0.1687 and 0.5 of 10, half to even
    grey = apply_noise(image, np.ones((3, 3, 3), np.float32), np.full((3, 3), 10.0))
    assert grey[0, 0].tolist() == [138, 128, 128]


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
