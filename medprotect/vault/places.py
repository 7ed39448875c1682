"""Where a vault and what is restored may lie, and how it is told when they cannot."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medprotect.errors import OutputError, StorageError
from medprotect.protect.inspection import check_picture_folder
from medprotect.scan.walk import is_within


def check_vault_place(file: Path, export: Path, out: Path) -> None:
    """Refuse a place for a new vault that is taken, or that may leave the house.

    Raises
    ------
    OutputError
        It is, or it lies in the export or in an OUT.
    """
    if os.path.lexists(file):
        raise OutputError("The vault exists. It is never overwritten: name another file.")
    if is_within(file, export) or is_within(file, out):
        raise OutputError("The vault would be in the export or in OUT. Name a file elsewhere.")
    _check_outs(file.parent, "The vault")


def check_back(back: Path, out: Path) -> None:
    """Refuse a place for what is restored that is taken, or that may leave the house.

    Raises
    ------
    OutputError
        It is, or it lies in an OUT.
    """
    if os.path.lexists(back):
        raise OutputError("BACK exists. Name a new folder for the export.")
    if is_within(back, out):
        raise OutputError("BACK would be in OUT, which may leave the house. Name another folder.")
    _check_outs(back, "BACK")


def _check_outs(folder: Path, what: str) -> None:
    try:
        check_picture_folder(folder)
    except OutputError:
        raise OutputError(
            f"{what} would be in an OUT, which may leave the house. Name another place."
        ) from None


@contextmanager
def told_of(what: str) -> Iterator[None]:
    """Tell errors of writing of the block as those of another place than OUT.

    Parameters
    ----------
    what : str
        ``The vault``, ``BACK``.
    """
    try:
        yield
    except OutputError as error:
        raise OutputError(
            f"{what} cannot be written ({_reason(error)}); check its folder, or name another"
        ) from None
    except StorageError as error:
        raise StorageError(
            f"{what} could not be written ({_reason(error)}) and was removed; make room, then give "
            "the command again"
        ) from None


def _reason(error: Exception) -> str:
    cause = error.__context__
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
