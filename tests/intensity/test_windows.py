import numpy as np
import pytest

from medprotect.imaging.image import Window
from medprotect.intensity.windows import (
    CT_WINDOWS,
    YBR_FROM_RGB,
    present,
    slope_width,
    view,
    visible_range,
)

from .images import make_anatomy, make_image


class TestClinicalWindows:
    def test_a_ct_of_the_head_is_looked_at_as_brain_and_bone_besides_the_header(self) -> None:
        header = Window(35, 100)
        image = make_image(make_anatomy(), modality="CT", body_part="HEAD", windows=(header,))
        assert view(image).windows == (header, *CT_WINDOWS["HEAD"])

    def test_a_ct_of_no_known_part_is_looked_at_as_soft_tissue_lung_and_bone(self) -> None:
        widths = [
            window.width for window in view(make_image(make_anatomy(), modality="CT")).windows
        ]
        assert widths == [400, 1500, 1800]

    def test_an_mr_without_windows_is_looked_at_between_its_percentiles(self) -> None:
        stored = make_anatomy("uint16", low=100, high=1100)
        stored[20, 20] = 60000  # one bright pixel does not widen the window
        (window,) = view(make_image(stored, modality="MR")).windows
        assert 900 < window.width < 1100
        assert 80 < window.lower < 150

    def test_eight_bits_for_the_screen_are_looked_at_as_they_are(self) -> None:
        (window,) = view(make_image(make_anatomy("uint8", low=90, high=110))).windows
        assert (window.lower, window.upper) == (0, 255)

    def test_sixteen_bits_of_a_picture_are_looked_at_between_percentiles(self) -> None:
        (window,) = view(make_image(make_anatomy("uint16", low=0, high=4000))).windows
        assert window.width < 4100

    def test_a_header_window_far_too_wide_does_not_stand_alone(self) -> None:
        stored = make_anatomy("uint16", low=100, high=600)
        windows = view(make_image(stored, modality="CR", windows=(Window(32768, 65536),))).windows
        assert min(window.width for window in windows) < 600

    def test_an_edge_slice_that_holds_next_to_nothing_counts_as_64_values_wide(self) -> None:
        stored = make_anatomy("uint16", low=0, high=12)
        windows = view(make_image(stored, modality="MR", windows=(Window(400, 800),))).windows
        assert windows[1].width == 64

    def test_percentiles_are_in_modality_values(self) -> None:
        stored = make_anatomy("int16", low=0, high=1000)
        (plain,) = view(make_image(stored, modality="MR")).windows
        (scaled,) = view(make_image(stored, modality="MR", slope=-2.0, intercept=5.0)).windows
        assert scaled.width == pytest.approx(2 * plain.width)
        assert scaled.center == pytest.approx(-2 * plain.center + 5)


class TestFunctions:
    def test_linear_is_a_unit_narrower_and_half_a_unit_lower_than_exact(self) -> None:
        # PS3.3 C.11.2.1.2.1: with center 2048 and width 4096, 0 is black and 4095 white.
        assert visible_range(Window(2048, 4096)) == (0, 4095)
        assert slope_width(Window(2048, 4096)) == 4095
        assert visible_range(Window(2048, 4096, "LINEAR_EXACT")) == (0, 4096)

    def test_a_sigmoid_is_at_its_centre_as_steep_as_its_width_says(self) -> None:
        window = Window(100, 50, "SIGMOID")
        stored = np.array([[99, 101], [0, 200]], dtype=np.int16)
        shown = present(view(make_image(stored, modality="CT", windows=(window,))))[..., 0]
        assert (shown[0, 1] - shown[0, 0]) / 2 == pytest.approx(1 / slope_width(window), rel=1e-3)

    def test_a_sigmoid_shows_grey_beyond_its_width(self) -> None:
        lower, upper = visible_range(Window(100, 50, "SIGMOID"))
        assert lower < 75
        assert upper > 125


class TestPresent:
    def test_black_is_0_and_white_1(self) -> None:
        stored = np.array([[-100, -60, 40], [139, 240, 1000]], dtype=np.int16)
        window = Window(40, 201)
        shown = present(view(make_image(stored, modality="CT", windows=(window,))))[..., 0]
        assert shown.dtype == np.float32
        assert shown[0, 0] == 0
        assert shown[1, 2] == 1
        assert shown[0, 2] == pytest.approx(0.5, abs=0.01)

    def test_monochrome1_is_turned_over(self) -> None:
        stored = make_anatomy("uint16", low=0, high=4000)
        shown = present(view(make_image(stored, modality="DX")))
        turned = present(view(make_image(stored, modality="DX", photometric="MONOCHROME1")))
        assert np.allclose(shown, 1 - turned, atol=1e-6)

    def test_rescale_is_applied(self) -> None:
        stored = make_anatomy("uint16", low=0, high=2000)
        plain = make_image(stored.astype("int16") - 1024, modality="CT")
        rescaled = make_image(stored, modality="CT", intercept=-1024.0)
        assert np.allclose(present(view(plain)), present(view(rescaled)), atol=1e-6)

    def test_ybr_looks_like_the_rgb_it_stands_for(self) -> None:
        rgb = np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        ybr = rgb.astype(np.float64) @ YBR_FROM_RGB.T + np.array([0, 128, 128])
        ybr = np.rint(ybr).clip(0, 255).astype(np.uint8)
        shown = present(view(make_image(ybr, photometric="YBR_FULL")))
        assert np.abs(shown - rgb / 255).max() < 2.5 / 255

    def test_what_is_no_number_is_black(self) -> None:
        stored = np.linspace(1, 2, 64, dtype=np.float32).reshape(8, 8)
        stored[2, 2] = np.nan
        assert present(view(make_image(stored)))[2, 2, 0] == 0
