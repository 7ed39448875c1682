"""Images of a run, clean and protected, side by side."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from medprotect.errors import InputError, OutputError, VerificationError
from medprotect.imaging import formats
from medprotect.imaging.image import Image, Pair, Readable
from medprotect.protect.file_check import open_both
from medprotect.protect.journal import Entry
from medprotect.scan.walk import Found, walk

_CHANGED = (
    "A file is no more as the run left it, in EXPORT or OUT; see medprotect verify EXPORT OUT."
)


@dataclass(frozen=True, slots=True)
class Trees:
    """Where the files of a run lie, and what its journal says of them.

    Attributes
    ----------
    export, out : Path
        Of the run.
    there : mapping of str to Found
        What lies in the export, by path.
    entries : mapping of str to Entry
        Of the journal, by path.
    """

    export: Path
    out: Path
    there: Mapping[str, Found]
    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, export: Path, out: Path, entries: Sequence[Entry]) -> Self:
        """Look what lies in the export now."""
        there = {found.path: found for found in walk(export)}
        return cls(export, out, there, {entry.path: entry for entry in entries})


def read_both(
    trees: Trees, entry: Entry, choose: Callable[[int], Collection[int]]
) -> list[tuple[Image, Image]]:
    """Return images of a protected file, clean and protected, in their order.

    Parameters
    ----------
    trees : Trees
        Of the run.
    entry : Entry
        The file; of a pair, its header.
    choose : callable
        ``choose(count)``: which of that many images, from 0.

    Raises
    ------
    OutputError
        A file is no more as the run left it.
    """
    try:
        with ExitStack() as stack:
            streams = _open(trees, entry, stack)
            both: tuple[Readable, ...] = streams
            if entry.row.voxels:
                voxels = _open(trees, trees.entries[entry.row.voxels], stack)
                members = zip(streams, voxels, strict=True)
                both = tuple(Pair(header.read(), member.read()) for header, member in members)
            clean, protected = (_read(readable, choose) for readable in both)
            return list(zip(clean, protected, strict=True))
    except (OSError, LookupError, InputError, VerificationError) as error:
        raise OutputError(_CHANGED) from error


def _open(trees: Trees, entry: Entry, stack: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    streams = open_both(trees.export, trees.out, entry, trees.there[entry.path], stack)
    for stream in streams:
        stream.seek(0)
    return streams


def _read(readable: Readable, choose: Callable[[int], Collection[int]]) -> list[Image]:
    file = formats.open_stream(readable)
    traits = file.description.traits
    chosen = choose(traits.images if traits else 0)
    last = max(chosen, default=-1)
    images = []
    for index, image in enumerate(file.images()):
        if index in chosen:
            images.append(image)
        if index >= last:
            break
    if len(images) != len(chosen):
        raise InputError("a file without an image")
    return images
