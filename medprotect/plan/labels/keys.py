"""What a table of labels names: files, folders, or what DICOM headers are known by."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medprotect.errors import ConfigError
from medprotect.plan.labels.table import Table

PATH, NAME, STEM, FOLDER = "path", "name", "stem", "folder"
_OF_FILES = (PATH, NAME, STEM)

_COMPRESSED = re.compile(r"\.(gz|bz2|xz)$", re.IGNORECASE)
_MAY_BE_ID = re.compile(r"[\d.]{6,64}")
_NAMES_OF_IDS = ("uid", "patient", "patientid", "study", "series")

NOTHING_NAMED = (
    "No column of {} names what is in EXPORT. One must hold paths in EXPORT, names of files (with "
    "or without suffix) or of folders, or the SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID "
    "or PatientID of DICOM files, as they are now; in a spreadsheet as text, so that no digit is "
    "lost."
)

Index = Mapping[str, Sequence[str]]
"""Paths in EXPORT by what a cell may name them."""


@dataclass(frozen=True, slots=True)
class Key:
    """The column by which a table names what is in the export.

    Attributes
    ----------
    column : str
        Its name.
    kind : str
        ``path``, ``name``, ``stem``, ``folder``, or a keyword of DICOM.
    paths : Mapping
        Files that a cell stands for; without cells that stand for none.
    """

    column: str
    kind: str
    paths: Index

    @property
    def is_of_files(self) -> bool:
        """Whether each cell is to stand for one file."""
        return self.kind in _OF_FILES

    @property
    def is_vague(self) -> bool:
        """Whether most cells stand for files in several folders, as numbers do by chance."""
        vague = sum(is_ambiguous(self, paths) for paths in self.paths.values())
        return 2 * vague > len(self.paths)

    def find(self, cell: str) -> Sequence[str]:
        """Return the files that a cell stands for."""
        return self.paths.get(plain(cell), ())


def plain(cell: str) -> str:
    """Return a cell as a path with single slashes."""
    return "/".join(part for part in cell.replace("\\", "/").split("/") if part not in ("", "."))


def find_key(
    table: Table,
    files: Sequence[str],
    read_ids: Callable[[], Mapping[str, Index]] | None,
    labels: Sequence[str] = (),
) -> Key | None:
    """Return the column that names most of what is in the export; None where none does.

    Parameters
    ----------
    table : Table
        The table.
    files : sequence of str
        Paths in the export, without the table's.
    read_ids : callable or None
        Reads DICOM headers: paths by keyword and value. It is called only where files and folders
        are not named by the table; None if headers are not to be read.
    labels : sequence of str
        Columns that are labels.

    Raises
    ------
    ConfigError
        The first line names a file, too: there are no column names.
    """
    columns = [name for name in table.columns if name not in labels]
    cells = {name: [plain(line.cells[name]) for line in table.lines] for name in columns}
    wanted = {cell for each in cells.values() for cell in each} | set(map(plain, columns))
    indexes = _index_files(files, wanted)
    keys = list(_matching(cells, indexes))
    if read_ids and not any(_names_each(key, cells[key.column]) for key in keys):
        keys += _matching(cells, read_ids())
    if not keys:
        return None
    best = max(keys, key=lambda key: len(key.paths))  # of equal ones the first
    if plain(best.column) in indexes.get(best.kind, {}) and best.is_of_files:
        raise ConfigError(
            f"The first line of {table.called} names a file: put a line with the names of the "
            "columns above it."
        )
    return best


def may_hold_ids(table: Table) -> bool:
    """Whether a table looks as if it names IDs of DICOM."""
    names = [re.sub(r"[_\s-]", "", name).casefold() for name in table.columns]
    return any(name.endswith(_NAMES_OF_IDS) for name in names) or any(
        _MAY_BE_ID.fullmatch(cell) for cell in table.lines[0].cells.values()
    )


def _matching(cells: Mapping[str, Sequence[str]], indexes: Mapping[str, Index]) -> Iterator[Key]:
    for kind, index in indexes.items():
        for column, values in cells.items():
            filled = [value for value in values if value]
            found = [value for value in filled if value in index]
            if found and 2 * len(found) > len(filled):
                yield Key(column, kind, {value: index[value] for value in found})


def _names_each(key: Key, cells: Sequence[str]) -> bool:
    """Whether a column has another name in most lines, as a column of labels has not."""
    return 2 * len(key.paths) >= len(cells)


def _index_files(files: Sequence[str], wanted: set[str]) -> dict[str, dict[str, list[str]]]:
    """Return the files by path, name, stem and folder, of such that are wanted."""
    found: dict[str, dict[str, list[str]]] = {kind: {} for kind in (*_OF_FILES, FOLDER)}

    def add(kind: str, name: str, path: str) -> None:
        if name in wanted:
            found[kind].setdefault(name, []).append(path)

    for path in files:
        folders = path.split("/")
        name = folders.pop()
        add(PATH, path, path)
        add(NAME, name, path)
        add(STEM, _COMPRESSED.sub("", name).rpartition(".")[0] or name, path)
        for folder in {*folders, *("/".join(folders[:at]) for at in range(2, len(folders) + 1))}:
            add(FOLDER, folder, path)
    return found


def is_ambiguous(key: Key, paths: Sequence[str]) -> bool:
    """Whether a cell that is to stand for one file stands for some in several folders."""
    if not key.is_of_files:
        return False
    folders = {path.rpartition("/")[0] for path in paths}
    return len(folders) > 1
