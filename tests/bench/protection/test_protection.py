"""The bench: a file for each training, made once; tables that say what the files say."""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.fitted import Autoencoder
from medprotect.audit.halves import Labelled, read_halves
from medprotect.audit.pairs import Images
from medprotect.audit.protection import balanced_accuracy
from medprotect.audit.verdict import DASH
from medprotect.bench.protection.data import BenchData, read_bench_data
from medprotect.bench.protection.protection import (
    CLEAN,
    PROTECTIONS,
    Protection,
    find_protection,
    make_once,
)
from medprotect.bench.protection.record import Run, identify, pack, read_run, read_runs, unpack
from medprotect.bench.protection.run import TRIED, Tally, list_attacks, run_bench
from medprotect.bench.protection.table import write_page
from medprotect.errors import ConfigError

from ...audit.stripes import covered, stripes

STEPS = 10


def silent(_: str) -> None:
    pass


def medmnist_file(path: Path) -> Path:
    """Write fine stripes, across and along, as a file of two classes."""
    arrays: dict[str, np.ndarray] = {}
    for seed, (part, count) in enumerate({"train": 384, "val": 160, "test": 240}.items()):
        drawn = stripes(count, seed, side=12)
        arrays[f"{part}_images"] = drawn.images[1::2, ..., 0]
        arrays[f"{part}_labels"] = drawn.labels[1::2, None] // 2
    # Every second one is half B: each comes twice here, so that both classes are in it.
    for name in ("train_images", "train_labels"):
        arrays[name] = arrays[name].repeat(2, 0)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> BenchData:
    path = medmnist_file(tmp_path_factory.mktemp("data") / "stripes.npz")
    return read_bench_data("breastmnist", path, size=16, train=48, test=40)


@pytest.fixture(scope="module")
def find(data: BenchData) -> Callable[[str], Protection]:
    return lambda name: find_protection(name, "standard", "auto", data)


COVERED = Protection(
    {"name": "covered", "strength": "all"}, lambda train, _: covered(train.images, train.labels)
)
"""Leaves nothing of the images but a shade for each class."""


@pytest.fixture(scope="module")
def start(data: BenchData) -> Callable[..., Tally]:
    """`start(out)` starts the bench."""

    def run(out: Path, steps: int = STEPS) -> Tally:
        attacks = list_attacks(["vgg"], ["posterise-2"], [1], steps)
        return run_bench(data, [COVERED], attacks, out, command="medprotect bench", say=silent)

    return run


Start = Callable[..., Tally]


@pytest.fixture(scope="module")
def out(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert start(folder) == Tally(made=4, kept=0)
    return folder


@pytest.fixture
def runs(out: Path) -> list[Run]:
    return read_runs([out])


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
    ]


def test_a_second_start_does_nothing_again(start: Start, out: Path) -> None:
    before = times(out)
    assert start(out) == Tally(made=0, kept=4)
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
    assert start(there) == Tally(made=2, kept=2)
    assert {path for path, time in times(there).items() if time != before[path]} == {lost, cut}
    assert all(read_run(path)["told"] == was[path]["told"] for path in was)


def test_runs_with_other_settings_lie_beside_the_first(start: Start, out: Path) -> None:
    there = {path: path.read_bytes() for path in out.rglob("*.json")}
    try:
        assert start(out, steps=1) == Tally(made=4, kept=0)
        assert {path: path.read_bytes() for path in there} == there
        page = write_page(read_runs([out]))
        headings = [line for line in page.splitlines() if line.startswith("## ")]
        assert headings == [
            "## BreastMNIST, 48 images, 1 steps",
            "## BreastMNIST, 48 images, 10 steps",
        ]
    finally:
        for path in set(out.rglob("*.json")) - there.keys():
            path.unlink()


def test_a_run_holds_what_its_figures_are_computed_from(runs: list[Run], data: BenchData) -> None:
    for run in runs:
        labels = unpack(run["labels"])
        assert np.array_equal(labels, data.test.labels)
        for which in WHICH:
            told = unpack(run["told"][which])
            assert run["accuracy"][which] == pytest.approx(balanced_accuracy(told, labels, 2))
        assert run["seconds"] > 0
        assert run["peak_memory_mb"] > 50
        assert {"medprotect", "torch", "python"} <= run["versions"].keys()


