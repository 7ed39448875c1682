"""What an audit reads: the parts share no patient, and every protected image is there."""

from pathlib import Path

import numpy as np
import pytest

from medprotect.audit.pairs import read_pairs
from medprotect.errors import ConfigError

from .stripes import CLASSES, lay_out, stripes

COUNT = 60


def folders(tmp_path: Path, **extra: list[str]) -> tuple[Path, Path, Path]:
    part = stripes(COUNT)
    table = tmp_path / "labels.csv"
    lay_out(part, tmp_path / "clean", table, extra)
    lay_out(part, tmp_path / "out", tmp_path / "unused.csv", {})
    return tmp_path / "clean", tmp_path / "out", table


def test_parts_are_drawn_so_that_each_holds_every_class(tmp_path: Path) -> None:
    pairs = read_pairs(*folders(tmp_path), 16)
    assert pairs.split == "by image"
    assert pairs.classes == CLASSES
    assert [len(part) for part in (pairs.clean, pairs.validation, pairs.test)] == [36, 12, 12]
    for part in (pairs.clean, pairs.validation, pairs.test):
        assert set(part.labels.tolist()) == {0, 1, 2, 3}
    assert pairs.patients is None
    assert np.array_equal(pairs.clean.images, pairs.protected)


def test_a_given_split_is_kept(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    pairs = read_pairs(*folders(tmp_path, split=given), 16)
    assert pairs.split == "given"
    assert np.array_equal(pairs.test.images, stripes(COUNT).images[48:])


def test_no_patient_is_in_two_parts(tmp_path: Path) -> None:
    names = [f"p{index // 4}" for index in range(COUNT)]
    pairs = read_pairs(*folders(tmp_path, patient=names), 16)
    assert pairs.split == "patient-wise"
    assert pairs.patients is not None
    assert len(pairs.patients) == len(pairs.test)
    everything = stripes(COUNT).images

    def patients_of(images: np.ndarray) -> set[int]:
        return {
            index // 4
            for index, image in enumerate(everything)
            for each in images
            if np.array_equal(image, each)
        }

    parts = [patients_of(part.images) for part in (pairs.clean, pairs.validation, pairs.test)]
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == COUNT // 4


def test_a_given_split_that_shares_a_patient_is_refused(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    with pytest.raises(ConfigError, match="two parts"):
        read_pairs(*folders(tmp_path, split=given, patient=["same"] * COUNT), 16)


def test_images_that_a_run_rejected_are_left_out_and_counted(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    clean, out, table = folders(tmp_path, split=given)
    whole = read_pairs(clean, out, table, 16)
    (out / "0003.png").unlink()
    pairs = read_pairs(clean, out, table, 16)
    assert (whole.left_out, pairs.left_out) == (0, 1)
    for before, after in (
        (whole.clean.images, pairs.clean.images),
        (whole.clean.labels, pairs.clean.labels),
        (whole.protected, pairs.protected),
    ):
        assert np.array_equal(np.delete(before, 3, axis=0), after)


def test_protected_images_of_another_export_are_refused(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    clean, out, table = folders(tmp_path, split=given)
    for number in range(21):
        (out / f"{number:04}.png").unlink()
    with pytest.raises(ConfigError, match=r"21 of 40 .* line 2 .* another export"):
        read_pairs(clean, out, table, 16)


def test_a_lossy_image_is_found_under_its_lossless_name(tmp_path: Path) -> None:
    clean, out, table = folders(tmp_path)
    for path in list(out.iterdir()):
        path.rename(path.with_name(f"{path.name}.png"))
    assert len(read_pairs(clean, out, table, 16).protected) == 36


@pytest.mark.parametrize(
    "text",
    [
        "file,label\n",
        "name,label\na,b\n",
        "file,label,split\n0000.png,across,tomorrow\n",
        "file,label\n0000.png,across\n0001.png,across\n",
        "file,label\n../clean/0000.png,across\n0001.png,along\n0002.png,up\n0003.png,up\n",
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, text: str) -> None:
    clean, out, table = folders(tmp_path)
    table.write_text(text)
    with pytest.raises(ConfigError):
        read_pairs(clean, out, table, 16)
