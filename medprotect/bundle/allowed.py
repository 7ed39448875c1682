"""Which bundles the user lets run as programs: a list of hashes, one a line, and comments."""

import os
import re
import stat
from pathlib import Path

from medprotect.confounder.key import default_key_path
from medprotect.errors import ConfigError

_LINE = re.compile(r"([0-9a-f]{64})(?:\s.*)?")
_LARGEST_FILE = 1024**2


def default_allow_list() -> Path:
    """Return where the list lies: in the user's configuration folder, beside the key."""
    return default_key_path().with_name("allowed-bundles")


def read_allow_list(path: Path) -> frozenset[str]:
    """Return the hashes of the list; none where there is no list.

    Raises
    ------
    ConfigError
        Others than the user can write to it, or a line is no hash.
    """
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            text = stream.read(_LARGEST_FILE).decode("utf-8", "replace")
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if os.name == "posix" and (
        status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise ConfigError(f"{path} can be written by others. Make it yours alone (chmod 600).")
    hashes = set()
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.fullmatch(line.strip())
        if found:
            hashes.add(found[1])
        elif line.strip() and not line.startswith("#"):
            raise ConfigError(f"Line {number} of {path} does not begin with a SHA-256 in hex.")
    return frozenset(hashes)


def allow(path: Path, sha256: str, comment: str) -> None:
    """Add a bundle's hash to the list.

    Raises
    ------
    ConfigError
        The list cannot be written.
    """
    if sha256 in read_allow_list(path):
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(f"{sha256}  {comment}\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
