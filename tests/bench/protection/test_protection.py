"""What the bench protects with: made once, within its budget, ours among others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medprotect.bench.protection.data import BenchData
from medprotect.bench.protection.protection import (
    CLEAN,
    NO_SET,
    OURS,
    PROTECTIONS,
    Protection,
    find_protection,
    make_once,
)
from medprotect.bench.protection.record import identify
from medprotect.errors import ConfigError

from .conftest import silent


@pytest.mark.parametrize("name", ["ours", "ours-labels", "class-wise", "control"])
def test_images_are_made_once_and_kept(
    name: str, find: Callable[[str], Protection], data: BenchData, tmp_path: Path
) -> None:
    few = replace(
        data,
        train=replace(data.train, images=data.train.images[:8], labels=data.train.labels[:8]),
    )
    said: list[str] = []
    first, again = (make_once(find(name), few, tmp_path, said.append) for _ in range(2))
    assert len(said) == 1
    assert first.images is not None
    assert again.images is not None
    assert np.array_equal(first.images, again.images)
    assert first.protected == again.protected
    change = np.abs(first.images.astype(int) - few.train.images)
    assert 0 < change.max() <= (16 if name in OURS else 8)


def test_a_damaged_file_of_images_is_made_again(
    find: Callable[[str], Protection], data: BenchData, tmp_path: Path
) -> None:
    made = make_once(find("class-wise"), data, tmp_path, silent)
    (path,) = tmp_path.rglob("*.npz")
    for damaged in (path.read_bytes()[:1000], b"", b"no"):
        path.write_bytes(damaged)
        again = make_once(find("class-wise"), data, tmp_path, silent)
        assert again.images is not None
        assert made.images is not None
        assert np.array_equal(again.images, made.images)


def test_clean_images_are_left_as_they_are(data: BenchData, tmp_path: Path) -> None:
    made = make_once(CLEAN, data, tmp_path, silent)
    assert made.images is data.train.images
    assert made.protected is None
    assert not list(tmp_path.iterdir())


def test_of_no_set_there_are_no_images(data: BenchData, tmp_path: Path) -> None:
    made = make_once(NO_SET, data, tmp_path, silent)
    assert made.images is made.protected is None
    assert not list(tmp_path.iterdir())


def test_ours_says_the_class_where_it_is_told(
    find: Callable[[str], Protection], data: BenchData
) -> None:
    one = replace(data.train, images=data.train.images[:1].repeat(2, 0), labels=np.array([0, 1]))
    untold, told = (find(name).protect(one, 2) for name in ("ours", "ours-labels"))
    assert np.array_equal(untold[0], untold[1])
    assert not np.array_equal(told[0], told[1])


def test_the_budget_is_that_of_the_strength(data: BenchData) -> None:
    for strength, most in {"low": 4, "high": 16}.items():
        noisy = find_protection("class-wise", strength, "auto", data).protect(data.train, 2)
        assert np.abs(noisy.astype(int) - data.train.images).max() == most


def test_the_budget_of_others_can_be_another(data: BenchData) -> None:
    other, ours = (
        find_protection(name, "standard", "auto", data, budget_lsb=6)
        for name in ("class-wise", "ours")
    )
    noisy = other.protect(data.train, 2)
    assert np.abs(noisy.astype(int) - data.train.images).max() == 6
    assert ours.settings == find_protection("ours", "standard", "auto", data).settings


def test_no_two_have_the_same_settings(find: Callable[[str], Protection]) -> None:
    assert len({identify(find(name).settings) for name in PROTECTIONS}) == len(PROTECTIONS)


def test_a_pipeline_of_fewer_classes_cannot_be_told_the_labels(data: BenchData) -> None:
    many = replace(data, classes=tuple("abcdefg"))
    with pytest.raises(ConfigError, match="tells 6 classes apart, the data set has 7"):
        find_protection("ours-labels", "standard", "radiology-grey", many)
    told = find_protection("ours-labels", "standard", "auto", many)
    assert told.settings["pipeline"] == "labels-grey"
    assert find_protection("ours", "standard", "auto", many).name == "ours"


def test_the_pipeline_that_is_shipped_for_colour_is_found(data: BenchData) -> None:
    colour = replace(data, train=replace(data.train, images=data.train.images.repeat(3, -1)))
    pipelines = [
        find_protection("ours", "standard", "auto", each).settings["pipeline"]
        for each in (data, colour)
    ]
    assert pipelines == ["radiology-grey", "blood-microscopy"]
