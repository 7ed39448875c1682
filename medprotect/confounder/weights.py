"""Weights in a file: safetensors, of a known hash, never a pickle."""

import hashlib
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from medprotect.errors import HashMismatchError, PipelineError
from medprotect.limits import SAFETENSORS_HEADER_BYTES

_LARGEST_FILE = 1024**3


def write_private(path: Path, data: bytes) -> None:
    """Replace a file as a whole, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> bytes:
    """Write tensors as safetensors and return the bytes."""
    data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    write_private(path, data)
    return data


def load_tensors(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read tensors of a safetensors file.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str, optional
        In hex; bytes with another hash are not parsed.

    Raises
    ------
    PipelineError
        The file is missing or not safetensors.
    HashMismatchError
        The bytes have another hash.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_FILE + 1)
    except OSError:
        raise PipelineError(f"{path} is missing. Fetch or train the pipeline again.") from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise HashMismatchError(
            f"{path} is not the file that its card names (another SHA-256). Do not use it: "
            "fetch or train the pipeline again."
        )
    header = int.from_bytes(data[:8], "little")
    if len(data) < 8 or len(data) > _LARGEST_FILE or header > SAFETENSORS_HEADER_BYTES:
        raise PipelineError(f"{path} is not a safetensors file, or is too large.")
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise PipelineError(f"{path} is not a safetensors file, or is damaged.") from error
