"""Tables as others write them are read to the same lines of named cells."""

import json
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from openpyxl import Workbook

from medprotect import limits
from medprotect.errors import ConfigError
from medprotect.plan.labels.table import read_any_table

CALLED = "the labels file"
HEAD = ["file", "stage", "ill"]
ROWS = [["a.png", "3", "true"], ["b.png", "4", "false"]]


def workbook(*rows: list[object]) -> bytes:
    book, stream = Workbook(), BytesIO()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    book.save(stream)
    return stream.getvalue()


def text(between: str, encoding: str = "utf-8") -> bytes:
    return "\r\n".join(between.join(row) for row in [HEAD, *ROWS]).encode(encoding)


AS_OBJECTS = [dict(zip(HEAD, row, strict=True)) for row in ROWS]
TABLES = {
    "CSV": text(","),
    "TSV": text("\t"),
    "CSV of a German Excel": text(";", "utf-8-sig"),
    "CSV in UTF-16": text(",", "utf-16"),
    "XLSX": workbook(HEAD, ["a.png", 3.0, True], ["b.png", 4, False]),
    "JSON, a list": json.dumps([AS_OBJECTS[0], {**AS_OBJECTS[1], "ill": False, "stage": 4}]),
    "JSON, by file": json.dumps({each["file"]: each for each in AS_OBJECTS}),
}


@pytest.mark.parametrize("kind", TABLES)
def test_each_kind_of_table_is_read_to_the_same_cells(kind: str) -> None:
    data = TABLES[kind]
    read = read_any_table(data.encode() if isinstance(data, str) else data, CALLED)
    if kind == "JSON, by file":
        assert read.columns == ("name of the entry", *HEAD)
    else:
        assert read.columns == tuple(HEAD)
    assert [[line.cells[name] for name in HEAD] for line in read.lines] == ROWS


def test_json_of_a_file_and_its_label_has_these_columns() -> None:
    read = read_any_table(b'{"a.png": "ill", "b.png": "well"}', CALLED)
    assert read.columns == ("file", "label")
    assert read.lines[1].place == "entry 2 of the labels file"


def test_a_file_that_json_names_twice_is_two_lines() -> None:
    assert len(read_any_table(b'{"a": "ill", "a": "well"}', CALLED).lines) == 2


def test_places_are_lines_as_an_editor_counts_them() -> None:
    read = read_any_table(b'file,label\n\n"a\nb.png",ill\n\nc.png,well\n', CALLED)
    assert [line.place for line in read.lines] == [
        "line 4 of the labels file",
        "line 6 of the labels file",
    ]


def test_empty_ends_of_a_sheet_are_no_columns_and_no_lines() -> None:
    read = read_any_table(
        workbook(["file", "label", None], ["a", "x", None], [None, None, None], ["b", "y", None]),
        CALLED,
    )
    assert (read.columns, len(read.lines)) == (("file", "label"), 2)


def test_a_column_without_a_name_goes_by_its_number() -> None:
    assert read_any_table(b",file,label\n0,a,x\n", CALLED).columns == ("column 1", "file", "label")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is no table"),
        (b"file,label\n", "is no table"),
        (b"just words\nand more\n", "is no table"),
        (b"file,label\na.png,x,y\n", "line 2 of the labels file: give it 2"),
        (b'file,label\na.png,"x\n', "quotation mark"),
        (b"file,label,label\na.png,x,y\n", "Columns 2 and 3 .* rename one"),
        (b"PK\x03\x04 and no more", "no XLSX workbook"),
        (b"\xd0\xcf\x11\xe0 and more", "save it as XLSX or CSV"),
        (b'[{"file": "a.png",}]', "no JSON from line 1 on"),
        (b'["a.png", "b.png"]', "list of objects"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(data: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_any_table(data, CALLED)


def test_a_workbook_that_inflates_to_too_much_is_not_inflated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LABEL_TABLE_BYTES", 10_000)
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as parts:
        parts.writestr("xl/workbook.xml", b" " * 100_000)
    with pytest.raises(ConfigError, match="inflates to too much"):
        read_any_table(stream.getvalue(), CALLED)
    with pytest.raises(ConfigError, match="larger than"):
        read_any_table(b"x" * 10_001, CALLED)


def test_a_file_cut_anywhere_is_a_table_or_refused(tmp_path: Path) -> None:
    book = workbook(HEAD, *ROWS)
    for at in range(0, len(book), 101):
        with pytest.raises(ConfigError):
            read_any_table(book[:at], CALLED)
