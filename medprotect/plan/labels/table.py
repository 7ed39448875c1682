"""Tables as others write them: CSV, TSV, XLSX and JSON, read into lines of named cells."""

import csv
import io
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile, ZipFile

from medprotect import limits
from medprotect.errors import ConfigError

SUFFIXES = (".csv", ".tsv", ".xlsx", ".json")
"""Of names of files that may be tables."""

_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_DELIMITERS = ",\t;|"
_MOST_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table.

    Attributes
    ----------
    place : str
        For messages: ``line 3 of the labels file``.
    cells : Mapping
        By name of the column.
    """

    place: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of named cells.

    Attributes
    ----------
    called : str
        For messages: ``the labels file``.
    columns : tuple of str
        Their names, in order; ``column 2`` where one has none.
    lines : tuple of Line
        In order, without empty ones.
    """

    called: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


class _Pairs(list[tuple[str, Any]]):
    """What a JSON object holds, a name that comes twice included."""


def read_any_table(data: bytes, called: str) -> Table:
    """Read a table of any kind; which it is, its content says.

    Parameters
    ----------
    data : bytes
        The file.
    called : str
        For messages.

    Raises
    ------
    ConfigError
        It is no table, has two columns of one name, or a line with more or fewer cells.
    """
    if len(data) > limits.LABEL_TABLE_BYTES:
        raise ConfigError(
            f"{capital(called)} is larger than {limits.LABEL_TABLE_BYTES // 1024**2} MiB: keep "
            "the lines and columns that are needed."
        )
    if data.startswith(_OLD_EXCEL):
        raise ConfigError(f"{capital(called)} is of an old Excel: save it as XLSX or CSV.")
    if data.startswith(_ZIP):
        return _of_rows(_xlsx_rows(data, called), called, "row")
    text = _decode(data)
    if text.lstrip()[:1] in ("[", "{"):
        return _of_json(text, called)
    return _of_rows(_text_rows(text, called), called, "line")


def capital(called: str) -> str:
    """Return words as they begin a sentence."""
    return called[:1].upper() + called[1:]


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _text_rows(text: str, called: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield rows with the lines they end in; what parts cells is seen in the first line."""
    first = text.lstrip("\r\n").splitlines()[:1]
    delimiter = max(_DELIMITERS, key=first[0].count) if first else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in rows:
            yield rows.line_num, cells
    except csv.Error:
        raise ConfigError(
            f"Line {rows.line_num} of {called} cannot be read: a quotation mark is not closed, or "
            "stands within a cell. Save the table as CSV in UTF-8 again."
        ) from None


def _xlsx_rows(data: bytes, called: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows of the first sheet."""
    from openpyxl import load_workbook

    stream = io.BytesIO(data)
    try:
        with ZipFile(stream) as parts:
            inflated = sum(part.file_size for part in parts.infolist())
        if inflated > 8 * limits.LABEL_TABLE_BYTES:
            raise ConfigError(f"{capital(called)} inflates to too much: save it as CSV.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = load_workbook(stream, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()
            rows = [tuple(map(_word, row)) for row in sheet.iter_rows(values_only=True)]
            book.close()
    except ConfigError:
        raise
    except (BadZipFile, OSError):
        raise _no_xlsx(called) from None
    except Exception:  # whatever a damaged workbook makes of its reader
        raise _no_xlsx(called) from None
    yield from enumerate(rows, start=1)


def _no_xlsx(called: str) -> ConfigError:
    return ConfigError(f"{capital(called)} is no XLSX workbook: save it as XLSX or CSV.")


def _word(value: object) -> str:
    """Return a cell as text: 3.0 is 3, nothing is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _of_rows(rows: Iterable[tuple[int, Sequence[str]]], called: str, word: str) -> Table:
    filled = ((number, [cell.strip() for cell in cells]) for number, cells in rows)
    filled = ((number, cells) for number, cells in filled if any(cells))
    head = _without_empty_end(next(filled, (0, []))[1])
    columns = _name_columns(head, called)
    lines = []
    for number, raw in filled:
        place = f"{word} {number} of {called}"
        cells = raw[: len(columns)] + _without_empty_end(raw[len(columns) :])
        cells += [""] * (len(columns) - len(cells)) if word == "row" else []
        if len(cells) != len(columns):
            raise ConfigError(
                f"There are not as many cells as columns in {place}: give it {len(columns)}."
            )
        lines.append(Line(place, dict(zip(columns, cells, strict=True))))
    return _checked(Table(called, columns, tuple(lines)))


def _without_empty_end(cells: Sequence[str]) -> list[str]:
    kept = list(cells)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _name_columns(head: Sequence[str], called: str) -> tuple[str, ...]:
    columns = tuple(name or f"column {number}" for number, name in enumerate(head, start=1))
    for number, name in enumerate(columns):
        if name in columns[:number]:
            raise ConfigError(
                f"Columns {columns.index(name) + 1} and {number + 1} of {called} have one name: "
                "rename one."
            )
    return columns


def _checked(table: Table) -> Table:
    if len(table.columns) < 2 or not table.lines:
        raise ConfigError(
            f"{capital(table.called)} is no table: it needs a line of column names, two columns "
            "or more, and a line for each file, patient, study or series."
        )
    if len(table.columns) > _MOST_COLUMNS:
        raise ConfigError(f"{capital(table.called)} has more than {_MOST_COLUMNS} columns.")
    return table


def _of_json(text: str, called: str) -> Table:
    try:
        read = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f" from line {line} on" if line else ""
        raise ConfigError(f"{capital(called)} is no JSON{where}: write it again.") from None
    if isinstance(read, _Pairs):
        entries = [_of_pair(key, value) for key, value in read]
    else:
        entries = [list(each) for each in read if isinstance(each, _Pairs)]
        if len(entries) != len(read):
            entries = []
    if not entries or not all(entries):
        raise ConfigError(
            f"{capital(called)} is no table: JSON is a list of objects with the same names, or "
            "one object that gives each file its label."
        )
    return _of_entries(entries, called)


def _of_pair(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, _Pairs):
        name = "file" if all(each != "file" for each, _ in value) else "name of the entry"
        return [(name, key), *value]
    return [("file", key), ("label", value)]


def _of_entries(entries: Sequence[Sequence[tuple[str, Any]]], called: str) -> Table:
    """Return a table of the columns that hold words and numbers; lists are passed over."""
    names = dict.fromkeys(name for entry in entries for name, _ in entry)
    nested = {name for entry in entries for name, value in entry if isinstance(value, list)}
    columns = tuple(name for name in names if name not in nested)
    lines = []
    for number, entry in enumerate(entries, start=1):
        cells = dict.fromkeys(columns, "")
        cells |= {name: _word(value) for name, value in entry if name not in nested}
        lines.append(Line(f"entry {number} of {called}", cells))
    return _checked(Table(called, columns, tuple(lines)))
