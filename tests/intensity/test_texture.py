import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medprotect.intensity.texture import texture_spread

from .images import make_texture


def noise(spread: float, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(3).normal(0, spread, shape)


class TestTextureSpread:
    @pytest.mark.parametrize("spread", [0.01, 1.0, 500.0])
    def test_of_noise_it_is_about_its_spread_and_never_more_nearby(self, spread: float) -> None:
        found = texture_spread(noise(spread))
        assert 0.4 * spread < np.median(found) < spread

    @pytest.mark.parametrize("size", [32, 300, 1100])
    def test_a_slope_is_no_texture(self, size: int) -> None:
        rows, columns = np.mgrid[:size, :size].astype(float)
        inner = slice(size // 8, -(size // 8))
        assert texture_spread(3 * rows + columns)[inner, inner].max() < 0.05 * size / 30

    @pytest.mark.parametrize("size", [64, 512])
    def test_beside_an_edge_the_quieter_side_counts(self, size: int) -> None:
        values = np.zeros((size, size))
        values[:, size // 2 :] = 1000
        assert texture_spread(values)[:, : size // 2 - size // 16].max() < 1e-3
        half = size // 2
        values[:, half:] += 100 * np.random.default_rng(1).normal(0, 1, (size, half))
        found = texture_spread(values)
        assert found[:, half - max(3, size // 64)].max() < 0.2 * np.median(
            found[:, half + size // 8 :]
        )

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (255, 3), (513, 257), (700, 300)])
    def test_it_has_the_shape_of_the_image(self, shape: tuple[int, int]) -> None:
        assert texture_spread(noise(1, shape)).shape == shape

    def test_the_unit_does_not_matter(self) -> None:
        values = make_texture("float64")
        found = texture_spread(values)
        for unit in (1e-300, 1e-5, 1e200):
            np.testing.assert_allclose(texture_spread(values * unit), found * unit, rtol=1e-6)

    @settings(deadline=None)
    @given(
        arrays(
            np.float64,
            st.tuples(st.integers(1, 12), st.integers(1, 12)),
            elements=st.floats(allow_nan=True, allow_infinity=True),
        )
    )
    def test_it_is_a_number_whatever_the_values(self, values: np.ndarray) -> None:
        found = texture_spread(values)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
