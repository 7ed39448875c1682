"""What one worker process does: files in, protected files out, one at a time.

A worker talks to its run in JSON over a pipe. A decoder that crashes takes its worker with it and
costs the run one file.
"""

import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import signal
import threading
import traceback
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from monai.transforms.compose import Compose

from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.errors import (
    ImageTooLargeError,
    InputChangedError,
    InputError,
    MedprotectError,
    VerificationError,
)
from medprotect.imaging.image import Pair
from medprotect.protect.atomic import check_space, write_file
from medprotect.protect.confinement import confine
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.protect.transforms import (
    NOTES,
    LoadProtectabled,
    Protectd,
    SaveProtectedd,
    check_of,
)
from medprotect.scan.walk import Found, open_found

CODECS = ("imagecodecs", "pyjpegls", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pillow", "tifffile")

_TORCH_MEMORY = "DefaultCPUAllocator: can't allocate memory"
_TOO_LITTLE_MEMORY = "there is too little memory for it; run again with fewer --jobs, or split it"


def serve(connection: Connection) -> None:
    """Answer a setup with the backend, then each task with a result, until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they may come to the whole group,
        signal.signal(number, signal.SIG_IGN)  # and the run decides when to stop
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    try:
        setup = Setup(**json.loads(connection.recv_bytes()))
        worker = Worker(setup)
        confine(setup.memory_bytes)
        _send(connection, {"backend": worker.backend()})
        while True:
            fields = json.loads(connection.recv_bytes())
            found = Found(**fields.pop("found"))
            voxels = fields.pop("voxels")
            task = Task(found, voxels=Found(**voxels) if voxels else None, **fields)
            _send(connection, asdict(worker.do(task)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the run has ended
    except MedprotectError as error:
        _send(connection, {"slug": error.slug, "detail": str(error)})


def _end_with_the_run() -> None:
    """End at once when the run is killed: what it goes on with must not meet what we write."""
    run = multiprocessing.parent_process()
    if run is not None:
        wait([run.sentinel])
        os._exit(1)


def _send(connection: Connection, fields: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(fields).encode())


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
        self._export = Path(setup.export)
        key = Key(bytes.fromhex(setup.secret))
        self._protect = {
            name: Protectd(
                "image",
                load_card(Path(folder)),
                key,
                strength=setup.strength,
                labels_sha256=setup.labels_sha256,
                keep_uids=setup.keep_uids,
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
        try:
            return self._do(task)
        except Exception as error:  # whatever it is, it is never worth more than its file
            return _result_of(_root(error))

    def _do(self, task: Task) -> Result:
        members = [self._read(found) for found in (task.found, task.voxels) if found is not None]
        staged = [Path(path) for path in (task.staged, task.staged_voxels) if path]
        digests = [hashlib.sha256(data).hexdigest() for data in members]
        check_space(staged[0].parent, 2 * sum(map(len, members)))
        if not task.pipeline:
            for path, data in zip(staged, members, strict=True):
                _copy(data, path)
            return _result(digests, staged)
        content = Pair(*members) if task.voxels is not None else members[0]
        paths = dict(zip(("path", "voxels_path"), staged, strict=False))
        image = self._compose(task.pipeline)({"image": content, "label": task.label, **paths})
        checked = check_of(image["image"])
        return replace(
            _result(digests, staged),
            images=checked.images,
            share=checked.share,
            notes=tuple(image["image"].meta[NOTES]),
        )

    def _read(self, found: Found) -> bytes:
        with open_found(self._export, found) as stream:
            data = stream.read()
        if len(data) != found.size:
            raise InputChangedError("changed while it was read; let the export come to rest")
        return data

    def _compose(self, pipeline: str) -> Compose:
        steps = [LoadProtectabled("image"), self._protect[pipeline], SaveProtectedd("image")]
        return Compose(steps)


def _copy(data: bytes, staged: Path) -> None:
    write_file(staged, data)
    if staged.read_bytes() != data:
        raise VerificationError("the copy does not read as it was written")


def _result(digests: Sequence[str], staged: Sequence[Path]) -> Result:
    """Return what was read and what lies written, of one file or two."""
    facts: dict[str, Any] = {}
    for prefix, digest, path in zip(("", "voxels_"), digests, staged, strict=False):
        written = path.read_bytes()
        facts |= {
            f"{prefix}sha256_in": digest,
            f"{prefix}sha256_out": hashlib.sha256(written).hexdigest(),
            f"{prefix}size_out": len(written),
        }
    return Result(**facts)


def _root(error: BaseException) -> BaseException:
    """Return the error that a transform raised; a Compose wraps it."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _result_of(error: BaseException) -> Result:
    if isinstance(error, InputError | VerificationError):
        return Result(error.slug, str(error))
    if isinstance(error, MedprotectError):
        return Result(error.slug, str(error), stops_run=True)
    if isinstance(error, MemoryError) or _TORCH_MEMORY in str(error):
        return Result(ImageTooLargeError.slug, _TOO_LITTLE_MEMORY)
    return Result(MedprotectError.slug, f"unexpected: {_place(error)}; please report it")


def _place(error: BaseException) -> str:
    """Return kind and place of an error; its text may hold what a header says."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{where}"
