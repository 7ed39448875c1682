"""The whole audit: nothing is claimed of unprotected images, much of covered ones."""

from dataclasses import replace

import numpy as np
import pytest

from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.examination import BUDGETS, Budget, examine
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Pairs
from medprotect.errors import ConfigError

from .bands import cover, linear, pairs

PLAIN = Budget(name="plain", victims=("linear",), countermeasures=(), seeds=(1,), steps=40)
WIDER = replace(PLAIN, countermeasures=("posterise-2",), clean_shares=(0.5,))


@pytest.fixture(autouse=True)
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VICTIMS, "linear", linear)


def test_of_unprotected_images_p_is_nothing_within_its_interval() -> None:
    found = examine(pairs(count=64), PLAIN, say=lambda _: None)
    held = found.protection
    assert held["measurable"]
    assert held["plain"] == pytest.approx(0, abs=0.01)
    low, high = held["plain_interval"] or (1, 1)
    assert low <= 0.02
    assert high >= -0.02


def test_of_covered_images_p_is_high_and_clean_images_in_the_mix_lower_it() -> None:
    said: list[str] = []
    found = examine(pairs(cover(pairs(count=64).clean.labels), 64), WIDER, say=said.append)
    plain, posterised, mixed = found.matrix
    assert (plain["countermeasure"], posterised["countermeasure"]) == ("none", "posterise-2")
    assert (plain["P"] or 0) > 0.7
    assert mixed["clean_share"] == 0.5
    assert abs(mixed["P"] or 0) < 0.2
    worst = min(plain["P"] or 0, posterised["P"] or 0)
    assert found.protection["worst"] == worst  # a share of clean images is no attack
    assert len(said) == 4
    assert [curve["label"] for curve in found.curves] == ["linear, clean", "linear, protected"]


def test_what_an_attacker_has_reaches_the_countermeasure() -> None:
    large = np.zeros((9, 20, 20, 1), np.uint8)
    aid = Aid(leaked_clean=large, leaked_protected=large)
    short = replace(PLAIN, steps=2)
    with pytest.raises(ConfigError, match="not of the size of the protected"):
        examine(pairs(count=96), short.aided_by(aid), aid=aid, say=lambda _: None)


def test_shuffled_labels_are_said_not_to_be_measurable() -> None:
    whole = pairs(count=64)
    random = np.random.default_rng(0)

    def shuffled(part: Labelled) -> Labelled:
        return Labelled(part.images, random.permutation(part.labels))

    mixed = Pairs(
        clean=shuffled(whole.clean),
        protected=whole.protected,
        validation=shuffled(whole.validation),
        test=shuffled(whole.test),
        patients=None,
        classes=whole.classes,
        split="given",
    )
    found = examine(mixed, PLAIN, say=lambda _: None)
    assert not found.protection["measurable"]
    assert found.protection["plain"] is None


@pytest.mark.parametrize("name", list(BUDGETS))
def test_a_budget_says_what_it_tries(name: str) -> None:
    chosen = BUDGETS[name]
    words = " ".join(chosen.describe())
    assert all(each in words for each in (*chosen.victims, *chosen.countermeasures))
