"""How files go on the terminal: by number, or by path where that was asked for."""

from medprotect.protect.journal import Entry

SHOWN = 30
"""Most lines of a list that has no end of its own; all stand in the receipt."""

NAMES_HIDDEN = "files are named by number; --with-names shows their paths, which may be personal"


def name_of(number: int, entry: Entry, *, with_names: bool) -> str:
    """Return what a file is called: ``file 12``, or its path.

    A path is shown so that no control character in it reaches the terminal.
    """
    if not with_names:
        return f"file {number}"
    return entry.shown_path


def files_in_words(count: int) -> str:
    """Return ``1 file`` or ``1,204 files``."""
    return f"{count:,} file{'' if count == 1 else 's'}"


def bytes_in_words(count: float) -> str:
    """Return ``1.5 MB`` and the like."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def seconds_in_words(seconds: float) -> str:
    """Return ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