def exchange(train: Labelled, _: int) -> Images:
    """Return in place of each image one of the other class."""
    others = [np.flatnonzero(train.labels != label) for label in train.labels]
    return train.images[[each[at % len(each)] for at, each in enumerate(others)]]


def test_victims_learn_from_the_protected_images(data: BenchData, tmp_path: Path) -> None:
    turned = Protection({"name": "turned", "strength": "all"}, exchange)
    attacks = list_attacks(["vgg"], [], [1], 60)
    run_bench(data, [turned], attacks, tmp_path, command="bench", say=silent)
    found = {run["settings"]["protection"]["name"]: run for run in read_runs([tmp_path])}
    assert found["clean"]["accuracy"]["as_is"] > 0.75
    assert found["turned"]["accuracy"]["as_is"] < 0.25
    assert found["turned"]["accuracy"]["renamed"] > 0.75


def test_each_victim_is_tried_plainly_and_the_first_under_each_countermeasure() -> None:
    attacks = list_attacks(["vgg", "vit"], ["grey", "jpeg-10"], [3, 4], 9)
    cases = ["vgg none", "vit none", "vgg grey", "vgg jpeg-10"]
    assert [f"{each['victim']} {each['countermeasure']}" for each in attacks] == 2 * cases
    assert [each["seed"] for each in attacks] == 4 * [3] + 4 * [4]
    assert {each["steps"] for each in attacks} == {9}


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


class TestProtections:
    @pytest.mark.parametrize("name", ["ours", "ours-labels", "class-wise"])
    def test_images_are_made_once_and_kept(
        self, name: str, find: Callable[[str], Protection], data: BenchData, tmp_path: Path
    ) -> None:
        few = replace(
            data,
            train=replace(data.train, images=data.train.images[:8], labels=data.train.labels[:8]),
        )
        said: list[str] = []
        first, again = (make_once(find(name), few, tmp_path, said.append) for _ in range(2))
        assert len(said) == 1
        assert np.array_equal(first.images, again.images)
        assert first.protected == again.protected
        change = np.abs(first.images.astype(int) - few.train.images)
        assert 0 < change.max() <= 8

    def test_a_damaged_file_of_images_is_made_again(
        self, find: Callable[[str], Protection], data: BenchData, tmp_path: Path
    ) -> None:
        made = make_once(find("class-wise"), data, tmp_path, silent)
        (path,) = tmp_path.rglob("*.npz")
        for damaged in (path.read_bytes()[:1000], b"", b"no"):
            path.write_bytes(damaged)
            again = make_once(find("class-wise"), data, tmp_path, silent)
            assert np.array_equal(again.images, made.images)

    def test_clean_images_are_left_as_they_are(self, data: BenchData, tmp_path: Path) -> None:
        made = make_once(CLEAN, data, tmp_path, silent)
        assert made.images is data.train.images
        assert made.protected is None
        assert not list(tmp_path.iterdir())

    def test_ours_says_the_class_where_it_is_told(
        self, find: Callable[[str], Protection], data: BenchData
    ) -> None:
        one = replace(
            data.train, images=data.train.images[:1].repeat(2, 0), labels=np.array([0, 1])
        )
        untold, told = (find(name).protect(one, 2) for name in ("ours", "ours-labels"))
        assert np.array_equal(untold[0], untold[1])
        assert not np.array_equal(told[0], told[1])

    def test_the_budget_is_that_of_the_strength(self, data: BenchData) -> None:
        for strength, most in {"low": 4, "high": 16}.items():
            noisy = find_protection("class-wise", strength, "auto", data).protect(data.train, 2)
            assert np.abs(noisy.astype(int) - data.train.images).max() == most

    def test_the_budget_of_others_can_be_another(self, data: BenchData) -> None:
        other, ours = (
            find_protection(name, "standard", "auto", data, budget_lsb=6)
            for name in ("class-wise", "ours")
        )
        noisy = other.protect(data.train, 2)
        assert np.abs(noisy.astype(int) - data.train.images).max() == 6
        assert ours.settings == find_protection("ours", "standard", "auto", data).settings

    def test_no_two_have_the_same_settings(self, find: Callable[[str], Protection]) -> None:
        assert len({identify(find(name).settings) for name in PROTECTIONS}) == len(PROTECTIONS)

    def test_a_pipeline_of_fewer_classes_cannot_be_told_the_labels(self, data: BenchData) -> None:
        many = replace(data, classes=tuple("abcdefg"))
        with pytest.raises(ConfigError, match="tells 6 classes apart, the data set has 7"):
            find_protection("ours-labels", "standard", "auto", many)
        assert find_protection("ours", "standard", "auto", many).name == "ours"

    def test_the_pipeline_that_is_shipped_for_colour_is_found(self, data: BenchData) -> None:
        colour = replace(data, train=replace(data.train, images=data.train.images.repeat(3, -1)))
        pipelines = [
            find_protection("ours", "standard", "auto", each).settings["pipeline"]
            for each in (data, colour)
        ]
        assert pipelines == ["radiology-grey", "blood-microscopy"]


