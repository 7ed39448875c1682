"""Half B of a data set is protected, and half A is what an attacker may hold."""

from dataclasses import replace

import numpy as np

from medprotect.audit.halves import Halves, Labelled
from medprotect.bench.studies.unlearnability import (
    draw_parts,
    give_half_a,
    leave_out_rejected,
    pair_half_b,
    protect,
)
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder

from ...audit.stripes import stripes

CARD = load_card("radiology-grey")
A, B, REST = stripes(16, seed=1), stripes(12, seed=2), stripes(8, seed=3)
HALVES = Halves(a=A, b=B, validation=REST, test=REST, classes=("0", "1", "2", "3"))


def test_half_b_is_protected_within_the_strength() -> None:
    pairs = pair_half_b(HALVES, Confounder(CARD, Key.new()), "standard")
    change = np.abs(pairs.protected.astype(int) - B.images)
    assert np.array_equal(pairs.clean.images, B.images)
    assert 0 < change.max() <= 8
    assert change.reshape(len(B), -1).any(1).all()


def test_what_a_run_would_reject_nobody_learns_from() -> None:
    images = B.images.copy()
    images[3] = 128
    kept = leave_out_rejected(Labelled(images, B.labels), "standard")
    assert np.array_equal(kept.labels, np.delete(B.labels, 3))


def test_labels_change_what_the_noise_says() -> None:
    confounder = Confounder(CARD, Key.new())
    unlike = protect(A.images, confounder, "standard", A.labels)
    assert not np.array_equal(unlike, protect(A.images, confounder, "standard"))


def test_an_attacker_holds_nothing_unless_it_is_given() -> None:
    aid = give_half_a(HALVES, CARD, "standard")
    assert aid.leaked_clean is aid.leaked_protected is aid.other is None


def test_leaked_pairs_are_of_half_a_and_of_a_key_of_their_own() -> None:
    seen = set()
    for _ in range(4):  # two keys in 256 begin their textures at one place
        aid = give_half_a(HALVES, CARD, "standard", leaked=5)
        assert aid.leaked_clean is not None
        assert aid.leaked_protected is not None
        assert np.array_equal(aid.leaked_clean, A.images[:5])
        change = np.abs(aid.leaked_protected.astype(int) - A.images[:5])
        assert 0 < change.max() <= 8
        seen.add(aid.leaked_protected.tobytes())
    assert len(seen) > 1


def test_other_images_are_half_a_in_clear() -> None:
    other = give_half_a(replace(HALVES, b=A), CARD, "standard", other=True).other
    assert np.array_equal(other, A.images)


def numbered(first: int, count: int) -> Labelled:
    images = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    return Labelled(images, np.arange(count) % 2)


NUMBERED = Halves(
    a=numbered(0, 30),
    b=numbered(30, 30),
    validation=numbered(60, 10),
    test=numbered(70, 40),
    classes=("0", "1"),
)


def test_so_many_at_most_are_drawn_of_what_is_audited_and_always_the_same() -> None:
    some = draw_parts(NUMBERED, 20)
    assert [len(part) for part in (some.a, some.b, some.validation, some.test)] == [30, 20, 10, 20]
    again = draw_parts(NUMBERED, 20)
    for part, same in ((some.b, again.b), (some.test, again.test)):
        assert np.array_equal(part.images, same.images)
    drawn = some.b.images.ravel()
    assert len(set(drawn.tolist())) == 20
    assert set(drawn.tolist()) <= set(range(30, 60))
    assert np.array_equal(some.b.labels, (drawn - 30) % 2)  # images keep their labels


def test_all_are_taken_where_no_number_is_named() -> None:
    assert np.array_equal(draw_parts(NUMBERED, None).b.images, NUMBERED.b.images)
