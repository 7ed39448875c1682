"""What a set is worth to somebody with k clean images a class, and the share it lacks."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.halves import COLUMNS
from medprotect.audit.state import State
from medprotect.bench.studies import worth as command
from medprotect.bench.studies.worth import (
    MEASURABLE,
    Study,
    best,
    measure,
    protection_at_k,
    protection_interval,
    worth,
)
from medprotect.errors import ConfigError

from ...audit.bands import CLASSES, bands, cover, linear

LABELS = np.arange(400, dtype=np.int64) % 4


def right(share: float, labels: np.ndarray = LABELS) -> np.ndarray:
    """Return guesses of which that share is right in each class, in the first images of it."""
    rank = np.arange(len(labels)) // 4
    return np.where(rank < share * len(labels) / 4, labels, (labels + 1) % 4)


class TestWorth:
    def test_it_is_what_a_set_adds(self) -> None:
        assert worth(0.8, 0.5) == pytest.approx(0.3)

    def test_a_set_that_misleads_is_left_aside(self) -> None:
        assert worth(0.1, 0.25) == 0


class TestProtection:
    @pytest.mark.parametrize(
        ("clean", "protected", "expected"),
        [(0.4, 0.0, 1.0), (0.4, 0.4, 0.0), (0.4, 0.1, 0.75), (0.2, 0.3, -0.5)],
    )
    def test_it_is_the_share_of_the_worth_that_is_lacking(
        self, clean: float, protected: float, expected: float
    ) -> None:
        assert protection_at_k(clean, protected) == pytest.approx(expected)

    def test_where_the_clean_set_is_worth_little_there_is_none(self) -> None:
        assert protection_at_k(MEASURABLE, 0.0) == 1
        assert protection_at_k(np.nextafter(MEASURABLE, 0), 0.0) is None
        assert protection_at_k(0.0, 0.0) is None

    def test_ten_clean_images_of_a_known_study(self) -> None:
        alone, clean, protected = 0.688, 0.865, 0.733
        found = protection_at_k(worth(clean, alone), worth(protected, alone))
        assert found == pytest.approx(0.75, abs=0.005)


class TestBest:
    def test_an_attack_counts_by_the_mean_of_its_seeds(self) -> None:
        told = {"steady": [right(0.6), right(0.6)], "lucky": [right(1.0), right(0.1)]}
        assert best(told, LABELS, 4) == pytest.approx(0.6)

    def test_each_class_counts_the_same(self) -> None:
        labels = np.array([0] * 90 + [1] * 10)
        assert best({"all one": [np.zeros(100, np.int64)]}, labels, 2) == 0.5


class TestInterval:
    def test_the_same_predictions_give_exactly_nothing(self) -> None:
        told = {"a": [right(0.8)]}
        assert protection_interval(told, told, None, LABELS, 4) == (0.0, 0.0)

    def test_a_set_worth_nothing_gives_exactly_one(self) -> None:
        clean, protected = {"a": [right(0.9)]}, {"a": [right(0.0)]}
        assert protection_interval(clean, protected, None, LABELS, 4) == (1.0, 1.0)

    def test_what_the_k_teach_alone_is_no_worth_of_the_set(self) -> None:
        alone = {"a": [right(0.5)]}
        found = protection_interval({"a": [right(0.9)]}, alone, alone, LABELS, 4)
        assert found == (1.0, 1.0)

    def test_it_is_that_of_a_ratio_of_two_binomials(self) -> None:
        # All images that the protected set teaches, the clean set teaches: of chance 1/4, the
        # ratio of worths is (p - 1/4) / (c - 1/4), and its spread follows by the delta method.
        count, c, p = 4000, 0.85, 0.4
        labels = np.arange(count, dtype=np.int64) % 4
        clean, protected = {"a": [right(c, labels)]}, {"a": [right(p, labels)]}
        low, high = protection_interval(clean, protected, None, labels, 4) or (1, 0)
        up, down = p - 0.25, c - 0.25
        variance = p * (1 - p) + (up / down) ** 2 * c * (1 - c) - 2 * up / down * p * (1 - c)
        spread = np.sqrt(variance / count) / down
        middle = 1 - up / down
        assert (low + high) / 2 == pytest.approx(middle, abs=0.3 * spread)
        assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)

    def test_images_that_go_together_tell_as_much_as_one(self) -> None:
        groups = np.arange(400) // 40
        wrong = (LABELS + 1) % 4
        spoiled = np.where(groups % 2 == 0, LABELS, wrong)
        clean, protected = {"a": [LABELS]}, {"a": [spoiled]}
        by_image = protection_interval(clean, protected, None, LABELS, 4) or (0, 0)
        by_group = protection_interval(clean, protected, None, LABELS, 4, groups) or (0, 0)
        # 40 images a group: the spread grows by the root of 40.
        ratio = (by_group[1] - by_group[0]) / (by_image[1] - by_image[0])
        assert 0.6 * np.sqrt(40) < ratio < 1.4 * np.sqrt(40)

    def test_names_of_groups_do_not_matter(self) -> None:
        groups = np.arange(400) // 7
        clean, protected = {"a": [right(0.9)]}, {"a": [right(0.4)]}
        found = protection_interval(clean, protected, None, LABELS, 4, groups)
        assert found == protection_interval(clean, protected, None, LABELS, 4, 3 * groups + 5)

    def test_the_best_attack_counts(self) -> None:
        clean = {"a": [right(0.9)]}
        one = protection_interval(clean, {"b": [right(0.6)]}, None, LABELS, 4)
        two = {"b": [right(0.6)], "c": [right(0.3)]}
        assert protection_interval(clean, two, None, LABELS, 4) == one

    def test_seeds_that_differ_widen_it(self) -> None:
        clean = {"a": [LABELS, LABELS]}
        same, unlike = {"a": [right(0.6)] * 2}, {"a": [right(0.9), right(0.3)]}
        one = protection_interval(clean, same, None, LABELS, 4) or (0, 0)
        two = protection_interval(clean, unlike, None, LABELS, 4) or (0, 0)
        assert two[1] - two[0] > 2 * (one[1] - one[0])

    def test_a_clean_set_that_teaches_nothing_has_none(self) -> None:
        told = {"a": [right(0.0)]}
        assert protection_interval(told, told, None, LABELS, 4) is None


STUDY = Study(victims=("resnet18",), ks=(0, 2), seeds=(1, 2), steps=40, share=0.5)
CLEAN, VALIDATION, TEST = bands(256), bands(80, seed=1), bands(400, seed=2)


@pytest.fixture
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VICTIMS, "resnet18", linear)


@pytest.mark.usefixtures("without_chance")
class TestMeasure:
    def test_images_that_hide_all_are_worth_nothing(self) -> None:
        found, _ = measure(CLEAN, cover(CLEAN.labels), VALIDATION, TEST, len(CLASSES), STUDY)
        assert found["alone"] == 0.25
        assert found["clean"]["worth"] == 0.75
        assert found["protection"] is not None
        assert found["protection"] > 0.9

    def test_unprotected_images_are_worth_all(self) -> None:
        found, _ = measure(CLEAN, CLEAN.images, VALIDATION, TEST, len(CLASSES), STUDY)
        assert found["protection"] == 0
        assert found["interval"] == (0, 0)

    def test_where_two_clean_images_teach_all_nothing_is_measurable(self) -> None:
        _, found = measure(CLEAN, cover(CLEAN.labels), VALIDATION, TEST, len(CLASSES), STUDY)
        assert found["k"] == 2
        assert found["alone"] > 0.95
        assert found["protection"] is None
        assert found["interval"] is None

    def test_every_attack_is_tried_on_both(self) -> None:
        without, few = measure(CLEAN, CLEAN.images, VALIDATION, TEST, len(CLASSES), STUDY)
        first = {"as it ends", "best on the set", "at the share"}
        more = {"renamed", "moment chosen", "last layer", "fine-tuned", "together"}
        for name in ("clean", "protected"):
            assert set(without[name]["attacks"]) == {f"resnet18, {each}" for each in first}
            assert set(few[name]["attacks"]) == {f"resnet18, {each}" for each in first | more}

    def test_what_was_stopped_goes_on_and_ends_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        protected = cover(CLEAN.labels)

        def look(state: State) -> list[dict[str, object]]:
            return measure(CLEAN, protected, VALIDATION, TEST, len(CLASSES), STUDY, state=state)

        whole = look(State(None))
        assert look(State(tmp_path / "state")) == whole
        kept = sorted((tmp_path / "state").iterdir())
        kept[0].unlink()
        kept[1].write_bytes(b"cut off")
        assert look(State(tmp_path / "state")) == whole

        def fail(*_: object) -> None:
            raise AssertionError("trained again")

        monkeypatch.setattr("medprotect.audit.holders.fit", fail)
        assert look(State(tmp_path / "state")) == whole

    def test_more_images_than_there_are_is_refused_before_training(self) -> None:
        study = Study(victims=("resnet18",), ks=(0, 21), seeds=(1,), steps=10**9)
        with pytest.raises(ConfigError, match="fewer than 21"):
            measure(CLEAN, CLEAN.images, VALIDATION, TEST, len(CLASSES), study)


def folder(root: Path) -> Path:
    """Write bands with ``split.csv``."""
    with (root / "split.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(COLUMNS)
        for split, part in (("train", CLEAN), ("val", VALIDATION), ("test", TEST)):
            for number, image in enumerate(part.images):
                file = f"{split}{number}.png"
                Image.fromarray(image[..., 0]).save(root / file)
                rows.writerow([file, CLASSES[part.labels[number]], split, file])
    return root


@pytest.mark.usefixtures("without_chance")
@pytest.mark.parametrize("how", [["--baseline", "gratings"], ["--protected"], ["--unprotected"]])
def test_the_command_prints_json(
    how: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = str(folder(tmp_path))
    how = [*how, images] if how == ["--protected"] else how
    given = ["--images", images, *how, "--k", "0", "--steps", "20", "--most", "100"]
    monkeypatch.setattr(sys, "argv", ["worth", *given])
    command.main()
    found = json.loads(capsys.readouterr().out)
    assert found["train"] == 100
    assert found["test"] == len(TEST)
    (row,) = found["at"]
    assert row["k"] == 0
    if "--protected" in how:
        assert row["protection"] == 0


def test_protected_images_of_another_set_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        folder(tmp_path / name)
    table = (tmp_path / "b" / "split.csv").read_text().splitlines()
    (tmp_path / "b" / "split.csv").write_text("\n".join([*table[:1], *table[9:]]))
    given = ["--images", str(tmp_path / "a"), "--protected", str(tmp_path / "b")]
    monkeypatch.setattr(sys, "argv", ["worth", *given])
    with pytest.raises(ConfigError, match="not those of"):
        command.main()
