"""Data sets in four parts that share no image."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import coins

from medprotect.audit.halves import Halves, read_halves
from medprotect.errors import ConfigError


def crops(count: int, channels: int) -> NDArray[np.uint8]:
    picture = coins()
    images = np.stack([picture[at : at + 12, at : at + 12] for at in range(count)])
    return images if channels == 1 else np.stack([images, images // 2, images // 3], axis=-1)


def medmnist_file(path: Path, channels: int) -> Path:
    sizes = {"train": 20, "val": 6, "test": 8}
    images = crops(sum(sizes.values()), channels)
    arrays: dict[str, NDArray[np.uint8]] = {}
    start = 0
    for part, count in sizes.items():
        arrays[f"{part}_images"] = images[start : start + count]
        arrays[f"{part}_labels"] = (np.arange(count) % 6)[:, None].astype(np.uint8)
        start += count
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def all_images(halves: Halves) -> list[bytes]:
    parts = (halves.a, halves.b, halves.validation, halves.test)
    return [image.tobytes() for part in parts for image in part.images]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_medmnist_file_falls_into_halves_of_its_training_set(
    tmp_path: Path, channels: int
) -> None:
    halves = read_halves(medmnist_file(tmp_path / "a.npz", channels))
    assert [len(part) for part in (halves.a, halves.b, halves.validation, halves.test)] == [
        10,
        10,
        6,
        8,
    ]
    assert halves.a.images.shape == (10, 12, 12, channels)
    assert len(set(all_images(halves))) == 34
    assert halves.b.labels.tolist() == [1, 3, 5, 1, 3, 5, 1, 3, 5, 1]
    assert len(halves.classes) == 6


def class_folders(root: Path, channels: int = 1, first: int = 0) -> Path:
    for label, name in enumerate(["b", "a"]):
        (root / name).mkdir(parents=True)
        start = first + label * 20
        for index, image in enumerate(crops(start + 20, channels)[start:]):
            Image.fromarray(image).save(root / name / f"{index:03d}.png")
    return root


def test_a_folder_of_classes_falls_into_parts_that_share_nothing(tmp_path: Path) -> None:
    halves = read_halves(class_folders(tmp_path / "set"))
    assert [len(part) for part in (halves.a, halves.b, halves.validation, halves.test)] == [
        16,
        16,
        4,
        4,
    ]
    assert len(set(all_images(halves))) == 40
    assert halves.classes == ("a", "b")
    assert set(halves.b.labels.tolist()) == {0, 1}


def test_pictures_keep_their_colour_and_grey_ones_among_them_get_three_channels(
    tmp_path: Path,
) -> None:
    folder = class_folders(tmp_path / "set", channels=3)
    assert read_halves(folder).a.images.shape == (16, 12, 12, 3)
    with Image.open(folder / "a" / "000.png") as picture:
        assert np.array_equal(read_halves(folder).a.images[0], np.asarray(picture))
        picture.convert("L").save(folder / "a" / "000.png")
    first = read_halves(folder).a.images[0]
    assert np.array_equal(first[..., 0], first[..., 2])


def test_a_test_set_that_is_given_is_kept_apart(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test", first=40)
    halves = read_halves(tmp_path)
    parts = (halves.a, halves.b, halves.validation, halves.test)
    assert [len(part) for part in parts] == [16, 16, 8, 40]
    assert len(set(all_images(halves))) == 80
    given = crops(80, 1)
    expected = np.concatenate([given[60:], given[40:60]])  # of class a, then of b
    assert np.array_equal(halves.test.images[..., 0], expected)


def test_a_test_set_of_other_classes_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test", first=40)
    (tmp_path / "test" / "a").rename(tmp_path / "test" / "c")
    with pytest.raises(ConfigError, match="differ in classes"):
        read_halves(tmp_path)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    (tmp_path / "empty").mkdir()
    for source in ("text.npz", "other.npz", "empty", "missing.npz"):
        with pytest.raises(ConfigError):
            read_halves(tmp_path / source)


def test_pickles_in_a_numpy_file_are_never_loaded(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "a.npz", train_images=objects)
    with pytest.raises(ConfigError):
        read_halves(tmp_path / "a.npz")


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez(whole, train_images=np.zeros((64, 8, 8), np.uint8))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:300])
    with pytest.raises(ConfigError, match=r"cut\.npz"):
        read_halves(tmp_path / "cut.npz")
