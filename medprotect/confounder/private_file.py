"""Small files with a secret: readable by their owner alone, and never written over."""

import os
import stat
from pathlib import Path

from medprotect.errors import KeyFileError

_LARGEST_FILE = 4096


def write_private(path: Path, header: str, secret: bytes) -> None:
    """Write a new file: a line that says what it is, and a line with the secret in hex.

    Raises
    ------
    KeyFileError
        The file exists or cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(
            f"{path} exists. A key is never overwritten: name another file."
        ) from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{header}\n{secret.hex()}\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_private(path: Path, makes_one: str) -> str:
    """Return the text of such a file.

    Parameters
    ----------
    path : Path
        The file.
    makes_one : str
        The command that makes one, for the message where there is none.

    Raises
    ------
    KeyFileError
        The file is missing, no file, or open to anyone but its owner.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise KeyFileError(f"There is no key at {path}. `{makes_one}` makes one.") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyFileError(f"{path} is not a file. Name the file of the key.")
        if os.name == "posix" and mode & 0o077:
            raise KeyFileError(
                f"{path} can be read by others. Make it yours alone (chmod 600), "
                "and a new key if anyone may have copied it."
            )
        return os.read(descriptor, _LARGEST_FILE).decode("ascii", errors="replace")
    finally:
        os.close(descriptor)


def parse_secret(text: str, header: str, what: str, count: int) -> bytes:
    """Return the secret of such a text.

    Parameters
    ----------
    text, header : str
        As read, and the line that it must begin with.
    what : str
        What the file is to be, for the message.
    count : int
        Bytes of the secret.

    Raises
    ------
    KeyFileError
        The text is another thing, or damaged.
    """
    first, _, rest = text.partition("\n")
    if first != header:
        raise KeyFileError(f"The file is not a medprotect {what}, or is of a newer version.")
    digits = rest.removesuffix("\n")
    try:
        if len(digits) != 2 * count:
            raise ValueError
        return bytes.fromhex(digits)
    except ValueError:
        raise KeyFileError(f"The {what} file is damaged; restore it from its backup.") from None
