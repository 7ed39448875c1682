"""What an attacker may have besides: it is taken from nobody who is tested, and it is used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.audit.attack.aids import AIDED, give_aids
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.budgets import BUDGETS, UNAIDED
from medprotect.audit.pairs import Images, Pairs
from medprotect.errors import ConfigError

from ..stripes import pairs


def marked() -> Pairs:
    """Pairs whose protected images differ from the clean ones by a constant."""
    clean = pairs(count=40).clean
    return replace(pairs(count=40), protected=clean.images ^ 1)


def numbers(images: Images) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_without_aids_all_stays_as_it_is() -> None:
    whole = marked()
    left, aid = give_aids(whole, None, 0)
    assert left is whole
    assert (aid.other, aid.leaked_clean, aid.leaked_protected) == (None, None, None)


def test_leaked_pairs_are_pairs_and_nobody_learns_from_them() -> None:
    whole = marked()
    left, aid = give_aids(whole, None, 15)
    assert aid.leaked_clean is not None
    assert np.array_equal(aid.leaked_clean ^ 1, aid.leaked_protected)
    assert np.array_equal(left.clean.images ^ 1, left.protected)
    assert (len(aid.leaked_clean), len(left.clean), len(left.protected)) == (15, 25, 25)
    assert numbers(aid.leaked_clean) | numbers(left.clean.images) == numbers(whole.clean.images)
    labels = {image.tobytes(): label for image, label in zip(*parts(whole), strict=True)}
    assert all(labels[image.tobytes()] == label for image, label in zip(*parts(left), strict=True))


def test_so_many_pairs_of_each_class_leak() -> None:
    whole = marked()
    left, aid = give_aids(whole, None, 5, per_class=True)
    assert aid.leaked_clean is not None
    assert aid.leaked_protected is not None
    assert np.array_equal(aid.leaked_clean ^ 1, aid.leaked_protected)
    labels = {image.tobytes(): label for image, label in zip(*parts(whole), strict=True)}
    leaked = [labels[image.tobytes()] for image in aid.leaked_clean]
    assert np.bincount(leaked).tolist() == [5, 5, 5, 5]
    assert numbers(aid.leaked_clean).isdisjoint(numbers(left.clean.images))
    assert len(left.clean) == 40 - 20


def test_a_class_of_no_more_than_leaks_of_each_is_refused() -> None:
    with pytest.raises(ConfigError, match="leak fewer"):
        give_aids(marked(), None, 10, per_class=True)


def parts(of: Pairs) -> tuple[Images, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return of.clean.images, of.clean.labels


def test_the_same_pairs_leak_of_another_protection() -> None:
    one, other = marked(), replace(marked(), protected=marked().clean.images ^ 3)
    assert np.array_equal(
        give_aids(one, None, 9)[0].clean.images, give_aids(other, None, 9)[0].clean.images
    )


@pytest.mark.parametrize("count", [40, 38, 1000])
def test_a_class_that_has_all_leaked_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="leak fewer"):
        give_aids(marked(), None, count)


def test_other_images_are_brought_to_the_size_of_the_protected(tmp_path: Path) -> None:
    wide = np.zeros((30, 50), dtype=np.uint8)
    wide[:, 10:40] = 200  # the square in the middle
    (tmp_path / "below").mkdir()
    Picture.fromarray(wide).save(tmp_path / "below" / "wide.png")
    Picture.new("RGB", (20, 20), "teal").save(tmp_path / "colour.png")
    (tmp_path / "notes.txt").write_text("no image")
    other = give_aids(marked(), tmp_path, 0)[1].other
    assert other is not None
    assert (other.shape, other.dtype) == ((1, 16, 16, 1), np.uint8)
    assert (other == 200).all()


def test_a_folder_without_such_images_is_refused(tmp_path: Path) -> None:
    Picture.new("RGB", (20, 20), "teal").save(tmp_path / "colour.png")
    with pytest.raises(ConfigError, match="grey"):
        give_aids(marked(), tmp_path, 0)


IMAGES = marked().protected


@pytest.mark.parametrize(
    ("aid", "expected"),
    [
        (Aid(), set()),
        (Aid(other=IMAGES), {"autoencoder", "diffusion"}),
        (Aid(leaked_clean=IMAGES, leaked_protected=IMAGES), {"inverse"}),
    ],
)
def test_what_is_given_is_tried_and_what_is_not_is_said(aid: Aid, expected: set[str]) -> None:
    budget = BUDGETS["quick"].aided_by(aid)
    assert set(budget.countermeasures) - set(UNAIDED) == expected
    left_out = " ".join(budget.leave_out())
    assert {name for name in AIDED if name in left_out} == set(AIDED) - expected
    assert "jpeg-75" in left_out
    assert "jpeg-10" not in left_out
    assert "pretrained" in left_out


def test_a_thorough_audit_leaves_out_only_what_needs_more() -> None:
    left_out = " ".join(BUDGETS["thorough"].leave_out())
    assert "other models" not in left_out
    assert "other countermeasures" not in left_out
