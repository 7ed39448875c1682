"""The list of what a vault holds, as it stands in its stream 0."""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

from medprotect.errors import UnsafePathError, VaultError
from medprotect.limits import VAULT_LIST_BYTES
from medprotect.scan.walk import collisions, join_under
from medprotect.vault.difference import PIECE_BYTES

FORMAT = 1
_LATEST_NS = 2**63


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the export.

    Attributes
    ----------
    number : int
        Of the file in the receipt, and of its stream.
    path : str
        In the export.
    size, mtime_ns : int
        Its bytes, and when they were last changed.
    sha256 : str
        Of its bytes, in hex.
    out : str
        Path in OUT of the file that differences are taken from; "" where there is none.
    out_size : int
        Bytes of that.
    out_sha256 : str
        Of those, in hex.
    """

    number: int
    path: str
    size: int
    mtime_ns: int
    sha256: str
    out: str = ""
    out_size: int = 0
    out_sha256: str = ""

    @property
    def pieces(self) -> int:
        """Into how many pieces the file is cut; one at least."""
        return max(1, -(-self.size // PIECE_BYTES))


@dataclass(frozen=True, slots=True)
class Listing:
    """What a vault holds.

    Attributes
    ----------
    files : tuple of Kept
        In the order of their streams.
    not_kept : dict of str to int
        Entries of the export that are no plain files, or have names that cannot be written
        again: how many, by reason.
    """

    files: tuple[Kept, ...]
    not_kept: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(each.size for each in self.files)


def write_listing(listing: Listing) -> Iterator[bytes]:
    """Yield a list as parts of a stream."""
    document = {
        "format": FORMAT,
        "files": [asdict(each) for each in listing.files],
        "not_kept": listing.not_kept,
    }
    data = zlib.compress(json.dumps(document, ensure_ascii=False).encode())
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]


def read_listing(parts: Iterable[bytes]) -> Listing:
    """Read a list from the parts of its stream.

    Whoever knows a recipient can make a vault for it, so that nothing in it is trusted;
    `check_paths` comes after.

    Raises
    ------
    VaultError
        The parts are no such list, or are too long.
    """
    unpacking, data = zlib.decompressobj(), bytearray()
    try:
        for part in parts:
            data += unpacking.decompress(part, VAULT_LIST_BYTES + 1 - len(data))
            if len(data) > VAULT_LIST_BYTES or unpacking.unused_data:
                raise ValueError
        document = json.loads(data)
        if not unpacking.eof or document["format"] != FORMAT:
            raise ValueError
        return Listing(
            tuple(_read_kept(each) for each in document["files"]),
            {str(why): _natural(count) for why, count in document["not_kept"].items()},
        )
    except (zlib.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise VaultError("The list in the vault cannot be read by this version.") from None


def _read_kept(line: dict[str, Any]) -> Kept:
    for name, of in get_type_hints(Kept).items():
        if type(line[name]) is not of:
            raise ValueError
    kept = Kept(**line)
    if kept.size < 0 or kept.out_size < 0 or abs(kept.mtime_ns) >= _LATEST_NS:
        raise ValueError
    return kept


def _natural(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError
    return number


def check_paths(listing: Listing, out: Path, back: Path) -> None:
    """Check that no path of a list leads out of its tree, and that no two meet.

    Parameters
    ----------
    listing : Listing
        From a vault.
    out, back : Path
        The trees.

    Raises
    ------
    VaultError
        One does.
    """
    try:
        for each in listing.files:
            join_under(back, each.path)
            if each.out:
                join_under(out, each.out)
    except UnsafePathError:
        raise VaultError("A path in the vault leads out of BACK; nothing is restored.") from None
    numbers = [each.number for each in listing.files]
    meets = collisions((each.path for each in listing.files), ignores_case=False)
    if meets or numbers != sorted(set(numbers)) or min(numbers, default=1) < 1:
        raise VaultError("Two files in the vault have the same path; nothing is restored.")


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Return how often each reason comes, in the order of their names."""
    return dict(sorted(Counter(reasons).items()))