class TestData:
    def test_what_an_attacker_may_have_besides_is_half_a(self, tmp_path: Path) -> None:
        path = medmnist_file(tmp_path / "stripes.npz")
        data = read_bench_data("breastmnist", path, size=16, train=50)
        halves = read_halves(path)
        assert data.aid.other is not None
        assert np.array_equal(data.aid.other, halves.a.images)
        assert len(data.aid.other) == 192

    def test_a_part_is_drawn_and_always_the_same(self, tmp_path: Path) -> None:
        path = medmnist_file(tmp_path / "stripes.npz")
        whole = read_bench_data("breastmnist", path, size=16)
        one, same = (read_bench_data("breastmnist", path, size=16, train=50, test=30) for _ in "ab")
        assert (len(whole.train), len(whole.validation), len(whole.test)) == (192, 80, 120)
        assert (len(one.train), len(one.validation), len(one.test)) == (50, 30, 30)
        assert one.settings() == same.settings() != whole.settings()
        there = {image.tobytes() for image in whole.train.images}
        assert all(image.tobytes() in there for image in one.train.images)
        assert set(one.train.labels) == {0, 1}

    def test_large_images_are_brought_to_the_size(self, tmp_path: Path) -> None:
        for label, name in enumerate(("benign", "malignant", "normal")):
            (tmp_path / name).mkdir()
            for index in range(20):
                shade = np.full((40, 20), 60 * label + index, np.uint8)
                shade[20:] += 50
                Picture.fromarray(shade).save(tmp_path / name / f"{index:02}.png")
        data = read_bench_data("busi", tmp_path, size=16)
        assert data.train.images.shape == (24, 16, 8, 1)
        shades = [int(image[0, 0, 0]) for image in data.train.images]
        assert all((image[:7] == image[0, 0, 0]).all() for image in data.train.images)
        assert all((image[9:] == image[0, 0, 0] + 50).all() for image in data.train.images)
        assert shades[:8] == [1, 3, 5, 7, 11, 13, 15, 17]
        assert data.classes == ("benign", "malignant", "normal")

    def test_training_images_that_a_run_would_reject_are_left_out(self, tmp_path: Path) -> None:
        for name in ("benign", "malignant", "normal"):
            (tmp_path / name).mkdir()
            for index in range(20):
                picture = np.tile(np.arange(16, dtype=np.uint8) * 10, (16, 1))
                if index == 1:  # of half B
                    picture[:] = 7
                Picture.fromarray(picture).save(tmp_path / name / f"{index:02}.png")
        data = read_bench_data("busi", tmp_path, size=16)
        assert len(data.train) == len(data.train.labels) == 24 - 3
        assert all(image.std() > 0 for image in data.train.images)

    def test_too_few_images_for_every_class_are_refused(self, tmp_path: Path) -> None:
        path = medmnist_file(tmp_path / "stripes.npz")
        with pytest.raises(ConfigError, match="take more images"):
            read_bench_data("breastmnist", path, size=16, train=1)

    def test_a_data_set_of_other_classes_than_its_card_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="8 classes"):
            read_bench_data("bloodmnist", medmnist_file(tmp_path / "a.npz"), size=16)


