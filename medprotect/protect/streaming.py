"""A file of many frames, protected frame by frame: it need not fit into memory."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medprotect.imaging import dicom
from medprotect.protect.atomic import publish, scratch_file, write_chunks
from medprotect.protect.protectable import FileCheck, check_stream, is_grey, noisy
from medprotect.protect.transforms import Protect


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that was written.

    Attributes
    ----------
    checked : FileCheck
        What it was found to be, as read from the disk.
    notes : tuple of str
        As in `medprotect.imaging.image.Encoded`.
    shows_grey : bool
        Whether colour is stored in it and every pixel is grey.
    """

    checked: FileCheck
    notes: tuple[str, ...]
    shows_grey: bool = False


def protect_stream(
    stream: BinaryIO, final: Path, protect: Protect, label: str | None = None
) -> Saved:
    """Protect a DICOM file as `LoadProtectable`, `Protect` and `SaveProtected` do, frame by frame.

    The file that comes out is the same, byte for byte. Its name may not outlive a power cut, as
    with ``flush_names=False``.

    Parameters
    ----------
    stream : binary file
        Seekable.
    final : Path
        The file to write; must not exist.
    protect : Protect
        With what.
    label : str, optional
        The class, where it is known.

    Raises
    ------
    InputError, VerificationError, OutputError, StorageError
        As those do; nothing is written then.
    """
    number = protect.class_number(label)
    partial = final.with_name(f".medprotect-{secrets.token_hex(8)}.part")
    file = dicom.open_stream(stream)
    with scratch_file(final.parent) as scratch:
        rewriting = file.rewrite(scratch)
        noise, strength, grey = protect.confounder.noise, protect.strength, is_grey(file)
        for stored in noisy(file.images(), noise, strength, number, grey=grey):
            rewriting.add(stored)
        rewritten = rewriting.finish(protect.derivation)
        write_chunks(partial, rewritten.chunks())
    try:
        with partial.open("rb") as written:
            checked = check_stream(stream, written, protect.strength)
        publish(partial, final, flush=False)
    finally:
        partial.unlink(missing_ok=True)
    return Saved(checked, rewritten.notes)
