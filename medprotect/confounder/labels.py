"""Labels: which file shows which class, by a table; of which group; and for what."""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from medprotect.errors import ConfigError

TABLE = "split.csv"
"""Name of the table that lies in the folder of its images."""

SPLITS = ("train", "validation", "test")
HALVES = ("a", "b")
FOLDERS = "folders"
"""Stands for labels that are the names of folders."""

_MEANING = {"patient": "group"}
_SHORT = {"val": "validation"}
_COLUMNS = ("file", "label", "split", "group")


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """One line of the table.

    Attributes
    ----------
    file : str
        Relative to the folder of the images, and below it.
    label : str
        Name of the class.
    place : str
        Where it stands, for messages: ``line 3 of split.csv``.
    split : str
        One of `SPLITS`; "" where the table has no such column.
    group : str
        The patient, or the set of near-duplicates, that it is of; "" where the table has no such
        column.
    """

    file: str
    label: str
    place: str
    split: str = ""
    group: str = ""


def find_table(images: Path, given: Path | None) -> Path | None:
    """Return the table that was given, else the ``split.csv`` of a folder, where there is one."""
    if given is None and (images / TABLE).is_file():
        return images / TABLE
    return given


def read_table(path: Path, needed: Sequence[str] = ("file", "label")) -> list[LabelledFile]:
    """Read a table of labels: CSV in UTF-8, with a line of column names.

    Parameters
    ----------
    path : Path
        Columns ``file`` and ``label``; where known ``split`` (train, validation or val, test) and
        ``group``, for which ``patient`` is another name.
    needed : sequence of str
        Columns that must be there.

    Raises
    ------
    ConfigError
        The table cannot be read, lacks a column or has an unknown one, has an empty cell, names a
        file twice or one outside of the folder, or has a group in two splits.
    """
    called = TABLE if path.name == TABLE else "the labels file"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.reader(stream, strict=True)
            columns = _name_columns(next(table, []), needed, called)
            rows = [
                _read_row(columns, cells, f"line {table.line_num} of {called}")
                for cells in table
                if cells
            ]
    except FileNotFoundError:
        raise ConfigError("The labels file does not exist.") from None
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ConfigError(f"Cannot read {called}: it must be a CSV table in UTF-8.") from None
    _refuse_twice(rows)
    return rows


def read_labels(path: Path) -> dict[str, str]:
    """Return the label by file, in the table's order; see `read_table`."""
    return {row.file: row.label for row in read_table(path)}


def name_classes(rows: Sequence[LabelledFile]) -> tuple[str, ...]:
    """Return the classes, sorted.

    Raises
    ------
    ConfigError
        There are fewer than two.
    """
    classes = tuple(sorted({row.label for row in rows}))
    if len(classes) < 2:
        raise ConfigError("The table of labels names fewer than two classes.")
    return classes


def number_groups(rows: Sequence[LabelledFile]) -> dict[str, int]:
    """Return a number for each group; nothing where groups are not known."""
    return {name: at for at, name in enumerate(sorted({row.group for row in rows} - {""}))}


def part_by_split(rows: Sequence[LabelledFile]) -> dict[str, list[LabelledFile]]:
    """Return the rows of each split.

    Raises
    ------
    ConfigError
        A class is in one split and not in another.
    """
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    for split, part in parts.items():
        for missing in sorted({row.label for row in rows} - {row.label for row in part}):
            raise ConfigError(
                f"In the table of labels no image of class {missing!r} is in split {split!r}."
            )
    return parts


def choose_training(rows: Sequence[LabelledFile], half: str | None = None) -> list[LabelledFile]:
    """Return the rows to learn from: of split ``train``, or all where no split is known.

    Parameters
    ----------
    half : str, optional
        ``a`` or ``b``: that half of them alone; see `part_in_halves`.

    Raises
    ------
    ConfigError
        A half is asked for that cannot be made.
    """
    chosen = [row for row in rows if row.split in ("", "train")]
    if half is None:
        return chosen
    if half not in HALVES:
        raise ConfigError(f"A half is one of {', '.join(HALVES)}.")
    return part_in_halves(chosen)[HALVES.index(half)]


def part_in_halves(
    train: Sequence[LabelledFile],
) -> tuple[list[LabelledFile], list[LabelledFile]]:
    """Return half A and half B of the rows for training: groups whole, classes evenly.

    The largest groups are dealt first, each to the half that has fewer images of its class. The
    order of the rows is of no account.

    Raises
    ------
    ConfigError
        Groups are not known, or a class has too few for two halves.
    """
    if not train or not train[0].group:
        raise ConfigError("Halves need a table of labels with the columns split and group.")
    classes = name_classes(train)
    members: dict[str, Counter[str]] = {}
    for row in train:
        members.setdefault(row.group, Counter())[row.label] += 1

    def rank(group: str) -> tuple[int, bytes]:
        return -members[group].total(), hashlib.sha256(group.encode()).digest()

    held: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    half: dict[str, int] = {}
    for group in sorted(members, key=rank):
        most = max(classes, key=members[group].__getitem__)
        half[group] = int(held[1][most] < held[0][most])
        held[half[group]].update(members[group])
    if min(map(len, held)) < len(classes):
        raise ConfigError(
            "In the table of labels a class has too few groups for two halves of split 'train'."
        )
    a, b = ([row for row in train if half[row.group] == each] for each in (0, 1))
    return a, b


def _name_columns(head: Sequence[str], needed: Sequence[str], called: str) -> list[str]:
    """Return what the columns are, `group` for a patient."""
    columns = [_MEANING.get(name, name) for name in head]
    for name in needed:
        if name not in columns:
            raise ConfigError(f"The column {name} is missing in the first line of {called}.")
    for number, name in enumerate(columns, start=1):
        if name not in _COLUMNS:
            raise ConfigError(
                f"Column {number} of {called} is none of {', '.join(_COLUMNS)} (or patient): "
                "leave it out."
            )
        if name in columns[: number - 1]:
            word = "group or patient" if name == "group" else name
            raise ConfigError(f"Two columns of {called} say {word}: leave one out.")
    return columns


def _read_row(columns: Sequence[str], cells: Sequence[str], place: str) -> LabelledFile:
    if len(cells) != len(columns):
        raise ConfigError(f"There are not as many cells as columns in {place}.")
    row = dict(zip(columns, cells, strict=True))
    for name, cell in row.items():
        if not cell:
            advice = "" if name in ("file", "label") else ", or leave the column out"
            raise ConfigError(f"There is no {name} in {place}: name one{advice}.")
    file = PurePath(row["file"])
    if file.is_absolute() or ".." in file.parts:
        raise ConfigError(f"The file in {place} is not below the folder of the images.")
    split = row.get("split", "")
    split = _SHORT.get(split, split)
    if split and split not in SPLITS:
        raise ConfigError(f"The split in {place} is none of train, validation (or val), test.")
    return LabelledFile(row["file"], row["label"], place, split, row.get("group", ""))


def _refuse_twice(rows: Sequence[LabelledFile]) -> None:
    files: set[PurePath] = set()
    split_of: dict[str, str] = {}
    for row in rows:
        if PurePath(row.file) in files:  # a//b and ./a/b are a/b
            raise ConfigError(f"The file in {row.place} is in an earlier line, too.")
        files.add(PurePath(row.file))
        if row.group and split_of.setdefault(row.group, row.split) != row.split:
            raise ConfigError(
                f"The group or patient in {row.place} is in another split in an earlier line: "
                "what is learned of a patient would be tested on the same."
            )
