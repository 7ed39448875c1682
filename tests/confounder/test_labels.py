"""Tables of labels: what they say, and what is wrong with one."""

from pathlib import Path

import pytest

from medprotect.confounder.labels import read_labels
from medprotect.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    ["file,label\nb.png,high\na.png,low\n", "\ufefflabel,file\r\nhigh,b.png\r\nlow,a.png\r\n"],
    ids=["plain", "columns swapped, with a byte order mark"],
)
def test_labels_come_in_the_order_of_the_table(tmp_path: Path, text: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text, encoding="utf-8", newline="")
    assert list(read_labels(table).items()) == [("b.png", "high"), ("a.png", "low")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "first line"),
        (b"image,label\na.png,x\n", "first line"),
        (b"file,label,split\na.png,x,train\n", "first line"),
        (b"file,label\na.png,x\nb.png,\n", "Line 3"),
        (b"file,label\na.png,x\na.png,y\n", "Line 3"),
        (b"file,label\na.png\n", "Line 2"),
        (b"file,label\n\xff.png,x\n", "UTF-8"),
        (b'file,label\n"a.png,x\n', "CSV"),
    ],
    ids=["empty", "column", "more", "no label", "twice", "short", "encoding", "quote"],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(
    tmp_path: Path, content: bytes, says: str
) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        read_labels(table)


def test_a_table_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_labels(tmp_path / "labels.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(tmp_path)
