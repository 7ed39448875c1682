"""Bundles as files in memory: read from a folder or a zip, named safely, known by one hash."""

import hashlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from medprotect.errors import HashMismatchError, PipelineError
from medprotect.protect.atomic import make_folders, write_file

SUMS = "SHA256SUMS"
"""Lists the hash of every other file of a bundle, as `sha256sum` does; its own names the bundle."""

LARGEST_BYTES = 1024**3
MOST_FILES = 1000
LONGEST_NAME = 200

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.+,=@~ -]+")
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # of time, for a zip
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Contents:
    """All files of a bundle.

    Attributes
    ----------
    files : mapping of str to bytes
        By path below the bundle's root, with ``/``; no path leads elsewhere.
    """

    files: Mapping[str, bytes]

    @property
    def sums(self) -> str:
        """The hash of every file but `SUMS`, a line each."""
        lines = (
            f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            for name, data in sorted(self.files.items())
            if name != SUMS
        )
        return "".join(lines)

    @property
    def sha256(self) -> str:
        """SHA-256 in hex that the bundle is known by: of `sums`."""
        return hashlib.sha256(self.sums.encode()).hexdigest()

    def write(self, folder: Path, names: Iterable[str] | None = None) -> None:
        """Write the files, or those named, into a new folder that its user alone can read."""
        make_folders(folder, 0o700)
        for name in self.files if names is None else names:
            path = folder.joinpath(*PurePosixPath(name).parts)
            make_folders(path.parent, 0o700)
            write_file(path, self.files[name], 0o600)


def read_bundle(path: Path) -> Contents:
    """Read a bundle whole; nothing of it is run, and nothing written.

    Parameters
    ----------
    path : Path
        A folder, or a zip with the bundle at its root or in its one folder.

    Raises
    ------
    PipelineError
        It is neither, too large, or holds a link or a path that leads elsewhere.
    HashMismatchError
        It is not as its own `SUMS` say.
    """
    try:
        found = _read_folder(path) if path.is_dir() else _read_zip(path)
        contents = Contents(_below_root(dict(_bounded(found))))
    except _UNREADABLE as error:
        raise PipelineError(
            f"The bundle is neither a folder nor a readable zip ({type(error).__name__})."
        ) from None
    stated = contents.files.get(SUMS)
    if stated is not None and stated != contents.sums.encode():
        raise HashMismatchError(
            f"The bundle differs from its {SUMS}: a file was changed, added or lost. "
            "Fetch it again."
        )
    return contents


def pack(files: Mapping[str, bytes], root: str) -> bytes:
    """Return a zip of files below a folder `root`: the same files give the same bytes.

    They are stored as they are, since compressors differ from one machine to the next.
    """
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(f"{root}/{name}", _BEGINNING)
            info.create_system = 3  # Unix, wherever it is made
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return stream.getvalue()


def _read_folder(root: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise PipelineError("The bundle holds a link or a device; it is not opened.")
        size = path.stat().st_size
        with path.open("rb") as stream:
            yield path.relative_to(root).as_posix(), size, stream.read(LARGEST_BYTES + 1)


def _read_zip(path: Path) -> Iterator[tuple[str, int, bytes]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if len(entries) > 2 * MOST_FILES or total > LARGEST_BYTES:
            raise PipelineError("The bundle is larger than a bundle can be.")
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                raise PipelineError("The bundle holds a link or a device; it is not opened.")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise PipelineError("The bundle uses a compression that is not supported.")
            with archive.open(entry) as stream:
                yield entry.filename, entry.file_size, stream.read(entry.file_size + 1)


def _bounded(found: Iterable[tuple[str, int, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Pass files on whose names lead nowhere else and are theirs alone, up to the ceilings."""
    seen: set[str] = set()
    total = 0
    for name, size, data in found:
        parts = name.split("/")
        if len(name) > LONGEST_NAME or not all(map(_NAME.fullmatch, parts)):
            raise PipelineError("The bundle holds a path that could lead out of its folder.")
        if name.casefold() in seen or len(data) != size:
            raise PipelineError("The bundle holds two files of one name, or a damaged one.")
        seen.add(name.casefold())
        total += size
        if total > LARGEST_BYTES or len(seen) > MOST_FILES:
            raise PipelineError("The bundle is larger than a bundle can be.")
        yield name, data


def _below_root(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out the one folder that all files of a zip lie in."""
    tops = {name.partition("/")[0] for name in files}
    if len(tops) != 1 or any("/" not in name for name in files):
        return files
    (top,) = tops
    return {name.removeprefix(f"{top}/"): data for name, data in files.items()}
