import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprotect.errors import BudgetBelowOneError
from medprotect.imaging.image import Image, Lut, Window
from medprotect.intensity.budget import (
    BUSY_SHARE,
    STRENGTHS,
    Reach,
    budget_lsb,
    budget_presented,
    may_change,
)
from medprotect.intensity.windows import View, modality_values, shown_by, slope_width, view

from .images import make_anatomy, make_image, make_texture


def shown_in(window: Window, values: np.ndarray) -> np.ndarray:
    """What a window presents, by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -90, 90)))
    if window.function == "LINEAR":
        return np.clip((values - (center - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)
    return np.clip((values - center) / width + 0.5, 0, 1)


def largest_shown(seen: View, budget: np.ndarray) -> float:
    """Largest change that any clinical window presents where every pixel takes its budget."""
    image = seen.image
    largest = 0.0
    for sign in (-1, 1):
        before = image.stored.astype(np.float64)
        after = before + sign * budget
        for window in seen.windows:
            if slope_width(window) > 0:
                values = [v * image.slope + image.intercept for v in (before, after)]
                change = np.abs(shown_in(window, values[1]) - shown_in(window, values[0]))
                largest = max(largest, float(change.max()))
    return largest


class TestBound:
    @given(
        strength=st.sampled_from(sorted(STRENGTHS)),
        center=st.floats(-500, 800),
        width=st.floats(2, 3000),
        function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
        slope=st.sampled_from([1.0, 0.5, 3.0, -1.0]),
        modality=st.sampled_from(["CT", "MR"]),
        body_part=st.sampled_from(["", "HEAD", "ABDOMEN"]),
    )
    @settings(max_examples=150, deadline=None)
    def test_no_clinical_window_presents_more_than_twice_the_strength(
        self,
        strength: str,
        center: float,
        width: float,
        function: str,
        slope: float,
        modality: str,
        body_part: str,
    ) -> None:
        image = make_image(
            make_anatomy(),
            modality=modality,
            body_part=body_part,
            slope=slope,
            windows=(Window(center, width, function),),
        )
        seen = view(image)
        budget = budget_lsb(seen, strength)
        assert largest_shown(seen, budget) <= BUSY_SHARE * STRENGTHS[strength] / 255 + 1e-5

    def test_a_pixel_just_outside_the_brain_window_may_not_jump_into_it(self) -> None:
        stored = np.array([[0, 0, 999], [40, 85, 300], [0, 999, 0]], dtype=np.int16)
        budget = budget_lsb(view(make_image(stored, modality="CT", body_part="HEAD")), "standard")
        assert budget[1, 1] <= 4 + 85 - 79  # 16/255 of 79 HU, and the way to the window's edge
        assert budget[1, 0] == 4
        assert budget[1, 2] > 20

    def test_it_is_whole_for_integers(self) -> None:
        budget = budget_lsb(view(make_image(make_anatomy(), modality="CT")), "standard")
        assert (budget == np.floor(budget)).all()
        assert budget.max() >= 24  # 16/255 of 399 HU

    def test_it_is_16_of_255_for_eight_bits(self) -> None:
        image = make_image(make_texture("uint8", low=1, high=250))
        for strength, bound in {"low": 8, "standard": 16, "high": 32}.items():
            budget = budget_lsb(view(image), strength)
            assert set(np.unique(budget[~view(image).mask])) == {bound}

    @pytest.mark.parametrize(("strength", "bound"), [("low", 1), ("standard", 2), ("high", 4)])
    def test_it_is_an_eighth_of_that_where_the_image_is_smooth(
        self, strength: str, bound: int
    ) -> None:
        stored = np.linspace(20, 220, 96 * 96).reshape(96, 96).astype(np.uint8)
        seen = view(make_image(stored))
        assert set(np.unique(budget_lsb(seen, strength)[~seen.mask])) == {bound}

    def test_it_is_twice_the_texture_in_between(self) -> None:
        random = np.random.default_rng(8)
        stored = np.clip(random.normal(128, 6, (64, 64)), 1, 254).astype(np.uint8)
        budget = budget_lsb(view(make_image(stored)), "standard")
        assert 8 <= np.median(budget) <= 12
        low = budget_lsb(view(make_image(stored)), "low")
        np.testing.assert_array_less(low, budget / 2 + 1)

    def test_smooth_tissue_may_change_by_one_stored_value_where_the_strength_allows_one(
        self,
    ) -> None:
        stored = np.linspace(900, 960, 96 * 96).reshape(96, 96).astype(np.uint16)
        seen = view(make_image(stored, modality="MR"))
        budget = budget_lsb(seen, "standard")[~seen.mask]
        assert (budget == 1).all()  # 2/255 of 60 values are 0.5

    def test_it_is_none_where_masked_and_where_no_window_shows_anything(self) -> None:
        stored = make_anatomy("int16", low=-3000, high=3000)
        stored[:4] = -3000
        image = make_image(stored, modality="CT")
        budget = budget_lsb(view(image), "high")
        assert (budget[:4] == 0).all()
        assert (budget[stored > 1400] == 0).all()
        assert (budget[stored < -1400] == 0).all()

    def test_a_slope_divides_it(self) -> None:
        stored = make_texture("int16", low=-100, high=200)
        one = budget_lsb(view(make_image(stored, modality="CT")), "high")
        half = budget_lsb(view(make_image(stored, modality="CT", slope=0.5)), "high")
        assert one[20, 20] == np.floor(32 * 399 / 255)
        assert half[20, 20] == np.floor(2 * 32 * 399 / 255)

    def test_presented_it_is_twice_the_strength_in_the_first_window(self) -> None:
        image = make_image(make_texture("uint8", low=1, high=250))
        seen = view(image)
        assert np.allclose(budget_presented(seen, "standard")[~seen.mask], 16 / 255)

    @pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e30])
    def test_floating_point_of_any_magnitude_has_one(self, scale: float) -> None:
        stored = (make_texture("float64", low=0, high=1000) * scale).astype(np.float64)
        budget = budget_lsb(view(make_image(stored)), "standard")
        assert (budget > 0).mean() > 0.9
        assert budget.max() == pytest.approx(16 / 255 * 1000 * scale, rel=0.1)


LUTS = st.builds(
    Lut,
    st.integers(-300, 300),
    st.lists(st.integers(0, 4095), min_size=2, max_size=700).map(np.float64).filter(np.ptp),
)


def scaled(lut: Lut) -> Lut:
    return Lut(lut.first, (lut.values - lut.values.min()) / np.ptp(lut.values))


class TestLookUpTables:
    """By trying every stored value on the way, of which the rule tries none."""

    @settings(max_examples=20, deadline=None)
    @given(LUTS, LUTS, st.booleans(), st.sampled_from(list(STRENGTHS)))
    def test_on_the_whole_way_no_window_shows_more_than_twice_the_strength(
        self, modality: Lut, voi: Lut, has_modality_lut: bool, strength: str
    ) -> None:
        values = np.sort(modality.values)
        stored = np.arange(-256, 256, dtype=np.int16).reshape(16, 32)
        image = make_image(
            stored,
            lowest=-256,
            highest=255,
            modality="MR",
            windows=(Window(0, 9, "LUT", scaled(voi)), Window(2000, 900, "SIGMOID")),
            lut=Lut(modality.first, values) if has_modality_lut else None,
        )
        seen = view(image)
        budget = budget_lsb(seen, strength)
        for window in seen.windows:
            shown = shown_by(window, modality_values(image, np.arange(-256, 256)))
            for value, most in zip(stored.ravel(), budget.ravel(), strict=True):
                reached = shown[max(value + 256 - int(most), 0) : value + 257 + int(most)]
                change = np.abs(reached - shown[value + 256]).max()
                assert change <= BUSY_SHARE * STRENGTHS[strength] / 255 + 1e-6

    def test_it_is_as_large_as_the_bound_allows(self) -> None:
        values = np.random.default_rng(2).permutation(1024)  # so that there is texture
        stored = values.astype(np.int16).reshape(32, 32)
        steps = Lut(0, np.arange(1024) // 64 / 15)
        image = make_image(
            stored,
            lowest=0,
            highest=1023,
            modality="MR",
            windows=(Window(512, 1024, "LUT", steps),),
        )
        budget = budget_lsb(view(image), "standard").ravel()[np.argsort(values)]
        # 16 of 255 are just under one of 15 steps, so up to the nearest one.
        np.testing.assert_array_equal(budget[480:512], np.arange(31, -1, -1))
        np.testing.assert_array_equal(budget[512:544], np.arange(32))

    @pytest.mark.parametrize("falls", [False, True])
    def test_a_linear_one_is_bounded_as_the_window_it_is(self, falls: bool) -> None:
        stored = make_anatomy("int16", low=-900, high=1200)
        ramp = np.linspace(0, 1, 1001)[:: -1 if falls else 1]
        lut = make_image(stored, modality="MR", windows=(Window(0, 1001, "LUT", Lut(-500, ramp)),))
        line = make_image(stored, modality="MR", windows=(Window(0.5, 1001, "LINEAR"),))
        budgets = [budget_lsb(view(image), "standard") for image in (lut, line)]
        shared = np.abs(stored) < 400
        np.testing.assert_array_equal(budgets[0][shared], budgets[1][shared])

    def test_values_beyond_a_modality_lut_have_none(self) -> None:
        stored = np.arange(1024, dtype=np.int16).reshape(32, 32)
        lut = Lut(200, np.arange(500) * 10.0)
        image = make_image(stored, lowest=0, highest=1023, modality="MR", lut=lut)
        budget = budget_lsb(view(image), "standard").ravel()
        assert not budget[:200].any()
        assert not budget[700:].any()
        assert budget[210:690].all()


def reach_of(image: Image, strength: str = "standard") -> None:
    reach = Reach(strength)
    seen = view(image)
    reach.add(seen, may_change(seen, strength))
    reach.check()


def ramp(lowest: int, highest: int) -> Lut:
    return Lut(lowest, np.linspace(0, 4000, highest - lowest + 1) ** 1.1)


MAY_CHANGE = {
    "ct": make_image(make_anatomy(), modality="CT"),
    "few grey values": make_image(make_anatomy("uint16", low=0, high=20), modality="MR"),
    "steep rescale": make_image(make_anatomy(), modality="CT", slope=9.0),
    "narrow window": make_image(
        make_anatomy(), modality="MR", windows=(Window(0, 30), Window(200, 260, "SIGMOID"))
    ),
    "just one step": make_image(
        make_anatomy(), modality="MR", windows=(Window(0, 255 / 16, "LINEAR_EXACT"),)
    ),
    "colour": make_image(np.stack([make_anatomy("uint8", low=0, high=255)] * 3, axis=2)),
    "colour of few values": make_image(
        np.stack([make_anatomy("uint8", low=90, high=99)] * 3, axis=2), modality="US"
    ),
    "floating point": make_image(make_anatomy("float32"), modality="MR"),
    "flat floating point": make_image(np.full((9, 9), 3, np.float32), modality="MR"),
    "modality lut": make_image(
        make_anatomy("uint8", low=0, high=255), lut=ramp(0, 255), lowest=0, highest=255
    ),
    "voi lut": make_image(
        make_anatomy("uint8", low=0, high=255),
        modality="MR",
        windows=(Window(128, 256, "LUT", Lut(0, np.linspace(0, 1, 256) ** 3)),),
    ),
    "constant": make_image(np.full((9, 9), 3, np.uint16), modality="MR"),
}


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", MAY_CHANGE)
def test_what_may_change_is_what_has_a_budget(kind: str, strength: str) -> None:
    seen = view(MAY_CHANGE[kind])
    np.testing.assert_array_equal(may_change(seen, strength), budget_lsb(seen, strength) > 0)


class TestReach:
    @pytest.mark.parametrize(("high", "helps"), [(6, False), (20, True)])
    def test_more_strength_is_advised_where_it_helps(self, high: int, helps: bool) -> None:
        image = make_image(make_anatomy("uint8", low=0, high=high), modality="MR")
        with pytest.raises(BudgetBelowOneError) as caught:
            reach_of(image, "low")
        assert ("--strength high" in str(caught.value)) == helps
        if helps:
            reach_of(image, "high")
        else:
            with pytest.raises(BudgetBelowOneError):
                reach_of(image, "high")

    def test_an_image_in_which_noise_rounds_away_is_refused(self) -> None:
        stored = make_anatomy("uint16", low=0, high=12)
        with pytest.raises(BudgetBelowOneError, match="half of the pixels"):
            reach_of(make_image(stored, modality="MR"))

    def test_a_constant_image_is_refused(self) -> None:
        with pytest.raises(BudgetBelowOneError, match="constant"):
            reach_of(make_image(np.full((9, 9), 3, np.uint16), modality="MR"))

    def test_an_ordinary_image_is_not(self) -> None:
        reach_of(make_image(make_anatomy(), modality="CT"))

    def test_empty_slices_do_not_count_in_a_file_of_many(self) -> None:
        reach = Reach("standard")
        for stored in (make_anatomy("uint16", low=0, high=900), np.zeros((48, 48), np.uint16)):
            seen = view(make_image(stored, modality="MR"))
            reach.add(seen, may_change(seen, "standard"))
        reach.check()
