"""The pictures: what a display shows in each window, and the difference on its scale."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.imaging.image import Image, Window
from medprotect.intensity.budget import budget_lsb
from medprotect.intensity.windows import CT_WINDOWS, present, view
from medprotect.preview.pictures import name_windows, number, show
from medprotect.preview.selection import LARGE_SIDE
from medprotect.protect.inspection import AMPLIFIED

from ..intensity.images import make_anatomy, make_image


def pixels(png: bytes) -> NDArray[np.int64]:
    with Picture.open(BytesIO(png)) as picture:
        return np.asarray(picture).astype(np.int64)


def changed(image: Image, seed: int = 0) -> Image:
    """The image with every pixel changed as far as it may."""
    budget = budget_lsb(view(image), "standard").astype(np.int64)
    sign = np.random.default_rng(seed).choice([-1, 1], budget.shape)
    step = budget * sign if image.stored.ndim == 2 else (budget * sign)[..., None]
    moved = (image.stored + step).clip(image.lowest, image.highest)
    return replace(image, stored=moved.astype(image.stored.dtype))


@pytest.fixture
def ct() -> Image:
    return make_image(make_anatomy(), modality="CT", windows=(Window(50.0, 350.0),))


def test_an_image_is_drawn_in_every_window_of_which_its_budget_is_made(ct: Image) -> None:
    named = dict(name_windows(view(ct)))
    assert set(named) == {"file", "soft tissue", "lung", "bone"}
    assert set(named.values()) == set(view(ct).windows)
    assert [each.name for each in show(ct, changed(ct)).windows] == list(named)


def test_each_picture_is_what_a_display_shows_in_that_window(ct: Image) -> None:
    after = changed(ct)
    for each, window in zip(show(ct, after).windows, view(ct).windows, strict=True):
        seen = replace(view(ct), windows=(window,))
        for png, image in ((each.whole.before, ct), (each.whole.after, after)):
            shown = present(seen.with_stored(image.stored)).squeeze()
            assert (pixels(png) == np.rint(shown * 255)).all()


def test_the_difference_is_grey_where_nothing_changed_and_sixteenfold_elsewhere(ct: Image) -> None:
    stored = ct.stored.copy()
    inside = np.argwhere(np.abs(stored - 50) < 50)[0]
    stored[tuple(inside)] += 5
    window = show(ct, replace(ct, stored=stored)).windows[0]
    difference = pixels(window.whole.difference)
    assert difference[tuple(inside)] == pytest.approx(127.5 + AMPLIFIED * 5 / 349 * 255, abs=1)
    assert np.unique(np.delete(difference, inside[0] * 48 + inside[1])).tolist() == [128]
    assert window.largest == pytest.approx(5 / 349 * 255, rel=1e-3)
    assert show(ct, replace(ct, stored=stored)).changed == 1 / stored.size


def test_no_window_shows_more_than_twice_the_strength(ct: Image) -> None:
    assert all(0 < each.largest <= 16.01 for each in show(ct, changed(ct)).windows)


def test_a_window_that_stands_twice_is_drawn_once(ct: Image) -> None:
    twice = replace(ct, windows=(Window(40, 400), Window(40, 400), Window(300, 900)))
    names = [name for name, _ in name_windows(view(twice))]
    assert names == ["soft tissue (file 1)", "file 2", "lung", "bone"]


def test_the_head_is_shown_as_a_head(ct: Image) -> None:
    head = replace(ct, body_part="HEAD", windows=())
    assert [name for name, _ in name_windows(view(head))] == ["brain", "subdural", "temporal bone"]


def test_every_standard_window_has_a_name(ct: Image) -> None:
    for part in CT_WINDOWS:
        seen = view(replace(ct, body_part=part, windows=()))
        assert len(list(name_windows(seen))) == len(seen.windows)


def test_other_images_are_drawn_in_the_window_of_the_file_and_in_their_range() -> None:
    image = make_image(make_anatomy(low=0), modality="MR", windows=(Window(500, 900),))
    assert [name for name, _ in name_windows(view(image))] == ["file", "full range"]


def test_pictures_for_the_screen_are_drawn_as_they_are_in_colour_too() -> None:
    shade = make_anatomy("uint8", low=0, high=255)
    colour = make_image(np.stack([shade, shade // 2, shade], axis=-1), photometric="RGB")
    (window,) = show(colour, changed(colour)).windows
    assert (window.name, window.level) == ("as stored", "")
    assert (pixels(window.whole.before) == colour.stored).all()
    assert pixels(window.whole.difference).shape == colour.stored.shape


def test_of_a_large_image_the_part_that_changed_most_is_drawn_in_full_size() -> None:
    image = make_image(make_anatomy("uint8", size=LARGE_SIDE + 200, low=20, high=220))
    stored = image.stored.copy()
    stored[-300:, -300:] += 5
    (window,) = show(image, replace(image, stored=stored)).windows
    assert max(pixels(window.whole.before).shape) < LARGE_SIDE
    assert window.part is not None
    part = pixels(window.part.before)
    assert (part == image.stored[-part.shape[0] :, -part.shape[1] :]).all()
    assert (pixels(window.part.difference)[-300:, -300:] > 128).all()


def test_a_window_that_does_not_fit_the_image_is_known() -> None:
    image = make_image(
        make_anatomy("uint16", low=30000, high=40000), modality="DX", windows=(Window(2000, 4000),)
    )
    assert [each.is_flat for each in show(image, changed(image)).windows] == [True, False]


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (0, "0"),
        (12.000004, "12"),
        (-600, "-600"),
        (12642.3, "12642"),
        (0.25, "0.25"),
        (2e-5, "2.0e-05"),
    ],
)
def test_numbers_have_the_digits_that_matter(figure: float, words: str) -> None:
    assert number(figure) == words