WHICH: tuple[Literal["as_is", "renamed", "best"], ...] = ("as_is", "renamed", "best")
SHARES = {"as_is": 0.3, "renamed": 0.4, "best": 0.5}
LABELS = np.arange(400) % 4


def make_run(
    name: str = "em",
    *,
    attack: tuple[str, str] = ("vgg", "none"),
    seed: int = 1,
    right: float = 1.0,
    **made_with: str | int,
) -> Run:
    """Return a run as it would be with so much of the truth told, in all or in parts of it."""
    random = np.random.default_rng(seed)
    wrong = (LABELS + random.integers(1, 4, len(LABELS))) % 4
    told = {
        which: np.where(random.random(len(LABELS)) < right * SHARES[which] * 2, LABELS, wrong)
        for which in WHICH
    }
    strength = {} if name == "clean" else {"strength": "standard"}
    figures = {"psnr_db": {"protected": 31.64, "jpeg_50": 29.36}}
    return {
        "schema_version": 1,
        "settings": {
            "data": {"dataset": "busi", "sha256": "ab", "train": 1500, "image_size": [64, 64, 1]},
            "protection": {"name": name, **strength, **made_with},
            "attack": {
                "victim": attack[0],
                "countermeasure": attack[1],
                "seed": seed,
                "steps": 1200,
            },
        },
        "accuracy": {which: balanced_accuracy(told[which], LABELS, 4) for which in WHICH},  # type: ignore[typeddict-item]
        "protected": None if name == "clean" else {"seconds": 61.7, "fidelity": figures},  # type: ignore[typeddict-item]
        "classes": list("abcd"),
        "validation": 70,
        "labels": pack(LABELS),
        "told": {which: pack(told[which]) for which in WHICH},  # type: ignore[typeddict-item]
        "command": f"medprotect bench protection --seeds {seed}",
        "date": "2026-11-26",
        "versions": {"medprotect": "0.1.0", "torch": "2", "processor": "x", "threads": "1"},
        "seconds": 900.0,
        "peak_memory_mb": 1234.0,
    }


CLEAN_RUNS = [make_run("clean", seed=seed, right=0.9) for seed in (1, 2)]


