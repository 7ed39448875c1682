"""The whole audit: nothing is claimed of unprotected images, much of covered ones."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.budgets import Budget
from medprotect.audit.examination import Examination, examine
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Pairs
from medprotect.audit.protection import MEASURABLE
from medprotect.audit.state import State
from medprotect.errors import ConfigError

from .bands import cover, linear, pairs

PLAIN = Budget(name="plain", victims=("linear",), countermeasures=(), seeds=(1,), steps=40)
FEW = replace(PLAIN, ks=(1,))
WIDER = replace(PLAIN, countermeasures=("posterise-2",), clean_shares=(0.5,))


@pytest.fixture(autouse=True)
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VICTIMS, "linear", linear)


def test_of_unprotected_images_protection_is_nothing_within_its_interval() -> None:
    found = examine(pairs(count=64), PLAIN, say=lambda _: None)
    held = found.protection
    assert held["measurable"]
    assert held["plain"] == pytest.approx(0, abs=0.01)
    low, high = held["plain_interval"] or (1, 1)
    assert low <= 0.02
    assert high >= -0.02


def test_of_covered_images_protection_is_high_and_clean_images_in_the_mix_lower_it() -> None:
    said: list[str] = []
    found = examine(pairs(cover(pairs(count=64).clean.labels), 64), WIDER, say=said.append)
    plain, posterised, mixed = found.matrix
    assert (plain["countermeasure"], posterised["countermeasure"]) == ("none", "posterise-2")
    assert (plain["protection"] or 0) > 0.7
    assert mixed["clean_share"] == 0.5
    assert abs(mixed["protection"] or 0) < 0.2
    worst = min(plain["protection"] or 0, posterised["protection"] or 0)
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
        classes=whole.classes,
        split="given",
    )
    found = examine(mixed, PLAIN, say=lambda _: None)
    assert not found.protection["measurable"]
    assert found.protection["plain"] is None


class TestWithImages:
    def test_images_that_cover_all_add_nothing_to_a_few_clean_ones(self) -> None:
        count = 64
        found = examine(
            pairs(cover(pairs(count=count).clean.labels), count), FEW, say=lambda _: None
        )
        (row,) = found.protection["with_images"]
        assert row["k"] == 1
        assert row["clean"] >= row["alone"]
        clean, protected = (max(0, row[each] - row["alone"]) for each in ("clean", "protected"))
        if clean < MEASURABLE:
            assert row["protection"] is None
        else:
            assert row["protection"] == pytest.approx(1 - protected / clean, abs=1e-5)

    def test_more_than_there_are_validation_images_are_not_asked_for(self) -> None:
        found = examine(pairs(count=64), replace(FEW, ks=(1, 101)), say=lambda _: None)
        assert [row["k"] for row in found.protection["with_images"]] == [1]

    def test_its_trainings_are_counted_in(self, tmp_path: Path) -> None:
        told: list[tuple[str, int, int]] = []

        def progress(stage: str, done: int, steps: int, _: dict[str, float]) -> None:
            told.append((stage, done, steps))

        def look() -> Examination:
            state = State(tmp_path)
            return examine(pairs(count=64), FEW, state=state, say=lambda _: None, progress=progress)

        first = look()
        # clean, protected; alone, and fine-tuned and together with each
        assert told[-2][1:] == (7 * FEW.steps, 7 * FEW.steps)
        assert {stage.split(":")[0] for stage, *_ in told[:-1]} == {
            f"training {number} of 7" for number in range(1, 8)
        }
        told.clear()
        assert asdict(look()) == asdict(first)
        assert len(told) == 8  # each is taken up as a whole
