"""Which columns of a table are labels, and the label that each file has by them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from medprotect.confounder.slots import MOST_CLASSES
from medprotect.errors import ConfigError
from medprotect.plan.labels.keys import NOTHING_NAMED, Key, is_ambiguous, plain
from medprotect.plan.labels.table import Line, Table, capital

NAMES = (
    *("label", "labels", "class", "classes", "target", "diagnosis", "dx", "finding", "findings"),
    *("disease", "pathology", "category", "group", "outcome", "grade"),
)
"""Columns that hold labels by their name, the likeliest first."""

UNKNOWN = frozenset({"n/a", "na", "nan", "null"})
"""Cells that say that nothing is known: what they are of has no label."""

_FEW = 8
_NO_LABELS = re.compile(r"(.*[_ ])?(split|fold|set|subset|partition|date|time|age|site|id|uid)")
_MEASURED = re.compile(r"[-+]?\d*[.,]\d+")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labels by a table.

    Attributes
    ----------
    by_path : Mapping
        Label by path.
    columns : tuple of str
        Of the labels.
    unmatched : int
        Lines that name nothing in the export.
    """

    by_path: Mapping[str, str]
    columns: tuple[str, ...]
    unmatched: int = 0


def label_by_table(table: Table, key: Key | None, asked: Sequence[str] = ()) -> Labelled:
    """Return the label of each file that a table names.

    Parameters
    ----------
    table : Table
        The table.
    key : Key or None
        The column that names what is in the export.
    asked : sequence of str
        Columns that are labels, if that was said. Of several each combination is a label.

    Raises
    ------
    ConfigError
        There is no key or no column of labels; a line names no file, or a file that has another
        label already; a cell is empty; or labels tell nothing apart, or too much.
    """
    check_columns(table, asked)
    if key is None:
        raise ConfigError(NOTHING_NAMED.format(table.called))
    if key.column in asked:
        raise ConfigError(
            f"The column {shown(table, key.column)} of {table.called} says which files are meant: "
            "name another as label."
        )
    columns = tuple(asked) or (_choose_column(table, key),)
    by_path: dict[str, str] = {}
    said_in: dict[str, str] = {}
    unmatched = []
    for line in table.lines:
        paths = _find_paths(table, key, line)
        if not paths:
            unmatched.append(line)
            continue
        label = _label_of(table, line, columns)
        for path in paths if label else ():
            if by_path.setdefault(path, label) != label:
                raise ConfigError(
                    f"Two lines give one image different labels: {said_in[path]}, and "
                    f"{line.place}. Keep one of them."
                )
            said_in.setdefault(path, line.place)
    if key.is_of_files and unmatched:
        rest = len(unmatched) - 1
        more = f", nor {'does 1 more' if rest == 1 else f'do {rest:,} more'}" if rest else ""
        raise ConfigError(
            f"{capital(unmatched[0].place)} names no file in EXPORT{more}. Correct the name, or "
            "take the line out."
        )
    values = {line.cells[key.column] for line in table.lines if key.find(line.cells[key.column])}
    named = " and ".join(shown(table, each) for each in columns)
    check_classes(by_path, len(values), f"The column {named} of {table.called}")
    return Labelled(by_path, columns, len(unmatched))


def check_columns(table: Table, asked: Sequence[str]) -> None:
    """Refuse columns that are not in a table, before anything else is read.

    Raises
    ------
    ConfigError
        One is not there, or is asked for twice.
    """
    for number, name in enumerate(asked, start=1):
        if name not in table.columns:
            near = get_close_matches(name, table.columns, 1)
            hint = f"did you mean {near[0]!r}?" if near else "write it as there, capitals too."
            raise ConfigError(
                f"Column {number} of those that --labels FILE:COLUMN asks for is not among the "
                f"{len(table.columns)} that the first line of {table.called} names: {hint}"
            )
        if name in asked[: number - 1]:
            raise ConfigError(
                f"--labels asks for column {shown(table, name)} twice: leave one out."
            )


