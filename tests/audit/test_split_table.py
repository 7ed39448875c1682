"""A folder with ``split.csv``: parts as it says, halves that share no group."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import coins

from medprotect.audit.halves import COLUMNS, Halves, draw, read_halves
from medprotect.errors import ConfigError

Rows = list[list[str]]


def rows(groups: int = 8) -> Rows:
    """Return two classes; a group of the training set has one to three pictures."""
    table: Rows = []
    for label in ("benign", "malignant"):
        for group in range(groups):
            for picture in range(1 + group % 3):
                file = f"{label}/{group}-{picture}.png"
                table.append([file, label, "train", f"{label}-{group}"])
        for split in ("val", "test"):
            table += [[f"{label}/{split}{n}.png", label, split, f"{label}{split}"] for n in (0, 1)]
    return table


def folder(root: Path, table: Rows, *, colour: int = 0, columns: tuple[str, ...] = COLUMNS) -> Path:
    """Write the pictures, so many of them in colour and the others grey, and the table."""
    for number, (file, *_) in enumerate(table):
        picture = coins()[number : number + 20, number : number + 16]
        if number < colour:
            picture = np.stack([picture, picture // 2, picture // 3], axis=-1)
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / file)
    with (root / "split.csv").open("w", newline="") as stream:
        written = csv.writer(stream)
        written.writerow(columns)
        written.writerows(table)
    return root


def of(halves: Halves, table: Rows, split: str) -> set[bytes]:
    return {
        coins()[number : number + 20, number : number + 16].tobytes()
        for number, row in enumerate(table)
        if row[2] == split
    }


def test_each_image_is_in_the_part_that_the_table_names(tmp_path: Path) -> None:
    table = rows()
    halves = read_halves(folder(tmp_path, table))
    assert halves.classes == ("benign", "malignant")
    assert {i.tobytes() for i in halves.validation.images} == of(halves, table, "val")
    assert {i.tobytes() for i in halves.test.images} == of(halves, table, "test")
    learned = [image.tobytes() for half in (halves.a, halves.b) for image in half.images]
    assert set(learned) == of(halves, table, "train")
    assert len(learned) == sum(row[2] == "train" for row in table)


def test_images_keep_label_and_group(tmp_path: Path) -> None:
    table = rows()
    halves = read_halves(folder(tmp_path, table))
    rank = {name: index for index, name in enumerate(sorted({row[3] for row in table}))}
    expected = {
        coins()[number : number + 20, number : number + 16].tobytes(): (row[1], rank[row[3]])
        for number, row in enumerate(table)
    }
    for part in (halves.a, halves.b, halves.validation, halves.test):
        assert part.groups is not None
        for image, label, group in zip(part.images, part.labels, part.groups, strict=True):
            assert expected[image.tobytes()] == (halves.classes[label], group)


def test_validation_may_be_written_out(tmp_path: Path) -> None:
    before = read_halves(folder(tmp_path, rows()))
    table = tmp_path / "split.csv"
    table.write_text(table.read_text().replace(",val,", ",validation,"))
    assert np.array_equal(read_halves(tmp_path).validation.images, before.validation.images)


def test_halves_share_no_group_and_are_alike_in_number_and_classes(tmp_path: Path) -> None:
    halves = read_halves(folder(tmp_path, rows(groups=24)))
    a, b = halves.a, halves.b
    assert a.groups is not None
    assert b.groups is not None
    assert not set(a.groups) & set(b.groups)
    counts = np.array([np.bincount(half.labels, minlength=2) for half in (a, b)])
    assert np.abs(counts[0] - counts[1]).max() <= 1


def test_the_order_of_the_rows_changes_no_half(tmp_path: Path) -> None:
    table = rows()
    halves = read_halves(folder(tmp_path, table))
    with (tmp_path / "split.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *table[::-1]])
    again = read_halves(tmp_path)
    for half, same in ((halves.a, again.a), (halves.b, again.b)):
        assert {i.tobytes() for i in half.images} == {i.tobytes() for i in same.images}


def test_what_is_drawn_keeps_its_groups(tmp_path: Path) -> None:
    half = read_halves(folder(tmp_path, rows())).b
    some = draw(half, 4)
    assert half.groups is not None
    assert some.groups is not None
    where = [(half.images == image).all((1, 2, 3)).argmax() for image in some.images]
    assert np.array_equal(some.groups, half.groups[where])


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (3, 1), (100, 3)])
def test_images_are_grey_unless_half_of_them_have_colour(
    tmp_path: Path, colour: int, channels: int
) -> None:
    halves = read_halves(folder(tmp_path, rows(), colour=colour))
    assert halves.test.images.shape[1:] == (20, 16, channels)


def test_grey_pictures_stored_as_rgb_are_grey(tmp_path: Path) -> None:
    table = rows()
    folder(tmp_path, table)
    before = read_halves(tmp_path)
    for file, *_ in table:
        with Image.open(tmp_path / file) as picture:
            picture.convert("RGB").save(tmp_path / file)
    assert np.array_equal(read_halves(tmp_path).b.images, before.b.images)


def test_images_are_brought_to_a_size_without_aliasing(tmp_path: Path) -> None:
    table = rows()
    folder(tmp_path, table)
    fine = (np.indices((20, 16)).sum(0) % 2 * 255).astype(np.uint8)  # a check of single pixels
    for file, *_ in table:
        Image.fromarray(fine).save(tmp_path / file)
    images = read_halves(tmp_path, size=5).b.images
    assert images.shape[1:] == (5, 4, 1)
    assert np.abs(images.astype(int) - 127).max() <= 16
    assert read_halves(tmp_path, size=40).b.images.shape[1:] == (40, 32, 1)


def test_a_lossy_picture_may_have_the_name_that_a_run_gives_it(tmp_path: Path) -> None:
    table = rows()
    before = read_halves(folder(tmp_path, table))
    (tmp_path / table[0][0]).rename(tmp_path / f"{table[0][0]}.png")
    assert np.array_equal(read_halves(tmp_path).a.images, before.a.images)


def test_a_size_is_not_for_other_sources(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="size"):
        read_halves(tmp_path, size=128)


class TestBroken:
    def refuse(self, root: Path, match: str) -> None:
        with pytest.raises(ConfigError, match=match):
            read_halves(root)

    @pytest.mark.parametrize("at", range(4))
    def test_a_column_is_missing(self, tmp_path: Path, at: int) -> None:
        columns = tuple("other" if n == at else name for n, name in enumerate(COLUMNS))
        self.refuse(folder(tmp_path, rows(), columns=columns), f"column {COLUMNS[at]} is missing")

    @pytest.mark.parametrize("at", [0, 1, 3])
    def test_a_value_is_missing(self, tmp_path: Path, at: int) -> None:
        table = rows()
        folder(tmp_path, table)
        table[3][at] = ""
        with (tmp_path / "split.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *table])
        self.refuse(tmp_path, f"no {COLUMNS[at]} in line 5 of split.csv")

    @pytest.mark.parametrize("split", ["Train", "tomorrow"])
    def test_a_split_is_unknown(self, tmp_path: Path, split: str) -> None:
        table = rows()
        table[0][2] = split
        self.refuse(folder(tmp_path, table), "line 2 .* none of train, validation")

    def test_a_file_is_missing(self, tmp_path: Path) -> None:
        table = rows()
        folder(tmp_path, table)
        (tmp_path / table[1][0]).unlink()
        self.refuse(tmp_path, "line 3 .* missing")

    def test_a_file_is_no_picture(self, tmp_path: Path) -> None:
        table = rows()
        folder(tmp_path, table)
        (tmp_path / table[1][0]).write_text("no")
        self.refuse(tmp_path, "line 3 .* cannot be read")

    @pytest.mark.parametrize("file", ["../a.png", "/a.png"])
    def test_a_file_is_elsewhere(self, tmp_path: Path, file: str) -> None:
        table = rows()
        folder(tmp_path, table)
        table[0][0] = file
        with (tmp_path / "split.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([COLUMNS, *table])
        self.refuse(tmp_path, "line 2 .* not below")

    def test_two_rows_are_for_one_file(self, tmp_path: Path) -> None:
        table = rows()
        self.refuse(folder(tmp_path, [*table, table[0]]), f"line {len(table) + 2} .* earlier line")

    def test_a_group_is_in_two_parts(self, tmp_path: Path) -> None:
        table = rows()
        table[0][2] = "test"
        table[1][3] = table[0][3]
        self.refuse(folder(tmp_path, table), "line 3 .* another split")

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_a_class_is_missing_in_a_part(self, tmp_path: Path, split: str) -> None:
        table = [row for row in rows() if row[1:3] != ["malignant", split]]
        self.refuse(folder(tmp_path, table), f"'malignant' is in split '{split}")

    def test_a_class_is_of_one_group(self, tmp_path: Path) -> None:
        self.refuse(folder(tmp_path, rows(groups=1)), "too few groups")

    def test_there_is_one_class(self, tmp_path: Path) -> None:
        table = [row for row in rows() if row[1] == "benign"]
        self.refuse(folder(tmp_path, table), "fewer than two classes")

    def test_a_picture_is_of_another_size(self, tmp_path: Path) -> None:
        table = rows()
        folder(tmp_path, table)
        Image.fromarray(coins()[:9, :9]).save(tmp_path / table[4][0])
        self.refuse(tmp_path, "line 6 .* another size")

    def test_it_is_no_text(self, tmp_path: Path) -> None:
        folder(tmp_path, rows())
        (tmp_path / "split.csv").write_bytes(b"\xff\xfe\x00file")
        self.refuse(tmp_path, "must be a CSV table")
