"""What every worker process does beside its work: answer a run, and outlive errors of files.

A worker talks to its run in JSON over a pipe. A decoder that crashes takes its worker with it and
costs the run one file.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any, Protocol

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    MedprotectError,
    UnsupportedImageError,
    VerificationError,
    place_of,
)
from medprotect.protect.atomic import DISK_FAILURES, map_error
from medprotect.protect.confinement import confine, is_available, keep_freed_memory
from medprotect.protect.processes import serve_parent
from medprotect.protect.tasks import TOO_LITTLE_OR_DAMAGED, Result, Setup, Task, parse_task

_TORCH_MEMORY = "DefaultCPUAllocator: can't allocate memory"
_MAYBE_MEMORY = frozenset(
    {CorruptImageError.slug, UnsupportedImageError.slug, MedprotectError.slug}
)
"""What a codec that got no memory may have ended in."""

_TOO_LITTLE_MEMORY = "there is too little memory for it; run again with fewer --jobs, or split it"


class Work(Protocol):
    """What a worker does with files."""

    def backend(self) -> dict[str, str]:
        """Return what the bytes of a protected file depend on besides plan and key."""

    def do(self, task: Task) -> Result:
        """Do a task; an error of its file is a result, and so is any other."""


def answer_run(connection: Connection, begin: Callable[[Setup], Work]) -> None:
    """Answer a setup with the backend, then each task with a result, until the pipe is closed."""
    serve_parent()  # what it goes on with when it was killed must not meet what we write
    keep_freed_memory()
    try:
        setup = Setup(**json.loads(connection.recv_bytes()))
        work = begin(setup)
        confine(setup.memory_bytes)
        _send(connection, {"backend": work.backend()})
        while True:
            task = parse_task(json.loads(connection.recv_bytes()))
            _send(connection, asdict(work.do(task)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the run has ended
    except MedprotectError as error:
        _send(connection, {"slug": error.slug, "detail": str(error)})


def _send(connection: Connection, fields: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(fields).encode())


def attempt(do: Callable[[Task], Result], task: Task) -> Result:
    """Do a task; an error of its file is a result, and so is any other."""
    try:
        return do(task)
    except Exception as error:  # whatever it is, it is never worth more than its file
        result = result_of(_root(error))
        if result.slug in _MAYBE_MEMORY and not is_available(task.decoding_bytes):
            return Result(ImageTooLargeError.slug, TOO_LITTLE_OR_DAMAGED)
        return result


def _root(error: BaseException) -> BaseException:
    """Return the error that a transform raised; a Compose wraps it."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def result_of(error: BaseException) -> Result:
    """Return the result that an error is."""
    if isinstance(error, InputError | VerificationError):
        return Result(error.slug, str(error))
    if isinstance(error, OSError) and error.errno in DISK_FAILURES:
        error = map_error(error)  # of OUT: errors of the export's disk are `open_found`'s
    if isinstance(error, MedprotectError):
        return Result(error.slug, str(error), stops_run=True)
    if isinstance(error, MemoryError) or _TORCH_MEMORY in str(error):
        return Result(ImageTooLargeError.slug, _TOO_LITTLE_MEMORY)
    return Result(MedprotectError.slug, f"unexpected: {place_of(error)}; please report it")
