"""What the bench trains and tests on: half B, and a part of it that is always the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.audit.halves import read_halves
from medprotect.bench.protection.data import read_bench_data
from medprotect.errors import ConfigError

from .conftest import medmnist_file


def test_what_an_attacker_may_have_besides_is_half_a(tmp_path: Path) -> None:
    path = medmnist_file(tmp_path / "stripes.npz")
    data = read_bench_data("breastmnist", path, size=16, train=50)
    halves = read_halves(path)
    assert data.aid.other is not None
    assert np.array_equal(data.aid.other, halves.a.images)
    assert len(data.aid.other) == 192


def test_a_part_is_drawn_and_always_the_same(tmp_path: Path) -> None:
    path = medmnist_file(tmp_path / "stripes.npz")
    whole = read_bench_data("breastmnist", path, size=16)
    one, same = (read_bench_data("breastmnist", path, size=16, train=50, test=30) for _ in "ab")
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (192, 80, 120)
    assert (len(one.train), len(one.validation), len(one.test)) == (50, 30, 30)
    assert one.settings() == same.settings() != whole.settings()
    there = {image.tobytes() for image in whole.train.images}
    assert all(image.tobytes() in there for image in one.train.images)
    assert set(one.train.labels) == {0, 1}


def test_large_images_are_brought_to_the_size(tmp_path: Path) -> None:
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


def test_training_images_that_a_run_would_reject_are_left_out(tmp_path: Path) -> None:
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


def test_too_few_images_for_every_class_are_refused(tmp_path: Path) -> None:
    path = medmnist_file(tmp_path / "stripes.npz")
    with pytest.raises(ConfigError, match="take more images"):
        read_bench_data("breastmnist", path, size=16, train=1)


def test_a_data_set_of_other_classes_than_its_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="8 classes"):
        read_bench_data("bloodmnist", medmnist_file(tmp_path / "a.npz"), size=16)
