"""Stacks of neighbouring slices, from volumes and from slices that lie in any order."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medprotect.audit.halves import Labelled
from medprotect.bench.studies.stacks import CHAINS, VOLUMES, chain, cut, likeness, read_stacks
from medprotect.errors import ConfigError


def volumes(count: int, depth: int = 10, side: int = 12) -> np.ndarray:
    """Volumes (N, D, H, W) that change little from slice to slice, each another."""
    random = np.random.default_rng(0)
    start, end = random.integers(0, 255, (2, count, 1, side, side))
    way = np.linspace(0, 1, depth)[None, :, None, None]
    return (start + way * (end - start)).astype(np.uint8)


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    parts = ("train", "val", "test")
    arrays = {f"{part}_images": images for part in parts}
    np.savez(path, **arrays, **{f"{part}_labels": labels[:, None] for part in parts})
    return path


def test_a_volume_is_cut_into_stacks_of_its_neighbouring_slices() -> None:
    images = volumes(3)
    stacks = cut(Labelled(images, np.array([0, 1, 2])), 4)
    assert stacks.slices.shape == (6, 4, 12, 12, 1)
    assert stacks.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(stacks.slices[3, ..., 0], images[1, 4:8])


def test_a_file_of_volumes_gives_every_second_volume_as_half_b(tmp_path: Path) -> None:
    images, labels = volumes(4), np.array([0, 1, 2, 3])
    parts = read_stacks(save(tmp_path / "volumes.npz", images, labels), 5)
    assert parts.made_of == VOLUMES
    assert parts.b.labels.tolist() == [1, 1, 3, 3]
    assert np.array_equal(parts.b.slices[0, ..., 0], images[1, :5])


def test_shuffled_slices_are_put_beside_those_they_are_most_like(tmp_path: Path) -> None:
    images = volumes(6).reshape(60, 12, 12)
    labels = np.repeat([0, 1], 30)
    order = np.random.default_rng(1).permutation(60)
    shuffled = Labelled(images[order][..., None], labels[order])
    together = chain(shuffled, 5)
    assert together.slices.shape == (12, 5, 12, 12, 1)
    assert np.bincount(together.labels).tolist() == [6, 6]
    apart = shuffled.images[np.argsort(shuffled.labels, kind="stable")].reshape(12, 5, 12, 12, 1)
    assert likeness(apart) < 0.5 < 0.9 < likeness(together.slices)
    path = save(tmp_path / "slices.npz", images[order], labels[order])
    assert read_stacks(path, 5).made_of == CHAINS


def test_no_slice_stands_in_two_stacks() -> None:
    images = volumes(5).reshape(50, 12, 12, 1)
    stacks = chain(Labelled(images, np.zeros(50, np.int64)), 4)
    slices = stacks.slices.reshape(-1, 144)
    assert len(slices) == 48
    assert len(np.unique(slices, axis=0)) == 48


def test_a_folder_of_volumes_is_parted_by_volume(tmp_path: Path) -> None:
    for number in range(20):
        voxels = np.full((20, 16, 9), 10 * number, np.int16)
        voxels[::2, ::2] += 300
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(
            tmp_path / "ab"[number % 2] / f"{number:02}.nii"
        )
    parts = read_stacks(tmp_path, 4, side=8)
    assert parts.classes == ("a", "b")
    assert [len(part) for part in (parts.b, parts.validation, parts.test)] == [16, 4, 4]
    assert parts.b.slices.shape[1:] == (4, 8, 8, 1)
    assert set(parts.b.labels) == {0, 1}


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one a class"):
        read_stacks(tmp_path, 4)


def test_slices_that_are_opposite_are_not_alike() -> None:
    one = volumes(1, depth=1)[0, 0]
    stacks = np.stack([one, 255 - one])[None, ..., None]
    assert likeness(stacks) == pytest.approx(-1)
    assert likeness(np.stack([one, one // 2])[None, ..., None]) > 0.99
