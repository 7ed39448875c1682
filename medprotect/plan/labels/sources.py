"""Where the labels of an export are found: in a table, in names of folders, in DICOM headers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from medprotect import limits
from medprotect.confounder.labels import FOLDERS, read_labels
from medprotect.confounder.slots import MOST_CLASSES
from medprotect.errors import ConfigError, MedprotectError
from medprotect.plan.labels.columns import (
    Labelled,
    check_classes,
    check_columns,
    label_by_table,
    shown,
)
from medprotect.plan.labels.findings import label_by_findings
from medprotect.plan.labels.folders import find_folders, label_by_folder
from medprotect.plan.labels.headers import label_by_field, parse_field, read_ids
from medprotect.plan.labels.keys import Key, find_key, may_hold_ids, plain
from medprotect.plan.labels.table import SUFFIXES, Table, capital, read_any_table
from medprotect.scan.walk import Found, Tree, open_found, walk

AUTO = "auto"
NONE = "none"
DICOM = "dicom:"
TABLE = "table"
FINDINGS = "findings"
GIVEN = "given"

CALLED = "the labels file"
_STRICT = frozenset({"file", "label", "split", "group", "patient"})
_MOST_TABLES = 16
_MOST_FOR_A_HINT = 1000
"""Most files whose headers are read to tell of a table that is not used."""

TOLD = (
    "the noise says the labels given to whoever can read it; hand OUT only to those who may "
    "know them"
)


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Where labels are from; nothing in it is personal.

    Attributes
    ----------
    kind : str
        ``folders``, ``table``, ``dicom``, ``findings`` or ``given``; "" where there are none.
    words : str
        The same in words: ``names of folders``.
    columns : tuple of str
        Of a table, or the DICOM keyword.
    warnings : tuple of str
        For plan and receipt.
    reasons : tuple of str
        Why what lies in the export is not used, and what changes that.
    asked : bool
        Whether it was named, and not found.
    """

    kind: str = ""
    words: str = ""
    columns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    asked: bool = True


@dataclass(frozen=True, slots=True)
class FoundLabels:
    """Labels of an export.

    Attributes
    ----------
    by_path : Mapping
        Label by path in the export.
    sha256 : str
        Of what decides them: a run goes on only where it is the same. "" without labels.
    source : LabelSource
        Where they are from.
    """

    by_path: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    source: LabelSource = field(default_factory=LabelSource)


def find_labels(
    export: Path | Tree, asked: str, *, copies_others: bool = False, any_label: bool = True
) -> FoundLabels:
    """Return the labels of an export.

    Parameters
    ----------
    export : Path or Tree
        The export.
    asked : str
        ``auto``, ``none``, ``folders``, ``dicom:KEYWORD``, or a table: ``FILE``, ``FILE:COLUMN``.
    copies_others : bool
        Whether files that are no images, such as tables, leave with OUT: others are not used by
        ``auto``.
    any_label : bool
        Whether there is a pipeline that says any label; else ``auto`` looks for none.

    Raises
    ------
    ConfigError
        What is asked for gives no labels.
    """
    finder = _Finder(export, copies_others)
    if asked == NONE or (asked == AUTO and not any_label):
        return FoundLabels()
    if asked == AUTO:
        return finder.look() if not isinstance(export, Path) or export.is_dir() else FoundLabels()
    if asked == FOLDERS and not Path(asked).is_file():
        return finder.by_folders()
    if asked.startswith(DICOM):
        return finder.by_field(asked.removeprefix(DICOM))
    return finder.by_table(*_part_columns(asked))


def given_labels(by_path: Mapping[str, str]) -> FoundLabels:
    """Return labels that a program has given, by path in the export.

    Raises
    ------
    ConfigError
        There are more classes than noise can say.
    """
    if not by_path:
        return FoundLabels()
    _check_count(by_path, "The labels given")
    pairs = [f"{path}\0{label}" for path, label in sorted(by_path.items())]
    source = LabelSource(GIVEN, "as given", warnings=(TOLD,))
    return FoundLabels(dict(by_path), _hash(GIVEN, *pairs), source)


def _part_columns(asked: str) -> tuple[Path, tuple[str, ...]]:
    """Return the file and the columns of ``FILE:COLUMN,COLUMN``."""
    file, colon, columns = asked.rpartition(":")
    if not colon or Path(asked).exists() or not Path(file).exists():
        return Path(asked), ()
    named = tuple(name.strip() for name in columns.split(","))
    if not all(named):
        raise ConfigError("--labels FILE:COLUMN needs the name of a column after the colon.")
    return Path(file), named


