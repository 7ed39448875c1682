"""What an audit tries, and what it says of it."""

from dataclasses import replace

import numpy as np
import pytest

from medprotect.audit.budgets import BUDGETS
from medprotect.audit.halves import Labelled

from .bands import bands, pairs


@pytest.mark.parametrize("name", list(BUDGETS))
def test_a_budget_says_what_it_tries(name: str) -> None:
    chosen = BUDGETS[name]
    words = " ".join(chosen.describe())
    assert all(each in words for each in (*chosen.victims, *chosen.countermeasures))


def test_grey_is_not_tried_on_grey_images() -> None:
    assert "grey" not in BUDGETS["quick"].fitted_to(pairs()).countermeasures
    grey = pairs()
    colour = replace(
        grey, clean=Labelled(np.repeat(grey.clean.images, 3, axis=3), grey.clean.labels)
    )
    assert "grey" in BUDGETS["quick"].fitted_to(colour).countermeasures


def test_of_few_validation_images_fewer_are_given_to_attackers() -> None:
    few = replace(pairs(), validation=bands(80))  # 20 a class
    assert BUDGETS["standard"].fitted_to(pairs()).ks == (10, 50)
    assert BUDGETS["standard"].fitted_to(few).ks == (10,)


def test_who_has_images_fine_tunes_too_where_the_budget_has_that() -> None:
    assert BUDGETS["quick"].holders() == ("resnet18",)
    assert BUDGETS["standard"].holders() == ("resnet18", "pretrained")
    assert replace(BUDGETS["quick"], ks=()).holders() == ()
    assert replace(BUDGETS["quick"], victims=("vgg",)).holders() == ("vgg",)