def shown(table: Table, column: str) -> str:
    """Return the name of a column, or its number where the name may be more than a name."""
    if re.fullmatch(r"[A-Za-z][\w .()/#%-]{0,39}", column):
        return repr(column)
    return f"number {table.columns.index(column) + 1}"


def check_classes(by_path: Mapping[str, str], named: int, what: str) -> None:
    """Refuse labels that are none.

    Parameters
    ----------
    by_path : Mapping
        Label by path.
    named : int
        How many things were given one: files, patients, studies.
    what : str
        Where the labels are from, for messages.

    Raises
    ------
    ConfigError
        They are all the same, nearly all different, or too many.
    """
    count = len(set(by_path.values()))
    if count < 2:
        found = "gives one label only" if count else "gives no label"
        raise ConfigError(
            f"{what} {found}: at least two are needed to tell images apart. Name another, or give "
            "--labels none."
        )
    if count > MOST_CLASSES:
        raise ConfigError(
            f"{what} gives {count:,} different labels, and noise can say {MOST_CLASSES}: name one "
            "with fewer, or join classes."
        )
    if count > _FEW and count >= 0.8 * named:
        raise ConfigError(
            f"{what} gives {count:,} different labels to {named:,} images, series or patients: "
            "those are names or numbers, and no classes. Name another column."
        )


def _find_paths(table: Table, key: Key, line: Line) -> Sequence[str]:
    cell = line.cells[key.column]
    if not plain(cell):
        raise ConfigError(
            f"There is no {shown(table, key.column)} in {line.place}: fill it in, or take the line "
            "out."
        )
    paths = key.find(cell)
    if is_ambiguous(key, paths):
        raise ConfigError(
            f"Files in several folders have the name in {line.place}: write the path in EXPORT."
        )
    return paths


def _label_of(table: Table, line: Line, columns: Sequence[str]) -> str:
    """Return the label of a line; "" where it says that it is not known."""
    values = [line.cells[column] for column in columns]
    for column, value in zip(columns, values, strict=True):
        if not value:
            raise ConfigError(
                f"There is no {shown(table, column)} in {line.place}: fill it in, or write n/a if "
                "it is not known."
            )
    if any(value.casefold() in UNKNOWN for value in values):
        return ""
    return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def _choose_column(table: Table, key: Key) -> str:
    """Return the one column that holds labels."""
    others = [name for name in table.columns if name != key.column]
    by_name = {name.casefold(): name for name in reversed(others)}
    likely = [by_name[name] for name in NAMES if name in by_name]
    if likely:
        return next((name for name in likely if _tells_apart(table, key, name)), likely[0])
    found = [name for name in others if _qualifies(table, key, name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"No column of {table.called} looks like labels: of two to {MOST_CLASSES} values, each "
            "for several files. Name one: --labels FILE:COLUMN."
        )
    listed = ", ".join(shown(table, each) for each in found[:8])
    raise ConfigError(
        f"Several columns of {table.called} may be the labels ({listed}). Name one, or more: "
        "--labels FILE:COLUMN."
    )


def _tells_apart(table: Table, key: Key, column: str) -> bool:
    count, named = len(set(_values(table, key, column))), len(key.paths)
    return 2 <= count <= MOST_CLASSES and (count <= _FEW or count < 0.8 * named)


def _qualifies(table: Table, key: Key, column: str) -> bool:
    if _NO_LABELS.fullmatch(column.casefold()):
        return False
    values = list(_values(table, key, column))
    count = len(set(values))
    measured = any(_MEASURED.fullmatch(value) for value in values)
    return 2 <= count <= MOST_CLASSES and 2 * count <= len(key.paths) and not measured


def _values(table: Table, key: Key, column: str) -> Iterator[str]:
    for line in table.lines:
        value = line.cells[column]
        if value and value.casefold() not in UNKNOWN and key.find(line.cells[key.column]):
            yield value