class _Finder:
    """Looks for labels in one export, whose entries and headers are read once."""

    def __init__(self, export: Path | Tree, copies_others: bool) -> None:
        self._export, self._copies_others = export, copies_others
        self._ids: dict[str, dict[str, list[str]]] | None = None

    @cached_property
    def _files(self) -> list[Found]:
        return [found for found in walk(self._export) if found.unsafe is None]

    def _read_ids(self) -> dict[str, dict[str, list[str]]]:
        if self._ids is None:
            self._ids = read_ids(self._export, self._files)
        return self._ids

    def by_folders(self) -> FoundLabels:
        """Return labels that are names of folders."""
        if not isinstance(self._export, Path):
            raise ConfigError("--labels folders needs an EXPORT that is a folder; give a table.")
        by_path = label_by_folder(self._files)
        _check_count(by_path, "The folders of EXPORT")
        return _of_folders(by_path, asked=True)

    def by_field(self, words: str) -> FoundLabels:
        """Return labels that headers of DICOM files hold."""
        path = parse_field(words)
        if not isinstance(self._export, Path):
            raise ConfigError("--labels dicom:KEYWORD needs an EXPORT that is a folder.")
        read = label_by_field(self._export, self._files, path)
        if not read:
            raise ConfigError(
                f"No DICOM file in EXPORT says {words}. `medprotect inspect FILE` shows what a "
                "file is; name another keyword, or give --labels a table."
            )
        by_path = _join_values(read)
        check_classes(by_path, len(by_path), f"{words} of the DICOM files")
        source = LabelSource("dicom", f"DICOM headers, {words}", (words,))
        return FoundLabels(by_path, _hash("dicom", words, *_classes(by_path)), source)

    def by_table(self, file: Path, columns: tuple[str, ...]) -> FoundLabels:
        """Return labels of a table that lies anywhere."""
        data = _read_file(file)
        if not isinstance(self._export, Path) or self._export.is_dir():
            paths = {found.path for found in self._files}
        else:
            return FoundLabels()  # a run says itself that there is no export
        strict = {} if columns or not _is_strict(data) else read_labels(file)
        if matched := len({plain(path) for path in strict} & paths):
            _check_count(strict, capital(CALLED))
            warnings = (TOLD, *_of_unmatched(len(strict) - matched))
            source = LabelSource(TABLE, 'the table given, column "label"', ("label",), warnings)
            return FoundLabels(strict, hashlib.sha256(data).hexdigest(), source)
        table = read_any_table(data, CALLED)
        check_columns(table, columns)
        read_ids = self._read_ids if isinstance(self._export, Path) else None
        key = find_key(table, sorted(paths), read_ids, columns)
        if key is None and columns:  # it may be that the one column is asked for as label
            key = find_key(table, sorted(paths), read_ids)
        labelled = label_by_table(table, key, columns)
        source = LabelSource(
            kind=TABLE,
            words=f"the table given, {_in_words(table, labelled.columns)}",
            columns=labelled.columns,
            warnings=(TOLD, *_of_unmatched(labelled.unmatched)),
        )
        return FoundLabels(labelled.by_path, _hash_table(data, labelled), source)

    def look(self) -> FoundLabels:
        """Look for labels that lie in the export and leave with it."""
        if not isinstance(self._export, Path):
            return _none("EXPORT is no folder, where none are looked for; --labels FILE gives them")
        reasons: list[str] = []
        for look in (self._look_at_tables, self._look_at_folders, self._look_at_findings):
            found = look(reasons)
            if found is not None:
                source = found.source
                kept = LabelSource(
                    source.kind,
                    source.words,
                    source.columns,
                    source.warnings,
                    tuple(reasons),
                    False,
                )
                return FoundLabels(found.by_path, found.sha256, kept)
        return _none(*reasons)

    def _look_at_tables(self, reasons: list[str]) -> FoundLabels | None:
        """Use the table that labels most files, if it leaves with the export."""
        best: tuple[Table, Labelled, bytes, Found] | None = None
        why = ""
        for found in self._tables():
            try:
                data = self._read(found)
                table = read_any_table(data, "a table in EXPORT")
                key = self._key_of(table, found)
            except MedprotectError:
                continue  # no table of this export
            if key is None or key.is_vague:
                continue
            try:
                labelled = label_by_table(table, key)
            except ConfigError as error:
                why = why or f"a table in EXPORT is not used: {str(error).removesuffix('.')}"
                continue
            if best is None or len(labelled.by_path) > len(best[1].by_path):
                best = table, labelled, data, found
        if best is None:
            reasons += [why] if why else []
            return None
        table, labelled, data, found = best
        words = _in_words(table, labelled.columns)
        is_book = found.path.casefold().endswith(".xlsx")
        if not self._copies_others or is_book:
            reasons.append(_left_out(words, len(set(labelled.by_path.values())), is_book=is_book))
            return None
        source = LabelSource(
            TABLE,
            f"a table in EXPORT, {words}",
            labelled.columns,
            _of_unmatched(labelled.unmatched),
        )
        return FoundLabels(labelled.by_path, _hash_table(data, labelled), source)

    def _tables(self) -> list[Found]:
        """Return what may be a table, what lies highest first; no file that describes another."""
        stems: dict[str, int] = {}
        for found in self._files:
            stem = found.path.partition(".")[0]
            stems[stem] = stems.get(stem, 0) + 1
        tables = [
            found
            for found in self._files
            if found.path.casefold().endswith(SUFFIXES)
            and found.size <= limits.LABEL_TABLE_BYTES
            and not (found.path.endswith(".json") and stems[found.path.partition(".")[0]] > 1)
        ]
        return sorted(tables, key=lambda found: (found.path.count("/"), found.path))[:_MOST_TABLES]

    def _key_of(self, table: Table, found: Found) -> Key | None:
        paths = [
            each.path for each in self._files if each.path != found.path and not _is_table(each)
        ]
        is_worth_it = self._copies_others or len(paths) <= _MOST_FOR_A_HINT
        read_ids = self._read_ids if is_worth_it and may_hold_ids(table) else None
        return find_key(table, paths, read_ids)

    def _read(self, found: Found) -> bytes:
        with open_found(self._export, found) as stream:
            return stream.read(limits.LABEL_TABLE_BYTES + 1)

    def _look_at_folders(self, reasons: list[str]) -> FoundLabels | None:
        by_path, why = find_folders(self._export, self._files)
        if by_path:
            return _of_folders(by_path, asked=False)
        reasons.append(f"names of folders are not used: {why}")
        return None

    def _look_at_findings(self, reasons: list[str]) -> FoundLabels | None:
        by_path = _join_values(label_by_findings(self._export, self._files))
        if not by_path:
            return None
        count = len(set(by_path.values()))
        if not self._copies_others:
            words = "coded findings of structured reports"
            reasons.append(_left_out(words, count, is_report=True))
            return None
        try:
            check_classes(by_path, len(by_path), "Coded findings of reports")
        except ConfigError:
            reasons.append(
                f"coded findings are not used: they tell {count:,} kinds of images apart"
            )
            return None
        pairs = [f"{path}\0{label}" for path, label in sorted(by_path.items())]
        source = LabelSource(FINDINGS, "coded findings in structured reports")
        return FoundLabels(by_path, _hash(FINDINGS, *pairs), source)


