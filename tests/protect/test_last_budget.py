from dataclasses import replace

import numpy as np
import pytest

from medprotect.imaging.image import Image, Lut
from medprotect.intensity.budget import budget_lsb
from medprotect.intensity.windows import view
from medprotect.protect import last_budget
from medprotect.protect.last_budget import keep_budget, take_budget


def read(**fields: object) -> Image:
    """The same image each time, as if read anew."""
    stored = np.random.default_rng(0).integers(-900, 1200, (32, 32), dtype=np.int16)
    image = Image(stored, -32768, 32767, modality="CT", locked=stored < -800)
    return replace(image, **fields)  # type: ignore[arg-type]


def keep(image: Image, strength: str = "standard") -> np.ndarray:
    """Keep a budget that nobody computes, to know it again."""
    budget = np.full(image.stored.shape, 7.5)
    keep_budget(image, strength, budget)
    return budget


def test_the_image_read_anew_has_the_budget_that_was_kept() -> None:
    budget = keep(read())
    assert take_budget(read(), "standard") is budget


def test_it_is_given_once() -> None:
    keep(read())
    take_budget(read(), "standard")
    assert np.array_equal(take_budget(read(), "standard"), budget_lsb(view(read()), "standard"))


def test_it_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        keep(read())[0, 0] = 1


other = read().stored.copy()
other[3, 4] += 1


@pytest.mark.parametrize(
    "fields",
    [
        {"stored": other},
        {"stored": read().stored.astype(np.int32)},
        {"slope": 2.0},
        {"body_part": "HEAD"},
        {"locked": None},
        {"locked": read().stored < -700},
        {"lut": Lut(-900, np.arange(2100.0))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_of_an_image_that_differs_it_is_computed(fields: dict[str, object]) -> None:
    for kept, taken in ((read(), read(**fields)), (read(**fields), read())):
        keep(kept)
        found = take_budget(taken, "standard")
        assert np.array_equal(found, budget_lsb(view(taken), "standard"))


def test_of_pixels_that_were_changed_in_place_it_is_computed() -> None:
    image = read()
    keep(image)
    image.stored[3, 4] += 1
    assert np.array_equal(take_budget(read(), "standard"), budget_lsb(view(read()), "standard"))


def test_of_the_very_array_it_is_computed() -> None:
    image = read()
    keep(image)
    assert np.array_equal(take_budget(image, "standard"), budget_lsb(view(image), "standard"))


def test_at_another_strength_it_is_computed() -> None:
    keep(read())
    assert np.array_equal(take_budget(read(), "high"), budget_lsb(view(read()), "high"))


def test_a_large_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_budget, "_MOST_BYTES", 8)
    budget = keep(read())
    assert take_budget(read(), "standard") is not budget
