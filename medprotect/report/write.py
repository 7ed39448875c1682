"""Writes the page and the signed statement of a run, or of a node."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprotect.confounder.key import Key
from medprotect.errors import KeyFileError, OutputError
from medprotect.protect.atomic import make_folders, write_whole
from medprotect.protect.inspection import check_picture_folder
from medprotect.protect.journal import NAME as JOURNAL
from medprotect.protect.journal import Entry, Journal
from medprotect.protect.lock import hold_lock
from medprotect.protect.receipt import NAME as RECEIPT
from medprotect.protect.receipt import read_receipt
from medprotect.protect.summary import TO_COME
from medprotect.report.change import Change, measure_changes
from medprotect.report.page import Report, make_page
from medprotect.report.statement import NAME, make_statement, public_key, sign

PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Written:
    """Where the report lies, and with what its signature is checked."""

    page: Path
    statement: Path
    public_key: str


def write_report(
    out: Path,
    state: Path,
    key: Key,
    *,
    receipt: Mapping[str, Any] | None = None,
    export: Path | None = None,
    folder: Path | None = None,
    with_names: bool = False,
    with_pictures: bool = False,
) -> Written:
    """Write the report of a run, or of a node.

    Parameters
    ----------
    out, state : Path
        Of the run or node.
    key : Key
        The owner's: the one that the run had.
    receipt : mapping, optional
        Of a node, as `medprotect.network.receipt.node_receipt` returns it; by default the run's,
        read from the state folder. Export, names and pictures are of a run alone.
    export : Path, optional
        Of the run, to measure how much images were changed.
    folder : Path, optional
        Where it is to lie; by default the state folder. Never in an OUT.
    with_names, with_pictures : bool
        Whether the page shows paths and images. The statement never does.

    Raises
    ------
    KeyFileError
        The run had another key.
    OutputError, StorageError
        There is no run of this OUT, or the folder cannot be written.
    """
    check_picture_folder(folder or state)
    entries: list[Entry] = []
    if receipt is None:
        receipt, entries = _read_run(state)
    if receipt["key"] != key.fingerprint:
        raise KeyFileError(
            f"The run used the key {receipt['key']}, and this is {key.fingerprint}. Name the key "
            "of the run with --key."
        )
    statement = make_statement(receipt, datetime.date.today().isoformat())
    changes: dict[str, Change] = measure_changes(export, out, entries) if export else {}
    page = make_page(
        Report(
            statement=statement,
            entries=entries,
            changes=changes,
            public_key=public_key(key),
            with_names=with_names,
            with_pictures=with_pictures,
        )
    )
    place = folder or state
    make_folders(place, mode=0o700)
    written = Written(place / PAGE, place / NAME, public_key(key))
    write_whole(written.page, page.encode(), 0o600)
    write_whole(
        written.statement, (json.dumps(sign(statement, key), indent=1) + "\n").encode(), 0o600
    )
    return written


def _read_run(state: Path) -> tuple[dict[str, Any], list[Entry]]:
    if not (state / JOURNAL).is_file():
        raise OutputError(
            "no run wrote OUT: its state folder holds no journal; name that folder with --state"
        )
    with hold_lock(state), Journal(state) as journal:
        entries = list(journal.entries())
        if any(entry.outcome in TO_COME for entry in entries):
            raise OutputError("the run is not finished; give its command again, then report")
        return _read_receipt(state / RECEIPT), entries


def _read_receipt(path: Path) -> dict[str, Any]:
    try:
        return read_receipt(path)
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(
            "The receipt is missing or damaged. Give the command of the run again to write it."
        ) from None
