"""What one worker process does: files in, protected files out, one at a time."""

import hashlib
import importlib.metadata
import os
import zlib
from dataclasses import replace
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

import torch
from cryptography.hazmat.primitives.kdf.hkdf import HKDF as _HKDF  # noqa: F401
from monai.transforms.compose import Compose
from pydicom import dcmread as _dcmread  # noqa: F401 - what workers need is loaded before they fork
from scipy import ndimage as _ndimage  # noqa: F401

from medprotect import limits
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.errors import (
    ImageTooLargeError,
    InputChangedError,
    VerificationError,
)
from medprotect.imaging import dicom, formats
from medprotect.imaging.dicom import references
from medprotect.imaging.image import Pair
from medprotect.protect.atomic import (
    check_space,
    write_chunks,
    write_file,
)
from medprotect.protect.looking import look
from medprotect.protect.protectable import FileCheck, check_remapped, is_grey, sha256_of
from medprotect.protect.serving import answer_run, attempt
from medprotect.protect.streaming import Saved, protect_stream
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.protect.transforms import (
    NOTES,
    LoadProtectabled,
    Protectd,
    SaveProtectedd,
    check_of,
    source_of,
)
from medprotect.scan.sniff import sniff
from medprotect.scan.walk import Found, open_found

CODECS = ("imagecodecs", "pyjpegls", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pillow", "tifffile")

_BLOCK_BYTES = 4 * 1024**2

_CHANGED = "changed while it was read; let the export come to rest"


def serve(connection: Connection) -> None:
    """Do what a run asks for, until it closes the pipe."""
    torch.set_num_threads(1)
    answer_run(connection, Worker)


class Worker:
    """Pipelines, loaded, and what to do with a file.

    Parameters
    ----------
    setup : Setup
        What all files have in common.

    Raises
    ------
    PipelineError, HashMismatchError
        A pipeline is missing or damaged.
    """

    def __init__(self, setup: Setup) -> None:
        self._export, self._strength = Path(setup.export), setup.strength
        self._load = LoadProtectabled("image")
        key = Key(bytes.fromhex(setup.secret))
        self._protect = {
            name: Protectd(
                "image",
                load_card(Path(folder)),
                key,
                strength=setup.strength,
                labels_sha256=setup.labels_sha256,
                classes=setup.classes,
                keep_uids=setup.keep_uids,
                along_z=setup.along_z,
                label_key="label",
            )
            for name, folder in setup.pipelines.items()
        }

    def backend(self) -> dict[str, str]:
        """Return what the bytes of a protected file depend on besides plan and key."""
        found = {"zlib": zlib.ZLIB_RUNTIME_VERSION, "machine": os.uname().machine}
        for name in ("numpy", "scipy", "monai", *CODECS):
            found[name] = importlib.metadata.version(name)
        for protect in self._protect.values():
            facts = protect.protect.confounder.backend()
            found |= {name: str(fact) for name, fact in facts.items() if name != "batch"}
        return found

    def do(self, task: Task) -> Result:
        """Do a task; an error of its file is a result, and so is any other."""
        return attempt(self._do, task)

    def _do(self, task: Task) -> Result:
        if task.looks_only:
            return look(self._export, task, self._strength)
        _check_size(task)
        if task.voxels is not None:
            return self._do_pair(task, task.voxels)
        staged = Path(task.staged)
        with open_found(self._export, task.found) as stream:
            digest = sha256_of(stream)
            if stream.tell() != task.found.size:
                raise InputChangedError(_CHANGED)
            check_space(staged.parent, 2 * task.found.size)
            if task.remap:
                return self._remap(task, stream, digest)
            references_found = formats.find_references(stream)
            if not task.pipeline:
                copied = _copy(stream, staged, digest)
                return replace(copied, sha256_in=digest, references=references_found)
            saved = self._protect_file(stream, staged, task)
            if saved is None:
                return Result(shows_grey=not task.as_grey)
            if sha256_of(stream) != digest:
                staged.unlink(missing_ok=True)
                raise InputChangedError(_CHANGED)
            with staged.open("rb") as written:
                sha256_out = sha256_of(written)
                uids = formats.find_new_uids(stream, written)
        return Result(
            sha256_in=digest,
            sha256_out=sha256_out,
            size_out=staged.stat().st_size,
            images=saved.checked.images,
            share=saved.checked.share,
            notes=saved.notes,
            uids=uids,
            references=references_found,
            shows_grey=saved.shows_grey,
        )

    def _do_pair(self, task: Task, voxels: Found) -> Result:
        members = [self._read(found) for found in (task.found, voxels)]
        staged = [Path(task.staged), Path(task.staged_voxels)]
        check_space(staged[0].parent, 2 * sum(map(len, members)))
        checked, notes = FileCheck(0, 0.0, 0.0), ()
        if task.pipeline:
            item = self._load({"image": Pair(*members), "label": task.label})
            paths = {"path": staged[0], "voxels_path": staged[1]}
            image = self._compose(task.pipeline)({**item, **paths})["image"]
            checked, notes = check_of(image), tuple(image.meta[NOTES])
        else:
            for path, data in zip(staged, members, strict=True):
                _copy(BytesIO(data), path, hashlib.sha256(data).hexdigest())
        digests = [hashlib.sha256(data).hexdigest() for data in members]
        written = [hashlib.sha256(path.read_bytes()).hexdigest() for path in staged]
        return Result(
            sha256_in=digests[0],
            sha256_out=written[0],
            size_out=staged[0].stat().st_size,
            images=checked.images,
            share=checked.share,
            notes=notes,
            voxels_sha256_in=digests[1],
            voxels_sha256_out=written[1],
            voxels_size_out=staged[1].stat().st_size,
        )

    def _read(self, found: Found) -> bytes:
        with open_found(self._export, found) as stream:
            data = stream.read()
        if len(data) != found.size:
            raise InputChangedError(_CHANGED)
        return data

    def _remap(self, task: Task, stream: BinaryIO, digest: str) -> Result:
        """Write a file that is done again, with other UIDs for what it refers to."""
        if digest != task.sha256_in:
            raise InputChangedError(_CHANGED)
        stream.seek(0)
        original, made, staged = stream.read(), Path(task.made).read_bytes(), Path(task.staged)
        remapped, notes = references.remap(made, task.remap)
        write_file(staged, remapped)
        written = staged.read_bytes()
        check_remapped(original, made, written, task.remap, is_image=bool(task.pipeline))
        return Result(
            sha256_in=digest,
            sha256_out=hashlib.sha256(written).hexdigest(),
            size_out=len(written),
            notes=notes,
        )

    def _protect_file(self, stream: BinaryIO, staged: Path, task: Task) -> Saved | None:
        """Protect a file frame by frame, or as a whole in memory; what comes out is the same.

        None where an image stored in colour turns out to be one that no pipeline takes.
        """
        if task.streamed:
            grey = is_grey(dicom.open_stream(stream))
            pipeline = task.pipeline_for(shows_grey=grey)
            if not pipeline:
                return None
            saved = protect_stream(stream, staged, self._protect[pipeline].protect, task.label)
            return replace(saved, shows_grey=grey)
        stream.seek(0)
        item = self._load({"image": stream.read(), "label": task.label, "path": staged})
        grey = source_of(item["image"]).is_grey
        pipeline = task.pipeline_for(shows_grey=grey)
        if not pipeline:
            return None
        image = self._compose(pipeline)(item)["image"]
        return Saved(check_of(image), tuple(image.meta[NOTES]), grey)

    def _compose(self, pipeline: str) -> Compose:
        # A staged file is hashed before a run that goes on trusts it, so its name need not outlive
        # a power cut; the one in OUT does.
        save = SaveProtectedd("image", flush_names=False)
        return Compose([self._protect[pipeline], save])


def _check_size(task: Task) -> None:
    """Refuse a file that would be read into memory as a whole and is too large for that."""
    sizes = [found.size for found in (task.found, task.voxels) if found is not None]
    if task.pipeline and not task.streamed and max(sizes) > limits.FILE_BYTES:
        gibibytes = limits.FILE_BYTES / 1024**3
        raise ImageTooLargeError(f"the file is larger than {gibibytes:.0f} GiB; split it")


def _copy(stream: BinaryIO, staged: Path, digest: str) -> Result:
    """Copy a file as it is, but for pictures in DICOM objects, and read the copy again."""
    stream.seek(0)
    notes: tuple[str, ...] = ()
    if sniff(stream) == "dicom":
        stream.seek(0)
        data, notes = references.leave_out_pictures(stream.read())
        digest = hashlib.sha256(data).hexdigest()
        write_file(staged, data)
    else:
        stream.seek(0)
        write_chunks(staged, iter(lambda: stream.read(_BLOCK_BYTES), b""))
    with staged.open("rb") as written:
        if sha256_of(written) != digest:
            raise VerificationError("the copy does not read as it was written")
    return Result(sha256_out=digest, size_out=staged.stat().st_size, notes=notes)