def _none(*reasons: str) -> FoundLabels:
    return FoundLabels(source=LabelSource(reasons=reasons, asked=False))


def _is_table(found: Found) -> bool:
    return found.path.casefold().endswith(SUFFIXES)


def _left_out(words: str, count: int, *, is_book: bool = False, is_report: bool = False) -> str:
    what = words if is_report else f"a table with {words}"
    found = f"{what} ({count:,} classes) lies in EXPORT, but not in OUT, so it is not used"
    by_file = "" if is_report else "`--labels FILE` uses it, and OUT then tells its labels"
    if is_book:
        return f"{found}: {by_file}"
    copied = "`--others copy` takes it along and uses it"
    return f"{found}: {copied}{'; ' if by_file else ''}{by_file}"


def _in_words(table: Table, columns: Sequence[str]) -> str:
    named = ", ".join(shown(table, each).replace("'", '"') for each in columns)
    return f"column{'' if len(columns) == 1 else 's'} {named}"


def _of_unmatched(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    lines, word = ("1 line", "names") if count == 1 else (f"{count:,} lines", "name")
    return (f"{lines} of the table of labels {word} nothing in EXPORT",)


def _of_folders(by_path: Mapping[str, str], *, asked: bool) -> FoundLabels:
    named = "\n".join([FOLDERS, *_classes(by_path)])
    source = LabelSource(FOLDERS, "names of folders", asked=asked)
    return FoundLabels(by_path, hashlib.sha256(named.encode()).hexdigest(), source)


def _classes(by_path: Mapping[str, str]) -> list[str]:
    return sorted(set(by_path.values()))


def _check_count(by_path: Mapping[str, str], what: str) -> None:
    count = len(set(by_path.values()))
    if count > MOST_CLASSES:
        raise ConfigError(
            f"{what} tell {count:,} classes apart, and noise can say {MOST_CLASSES}: join classes, "
            "or give --labels none."
        )


def _join_values(read: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {path: "\\".join(values) for path, values in read.items()}


def _hash(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()


def _hash_table(data: bytes, labelled: Labelled) -> str:
    return _hash(
        TABLE, hashlib.sha256(data).hexdigest(), *labelled.columns, *_classes(labelled.by_path)
    )


def _is_strict(data: bytes) -> bool:
    """Whether a table is one of `medprotect.confounder.labels.read_table`, by its first line."""
    first = data.removeprefix(b"\xef\xbb\xbf").splitlines()[:1]
    columns = first[0].decode("utf-8", "replace").split(",") if first else []
    return {"file", "label"} <= set(columns) <= _STRICT


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(limits.LABEL_TABLE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            "The labels file does not exist. --labels takes auto, none, folders, dicom:KEYWORD, or "
            "a table: FILE, or FILE:COLUMN."
        ) from None
    except (OSError, ValueError):
        raise ConfigError("The labels file cannot be read: name a table that is a file.") from None
