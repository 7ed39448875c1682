"""Tables of labels: what they say, what is learned from, and what is wrong with one."""

from pathlib import Path

import pytest

from medprotect.confounder.labels import (
    LabelledFile,
    choose_training,
    find_table,
    part_in_halves,
    read_labels,
    read_table,
)
from medprotect.errors import ConfigError


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    table = folder / name
    table.write_text(text, encoding="utf-8", newline="")
    return table


@pytest.mark.parametrize(
    "text",
    ["file,label\nb.png,high\na.png,low\n", "\ufefflabel,file\r\nhigh,b.png\r\nlow,a.png\r\n"],
    ids=["plain", "columns swapped, with a byte order mark"],
)
def test_labels_come_in_the_order_of_the_table(tmp_path: Path, text: str) -> None:
    assert list(read_labels(write(tmp_path, text)).items()) == [("b.png", "high"), ("a.png", "low")]


def test_splits_and_groups_are_read_where_known(tmp_path: Path) -> None:
    text = "split,file,group,label\nval,b.png,7,high\n\ntrain,a.png,8,low\n"
    assert read_table(write(tmp_path, text, "split.csv")) == [
        LabelledFile("b.png", "high", "line 2 of split.csv", "validation", "7"),
        LabelledFile("a.png", "low", "line 4 of split.csv", "train", "8"),
    ]
    assert read_table(write(tmp_path, "file,label\na.png,x\n")) == [
        LabelledFile("a.png", "x", "line 2 of the labels file")
    ]


def test_a_patient_is_a_group_and_validation_may_be_written_out(tmp_path: Path) -> None:
    text = "file,label,{},split\na.png,x,7,{}\n"
    read = [
        read_table(write(tmp_path, text.format(*words)))
        for words in (("group", "val"), ("patient", "validation"))
    ]
    assert read[0] == read[1]
    assert (read[0][0].group, read[0][0].split) == ("7", "validation")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "column file is missing"),
        (b"image,label\na.png,x\n", "column file is missing"),
        (b"file,label,sex\na.png,x,F\n", "Column 3 .* is none of"),
        (b"file,label,label\na.png,x,y\n", "Two columns .* say label"),
        (b"file,label,group,patient\na.png,x,1,1\n", "Two columns .* group or patient"),
        (b"file,label\na.png,x\nb.png,\n", "no label in line 3"),
        (b"file,label,group\na.png,x,1\nb.png,x,\n", "no group in line 3 .* leave the column out"),
        (b"file,label,split\na.png,x,\nb.png,x,train\n", "no split in line 2 .*"),
        (b"file,label,split\na.png,x,Train\n", "line 2 .* none of train"),
        (b"file,label\na.png,x\na.png,y\n", "line 3 .* earlier line"),
        (b"file,label\na/a.png,x\n./a//a.png,y\n", "line 3 .* earlier line"),
        (b"file,label\na.png\n", "as many cells as columns in line 2"),
        (b"file,label\na,b.png,x\n", "as many cells as columns in line 2"),
        (b"file,label\n../a.png,x\n", "line 2 .* not below"),
        (b"file,label\n/a.png,x\n", "line 2 .* not below"),
        (
            b"file,label,split,group\na.png,x,train,1\nb.png,x,test,1\n",
            "line 3 .* another split",
        ),
        (b"file,label\n\xff.png,x\n", "UTF-8"),
        (b'file,label\n"a.png,x\n', "CSV"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(
    tmp_path: Path, content: bytes, says: str
) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as told:
        read_table(table)
    assert ".png" not in str(told.value)


def test_a_table_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_labels(tmp_path / "labels.csv")
    with pytest.raises(ConfigError, match="Cannot read"):
        read_labels(tmp_path)


def test_the_table_of_a_folder_is_found_unless_another_is_given(tmp_path: Path) -> None:
    assert find_table(tmp_path, None) is None
    own = write(tmp_path, "file,label\n", "split.csv")
    assert find_table(tmp_path, None) == own
    assert find_table(tmp_path, Path("other.csv")) == Path("other.csv")


def rows(groups: int = 12) -> list[LabelledFile]:
    """Two classes in all splits; a group for training has one to three images."""
    return [
        LabelledFile(f"{label}/{split}{group}-{n}.png", label, "", split, f"{label}{split}{group}")
        for label in ("benign", "malignant")
        for split, count in (("train", groups), ("validation", 2), ("test", 2))
        for group in range(count)
        for n in range(1 + group % 3)
    ]


def test_only_what_is_for_training_is_learned_from() -> None:
    table = rows()
    assert choose_training(table) == [row for row in table if row.split == "train"]
    unsplit = [LabelledFile(row.file, row.label, "") for row in table]
    assert choose_training(unsplit) == unsplit


def test_halves_part_the_training_split_by_groups_in_any_order() -> None:
    table = rows()
    a, b = (choose_training(table, half) for half in ("a", "b"))
    assert sorted(row.file for row in a + b) == sorted(row.file for row in choose_training(table))
    assert not {row.group for row in a} & {row.group for row in b}
    assert {row.file for row in choose_training(table[::-1], "a")} == {row.file for row in a}
    for label in ("benign", "malignant"):
        counts = [sum(row.label == label for row in half) for half in (a, b)]
        assert abs(counts[0] - counts[1]) <= 1


def test_halves_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(ConfigError, match="columns split and group"):
        choose_training([LabelledFile("a.png", "x", "", "train")], "a")
    with pytest.raises(ConfigError, match="too few groups"):
        part_in_halves(choose_training(rows(groups=1)))
    with pytest.raises(ConfigError, match="one of a, b"):
        choose_training(rows(), "c")
