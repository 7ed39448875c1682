"""What an audit reads: the parts share no patient, and every protected image is there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

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
    assert pairs.test.groups is None
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
    of = {image.tobytes(): index // 4 for index, image in enumerate(stripes(COUNT).images)}
    parts = (pairs.clean, pairs.validation, pairs.test)
    patients = [{of[image.tobytes()] for image in part.images} for part in parts]
    assert sum(len(part) for part in patients) == len(set().union(*patients)) == COUNT // 4


@pytest.mark.parametrize("column", ["patient", "group"])
def test_groups_have_one_numbering_in_all_parts(tmp_path: Path, column: str) -> None:
    given = ["train"] * 40 + ["val"] * 8 + ["test"] * 12
    names = [f"p{index // 4:02}" for index in range(COUNT)]
    pairs = read_pairs(*folders(tmp_path, split=given, **{column: names}), 16)
    assert pairs.split == "given, by group"
    found = [part.groups for part in (pairs.clean, pairs.validation, pairs.test)]
    assert all(groups is not None for groups in found)
    assert np.concatenate([groups for groups in found if groups is not None]).tolist() == [
        index // 4 for index in range(COUNT)
    ]


def test_images_that_a_run_rejected_take_their_groups_along(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    names = [f"p{index // 4:02}" for index in range(COUNT)]
    clean, out, table = folders(tmp_path, split=given, patient=names)
    for number in range(4, 9):
        (out / f"{number:04}.png").unlink()
    groups = read_pairs(clean, out, table, 16).clean.groups
    assert groups is not None
    assert groups.tolist() == [0] * 4 + [2] * 3 + [index // 4 for index in range(12, 40)]


def test_the_table_of_the_folder_is_read_where_none_is_given(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["val"] * 8 + ["test"] * 12
    clean, out, table = folders(tmp_path, split=given, group=[str(n) for n in range(COUNT)])
    with pytest.raises(ConfigError, match=r"--labels .* split\.csv"):
        read_pairs(clean, out, None, 16)
    named = read_pairs(clean, out, table, 16)
    table.rename(clean / "split.csv")
    found = read_pairs(clean, out, None, 16)
    for part, same in ((named.clean, found.clean), (named.test, found.test)):
        assert np.array_equal(part.images, same.images)
        assert np.array_equal(part.labels, same.labels)


def test_grey_images_are_grey_however_they_are_stored(tmp_path: Path) -> None:
    clean, out, table = folders(tmp_path)
    grey = read_pairs(clean, out, table)
    for path in (out / "0000.png", clean / "0001.png"):
        with Picture.open(path) as picture:
            picture.convert("RGB").save(path)
    stored = read_pairs(clean, out, table)
    assert np.array_equal(stored.protected, grey.protected)
    assert np.array_equal(stored.clean.images, grey.clean.images)


def test_grey_images_among_colour_ones_get_three_channels(tmp_path: Path) -> None:
    clean, out, table = folders(tmp_path)
    grey = read_pairs(clean, out, table)
    with Picture.open(clean / "0001.png") as picture:
        coloured = picture.convert("RGB")
    coloured.putpixel((3, 3), (7, 7, 8))
    coloured.save(clean / "0001.png")
    mixed = read_pairs(clean, out, table)
    assert mixed.test.images.shape[1:] == mixed.protected.shape[1:] == (16, 16, 3)
    assert np.array_equal(mixed.protected, np.broadcast_to(grey.protected, mixed.protected.shape))


def test_images_keep_their_size_unless_asked_for(tmp_path: Path) -> None:
    assert read_pairs(*folders(tmp_path)).test.images.shape[1:] == (16, 16, 1)


def test_a_given_split_that_shares_a_patient_is_refused(tmp_path: Path) -> None:
    given = ["train"] * 40 + ["validation"] * 8 + ["test"] * 12
    with pytest.raises(ConfigError, match="another split"):
        read_pairs(*folders(tmp_path, split=given, patient=["same"] * COUNT), 16)


def test_a_given_split_without_a_class_in_a_part_is_refused(tmp_path: Path) -> None:
    given = ["train"] * 52 + ["val"] * 4 + ["test"] * 3 + ["train"]
    with pytest.raises(ConfigError, match="'along fine' is in split 'test'"):
        read_pairs(*folders(tmp_path, split=given), 16)


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
