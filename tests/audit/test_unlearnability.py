"""What is drawn of a data set for a shorter audit."""

import numpy as np

from medprotect.audit.halves import Halves, Labelled
from medprotect.audit.unlearnability import draw_parts


def numbered(first: int, count: int) -> Labelled:
    images = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    return Labelled(images, np.arange(count) % 2)


HALVES = Halves(
    a=numbered(0, 30),
    b=numbered(30, 30),
    validation=numbered(60, 10),
    test=numbered(70, 40),
    classes=("0", "1"),
)


def test_so_many_at_most_are_drawn_of_what_is_audited_and_always_the_same() -> None:
    some = draw_parts(HALVES, 20)
    assert [len(part) for part in (some.a, some.b, some.validation, some.test)] == [30, 20, 10, 20]
    again = draw_parts(HALVES, 20)
    for part, same in ((some.b, again.b), (some.test, again.test)):
        assert np.array_equal(part.images, same.images)
    drawn = some.b.images.ravel()
    assert len(set(drawn.tolist())) == 20
    assert set(drawn.tolist()) <= set(range(30, 60))
    assert np.array_equal(some.b.labels, (drawn - 30) % 2)  # images keep their labels


def test_all_are_taken_where_no_number_is_named() -> None:
    assert np.array_equal(draw_parts(HALVES, None).b.images, HALVES.b.images)
