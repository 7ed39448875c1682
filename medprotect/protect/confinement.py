"""What one file may cost: the memory and the time of the worker that has it."""

import ctypes
import mmap
import os
import resource
from contextlib import suppress
from pathlib import Path

from medprotect import limits
from medprotect.imaging.image import Traits

_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_MEBIBYTE = 1024**2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGE_BYTES = 64 * _MEBIBYTE, 32 * _MEBIBYTE
"""How much free memory a worker keeps, and what is so large that it is given back at once."""

_COPIES = 4
_DECODER_BYTES = 16
"""How often a file lies in memory, and what a decoder takes for a sample of one image."""


def worker_bytes(workers: int) -> int:
    """Return how much memory each of so many workers may take."""
    share = int(limits.MEMORY_SHARE * _machine_bytes()) // workers
    return max(share, limits.LEAST_WORKER_BYTES)


def _machine_bytes() -> int:
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # none, or "max"
            found = min(found, int(path.read_text()))
    return found


def confine(most_bytes: int) -> None:
    """Let this process take no more memory than that, and leave no image in a core dump.

    What it asks for beyond is refused: to Python as `MemoryError`, to a decoder as it may be.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def keep_freed_memory() -> None:
    """Let this process use freed memory again, rather than give it back and ask anew.

    By default the arrays of an image are pages from the kernel, cleared, for each step of each
    file: thousands of page faults. Where the C library is not glibc, nothing changes.
    """
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def file_seconds(file_bytes: int, traits: Traits | None) -> float:
    """Return how long a worker may take for a file.

    Parameters
    ----------
    file_bytes : int
        Its size.
    traits : Traits or None
        What its header says; None where it is no image.
    """
    images = traits.images if traits is not None else 0
    mebibytes = (file_bytes + _decoded_bytes(traits)) / _MEBIBYTE
    return (
        limits.FILE_SECONDS
        + limits.SECONDS_PER_MEBIBYTE * mebibytes
        + limits.SECONDS_PER_IMAGE * images
    )


def is_streamed(file_bytes: int, traits: Traits | None) -> bool:
    """Whether a file is protected frame by frame: a DICOM file whose frames are many and large.

    Parameters
    ----------
    file_bytes : int
        Its size.
    traits : Traits or None
        What its header says; None where it is no image.
    """
    if traits is None or traits.format != "dicom" or traits.compression == "Deflated":
        return False
    return traits.images > 1 and max(file_bytes, _decoded_bytes(traits)) > limits.WHOLE_BYTES


def decoding_bytes(file_bytes: int, traits: Traits | None) -> int:
    """Return how much memory reading and writing a file may take at most, roughly.

    Where a decoder fails and there was less, want of memory may be why: many decoders do not say.

    Parameters
    ----------
    file_bytes : int
        Its size.
    traits : Traits or None
        What its header says; None where it is no image.
    """
    if traits is None:
        return 0
    whole = 0 if is_streamed(file_bytes, traits) else file_bytes + _decoded_bytes(traits)
    samples = traits.rows * traits.columns * traits.channels
    return _COPIES * whole + _DECODER_BYTES * samples


def is_available(size: int) -> bool:
    """Whether this process may take so much more memory; none is taken."""
    try:
        mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError, OverflowError):
        return False
    return True


def fits_worker(size: int, worker_bytes: int) -> bool:
    """Whether a worker that may take `worker_bytes` has so much for a file."""
    return size <= worker_bytes - limits.LIBRARY_BYTES


def _decoded_bytes(traits: Traits | None) -> int:
    if traits is None:
        return 0
    width = -(-traits.bits_stored // 8)
    return traits.images * traits.rows * traits.columns * traits.channels * width