def cells(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Return the rows of the table by their first field."""
    lines = [line for line in write_page(runs).splitlines() if line.startswith("| ")]
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {row[0]: row[1:] for row in rows}


class TestTable:
    def test_rows_are_protections_and_columns_are_attacks(self) -> None:
        runs = [
            make_run("em", attack=("vgg", "jpeg-10")),
            make_run("em", attack=("vgg", "grey")),
            make_run("em", attack=("resnet18", "none")),
            make_run("ours", pipeline="blood", pipeline_sha256="ab"),
            make_run("em"),
            *CLEAN_RUNS,
        ]
        rows = cells(runs)
        assert list(rows) == ["protection", "---", "clean", "ours (blood)", "em"]
        assert rows["protection"] == [
            *("PSNR, dB", "made in, s", "as it is", "renamed", "best"),
            *("jpeg-10", "grey", "resnet18"),
        ]
        assert rows["clean"][:2] == [DASH, DASH]
        assert rows["em"][:2] == ["31.6", "62"]
        assert rows["ours (blood)"][-3:] == [DASH, DASH, DASH]

    def test_fields_are_p_its_interval_and_the_accuracy(self) -> None:
        noisy = [make_run(seed=seed, right=0.5) for seed in (1, 2)]
        rows = cells([*CLEAN_RUNS, *noisy])
        clean = np.mean([run["accuracy"]["best"] for run in CLEAN_RUNS])
        assert rows["clean"][4] == f"{clean:.3f}"
        for field, which in zip(rows["em"][2:], WHICH, strict=True):
            reached = float(np.mean([run["accuracy"][which] for run in noisy]))
            found = re.fullmatch(r"\*\*(.+)\*\* \((.+) to (.+)\)<br>(.+)", field)
            assert found
            share, low, high, accuracy = map(float, found.groups())
            assert share == pytest.approx((clean - reached) / (clean - 0.25), abs=0.006)
            assert low < share < high
            assert high - low < 0.3
            assert accuracy == pytest.approx(reached, abs=6e-4)

    def test_more_than_clean_images_teach_has_a_true_minus(self) -> None:
        field = cells([*CLEAN_RUNS, make_run(right=1.0), make_run(seed=2, right=1.0)])["em"][4]
        assert field.startswith("**\N{MINUS SIGN}0.1")

    def test_the_page_names_data_budget_and_commands(self) -> None:
        page = write_page([*CLEAN_RUNS, make_run()])
        assert "## BUSI, 1,500 images, 1,200 steps\n" in page
        assert "CC BY 4.0: Al-Dhabyani" in page
        assert "1,500 images of 64 x 64 x 1, chosen on 70 and tested on 400 clean ones of 4" in page
        clean = np.mean([run["accuracy"]["best"] for run in CLEAN_RUNS])
        assert f"guessing gives 0.250, A_clean is {clean:.3f} (vgg)" in page
        assert "3 runs, 0.8 hours, 1,234 MB" in page
        assert "JPEG 50 of the clean images has a PSNR of 29.4 dB" in page
        lines = [line for line in page.splitlines() if line.startswith("    medprotect")]
        assert [line[-1] for line in lines] == ["1", "2"]

    def test_a_clean_model_of_another_kind_is_a_clean_if_it_learned_more(self) -> None:
        better = make_run("clean", attack=("resnet18", "none"), right=1.0)
        assert "A_clean is 1.000 (resnet18)" in write_page([*CLEAN_RUNS, better])

    def test_a_field_of_fewer_seeds_than_others_says_so(self) -> None:
        rows = cells([*CLEAN_RUNS, make_run(seed=2)])
        assert rows["em"][4].endswith("<br>seed 2 alone")
        assert "alone" not in rows["clean"][4]

    def test_without_clean_runs_there_is_no_p(self) -> None:
        noisy = make_run(right=0.5)
        assert "A_clean is not measured" in write_page([noisy])
        assert cells([noisy])["em"][4] == f"{DASH}<br>{noisy['accuracy']['best']:.3f}"

    def test_where_clean_images_teach_too_little_there_is_no_p(self) -> None:
        taught_little = make_run("clean", right=0.3)
        assert cells([taught_little, make_run()])["em"][4].startswith(f"{DASH}<br>")

    def test_another_strength_is_named_and_so_are_pipelines_of_one_name(self) -> None:
        runs = [make_run(budget_lsb=8), make_run(strength="low", budget_lsb=4)]
        runs += [make_run(budget_lsb=6), make_run(strength="low", budget_lsb=3)]
        runs += [make_run("ours", pipeline="mine", pipeline_sha256=digest) for digest in "ab"]
        rows = list(cells([*CLEAN_RUNS, *runs]))
        assert {"em", "em, low", "em, 6 of 255", "em, low, 3 of 255"} < set(rows)
        assert sum(row.startswith("ours (mine), ") for row in rows) == 2


class TestRuns:
    def test_predictions_are_packed_and_come_back(self) -> None:
        told = np.random.default_rng(0).integers(256, size=5000)
        assert np.array_equal(unpack(pack(told)), told)
        assert len(pack(told % 8)) < 0.7 * len(told)
        assert unpack(pack(told[:0])).size == 0

    @pytest.mark.parametrize("told", [[256], [-1, 3]])
    def test_more_classes_than_a_byte_holds_are_refused(self, told: list[int]) -> None:
        with pytest.raises(ConfigError, match="256 classes"):
            pack(np.array(told))

    def test_runs_of_two_folders_count_once(self, out: Path, runs: list[Run]) -> None:
        (one, *_) = out.rglob("*.json")
        assert len(read_runs([out, one])) == len(runs) == 4

    @pytest.mark.parametrize("text", ["no", "[]", "{}", "{}\n", '{"schema_version": 1}'])
    def test_a_file_that_is_no_run_is_named_and_refused(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ConfigError, match=r"a\.json is not a run"):
            read_runs([tmp_path])

    def test_a_folder_without_runs_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no runs"):
            read_runs([tmp_path])
