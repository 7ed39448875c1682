"""The table of labels: which file shows which class."""

import csv
from pathlib import Path

from medprotect.errors import ConfigError

COLUMNS = ["file", "label"]


def read_labels(labels_csv: Path) -> dict[str, str]:
    """Read a table with the columns ``file`` and ``label``.

    Returns
    -------
    dict of str to str
        Label by file, in the table's order.

    Raises
    ------
    ConfigError
        The table is missing, has other columns, an empty field, or a file twice.
    """
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream, strict=True)
            if rows.fieldnames is None or sorted(rows.fieldnames) != COLUMNS:
                raise ConfigError("The first line of the labels file must be `file,label`.")
            labels: dict[str, str] = {}
            for row in rows:
                file, label = row["file"], row["label"]
                if not file or not label or file in labels:
                    raise ConfigError(
                        f"Line {rows.line_num} of the labels file has an empty field, or a file "
                        "that was listed before."
                    )
                labels[file] = label
    except FileNotFoundError:
        raise ConfigError("The labels file does not exist.") from None
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ConfigError("The labels file cannot be read as a CSV table in UTF-8.") from None
    return labels
