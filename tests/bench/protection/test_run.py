"""The bench: a file for each training, made once; a second start goes on."""

import os
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.fitted import Autoencoder
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Images
from medprotect.bench.protection.data import BenchData
from medprotect.bench.protection.protection import NO_SET, Protection
from medprotect.bench.protection.record import Run, read_run, read_runs, unpack
from medprotect.bench.protection.run import TRIED, Tally, list_attacks, run_bench
from medprotect.confounder.accuracy import balanced_accuracy

from .conftest import COVERED, STEPS, Start, silent


def names(folder: Path) -> list[str]:
    """Return the files below a folder, without what tells settings apart."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(re.sub(r"\.[0-9a-f]{8}\.", ".", os.fspath(file)) for file in files)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}


def test_every_training_makes_a_file_that_is_named_by_what_it_is(out: Path) -> None:
    assert names(out / "breastmnist") == [
        "clean/vgg.none.seed-1.json",
        "clean/vgg.posterise-2.seed-1.json",
        "covered/protected.npz",
        "covered/vgg.none.seed-1.json",
        "covered/vgg.posterise-2.seed-1.json",
        "no set/vgg.none.seed-1.json",
    ]


def test_a_second_start_does_nothing_again(start: Start, out: Path) -> None:
    before = times(out)
    assert start(out) == Tally(made=0, kept=5)
    assert times(out) == before


def test_a_run_that_is_missing_or_damaged_is_made_again_alone(
    start: Start, out: Path, tmp_path: Path
) -> None:
    there = tmp_path / "runs"
    shutil.copytree(out, there)
    before = times(there)
    (lost,) = there.glob("*/covered/vgg.none*")
    (cut,) = there.glob("*/clean/vgg.posterise-2*")
    was = {path: read_run(path) for path in (lost, cut)}
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    assert start(there) == Tally(made=2, kept=3)
    assert {path for path, time in times(there).items() if time != before[path]} == {lost, cut}
    for path, run in was.items():
        again = read_run(path)
        for told in ("moments", "oracle", "with_images", "accuracy"):
            assert again[told] == run[told]  # type: ignore[literal-required]


def test_runs_with_other_settings_lie_beside_the_first(
    start: Start, out: Path, tmp_path: Path
) -> None:
    there = tmp_path / "runs"
    shutil.copytree(out, there)
    before = {path: path.read_bytes() for path in there.rglob("*.json")}
    assert start(there, steps=1) == Tally(made=5, kept=0)
    assert {path: path.read_bytes() for path in before} == before
    assert len(read_runs([there])) == 10


def test_a_run_holds_what_its_figures_are_computed_from(runs: list[Run], data: BenchData) -> None:
    for run in runs:
        labels = unpack(run["labels"])
        assert np.array_equal(labels, data.test.labels)
        assert run["seconds"] > 0
        assert run["peak_memory_mb"] > 50
        assert {"medprotect", "torch", "python"} <= run["versions"].keys()
        if run["settings"]["protection"] == NO_SET.settings:
            assert run["accuracy"] is run["moments"] is run["oracle"] is None
            continue
        assert run["moments"]
        assert run["oracle"]
        assert run["accuracy"]
        assert run["moments"]["steps"] == list(range(1, STEPS + 1))
        assert len(run["moments"]["held"]) == STEPS
        last = unpack(run["moments"]["predicted"][-1])
        assert len(unpack(run["moments"]["balanced"])) == len(labels)
        for name, told in (("as_it_ends", last), ("oracle", unpack(run["oracle"]))):
            found = balanced_accuracy(told, labels, 2)
            assert run["accuracy"][name] == pytest.approx(found, abs=1e-6)  # type: ignore[literal-required]


def test_plain_trainings_hold_what_a_few_clean_images_do_besides(
    runs: list[Run], data: BenchData
) -> None:
    for run in runs:
        name, attack = run["settings"]["protection"]["name"], run["settings"]["attack"]
        if attack["countermeasure"] != "none":
            assert "k" not in attack
            assert run["with_images"] == {}
            continue
        assert attack["k"] == [2]
        attacks = ["renamed", "moment chosen", "last layer", "fine-tuned", "together"]
        assert list(run["with_images"]["2"]) == (["alone"] if name == "no set" else attacks)
        for told in run["with_images"]["2"].values():
            assert len(unpack(told)) == len(data.test)


def test_progress_ends_where_all_steps_of_all_trainings_are_done(
    data: BenchData, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []

    def note(stage: str, step: int, steps: int, _: dict[str, float]) -> None:
        told.append((stage, step, steps))

    attacks = list_attacks(["vgg"], ["posterise-2"], [1], 2, [1])

    def start() -> None:
        run_bench(data, [COVERED], attacks, tmp_path, command="b", say=silent, progress=note)

    start()
    # The k alone; with each set, fine-tuned on the k, and with the k; the countermeasure on each.
    trainings = 1 + 2 * 3 + 2
    assert {steps for *_, steps in told} == {2 * trainings}
    done = [step for _, step, _ in told]
    assert done == sorted(done)
    assert set(done) == set(range(2 * trainings + 1))
    assert told[0][0] == "1/5 no set: vgg, none, seed 1"
    assert [stage for stage, *_ in told if "protecting" in stage] == [
        f"covered: protecting {len(data.train)} images"
    ]
    assert told[-1][0] == "5/5 covered: vgg, posterise-2, seed 1"
    (lost,) = tmp_path.glob("*/covered/vgg.posterise-2*")
    lost.unlink()
    told.clear()
    start()
    assert told[-1] == ("5/5 covered: vgg, posterise-2, seed 1", 2, 2)


def exchange(train: Labelled, _: int) -> Images:
    """Return in place of each image one of the other class."""
    others = [np.flatnonzero(train.labels != label) for label in train.labels]
    return train.images[[each[at % len(each)] for at, each in enumerate(others)]]


def test_victims_learn_from_the_protected_images(data: BenchData, tmp_path: Path) -> None:
    turned = Protection({"name": "turned", "strength": "all"}, exchange)
    attacks = list_attacks(["vgg"], [], [1], 60)
    run_bench(data, [turned], attacks, tmp_path, command="bench", say=silent)
    found = {
        run["settings"]["protection"]["name"]: run["accuracy"] for run in read_runs([tmp_path])
    }
    assert found["clean"]
    assert found["turned"]
    assert found["clean"]["as_it_ends"] > 0.75
    assert found["turned"]["as_it_ends"] < 0.25
    assert found["turned"]["oracle"] > 0.75  # renamed: it knows the classes, by other names


def test_each_victim_is_tried_plainly_and_the_first_under_each_countermeasure() -> None:
    attacks = list_attacks(["vgg", "vit"], ["grey", "jpeg-10"], [3, 4], 9)
    cases = ["vgg none", "vit none", "vgg grey", "vgg jpeg-10"]
    assert [f"{each['victim']} {each['countermeasure']}" for each in attacks] == 2 * cases
    assert [each["seed"] for each in attacks] == 4 * [3] + 4 * [4]
    assert {each["steps"] for each in attacks} == {9}
    assert not any("k" in each for each in attacks)


def test_with_a_few_clean_images_plain_trainings_alone_are_tried() -> None:
    attacks = list_attacks(["vgg", "vit"], ["grey"], [3], 9, [50, 10])
    assert [each.get("k") for each in attacks] == [[10, 50], [10, 50], None]


def test_a_purifier_learns_from_half_a_and_is_known_by_it(
    data: BenchData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(COUNTERMEASURES, "autoencoder", partial(Autoencoder, steps=2))
    attacks = list_attacks(["vgg"], ["autoencoder"], [1], 1)

    def start(data: BenchData) -> Tally:
        return run_bench(data, [COVERED], attacks, tmp_path, command="bench", say=silent)

    assert "autoencoder" in TRIED
    assert "inverse" not in TRIED
    assert start(data) == Tally(made=4, kept=0)
    assert start(data) == Tally(made=0, kept=4)
    assert data.aid.other is not None
    assert start(replace(data, aid=Aid(other=data.aid.other[:50]))) == Tally(made=2, kept=2)
    known = [run["settings"]["attack"].get("aid_sha256") for run in read_runs([tmp_path])]
    assert known.count(None) == 2
    assert len(set(known)) == 3
