"""Files damaged at random, led by coverage, against all that reads, writes and compares.

``python -m tests.e2e.fuzz --inputs 50000 --found FOLDER`` mutates the files of
`tests.e2e.seeds`; a mutant that reaches new code is mutated further. It runs in a child process of
limited memory, so that a crash or a hang of a decoder is counted and gone on from. Inputs that end
in neither a result nor one of our errors are kept in FOLDER, with the outcomes so far: given again,
the command goes on from there.
"""

import argparse
import gzip
import hashlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from medprotect.errors import MedprotectError

from ..imaging.protecting import outcome
from ..waiting import HANG_SECONDS
from .seeds import MAKERS, repaired_png

OUTCOMES = "outcomes.json"
MEMORY_BYTES = 3 * 1024**3

_LARGEST = 1 << 16
_HEAD = 16
_BATCH = 5000
_PACKAGE = f"{os.sep}medprotect{os.sep}"
_NUMBERS = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 31, (1 << 32) - 1)
_TOKENS = (
    *(b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xff\xff\xff\xff"),
    *(b"SQ\0\0", b"UN\0\0", b"OB\0\0", b"OW\0\0", b"\xe0\x7f\x10\x00", b"\x28\0\x10\0US\x02\0"),
    *(b"\x28\0\x08\0IS\x02\0", b"IDAT", b"IHDR", b"tRNS", b"eXIf", b"zTXt", b"iTXt", b"iCCP"),
    *(b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda", b"\xff\xc2", b"II*\0", b"MM\0*", b"\xff\x4f\xff"),
    *(b"n+1\0", b"n+2\0", b"\x1f\x8b\x08", b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.90"),
)


class Coverage:
    """Pairs of lines of the package that followed one another."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()
        self._ours: dict[object, bool] = {}
        self._last = 0

    def __enter__(self) -> "Coverage":
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = _PACKAGE in code.co_filename
        return self._line if ours else None

    def _line(self, frame: FrameType, _event: str, _argument: object) -> Any:
        here = hash(frame.f_code) ^ frame.f_lineno
        self.seen.add((self._last, here))
        self._last = here
        return self._line


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return a file damaged in one to eight places; packed ones also inside their packing."""
    is_gzip = data.startswith(b"\x1f\x8b")
    if is_gzip and chance.random() < 0.6:
        try:
            inside = zlib.decompressobj(31).decompress(data, _LARGEST)
            return gzip.compress(_damage(inside, other, chance), 1, mtime=0)
        except zlib.error:
            pass
    damaged = _damage(data, other, chance)
    if data.startswith(b"\x89PNG") and chance.random() < 0.8:
        damaged = repaired_png(damaged)
    return damaged


def _damage(data: bytes, other: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        # Squared, because headers are where damage does most.
        at = int(chance.random() ** 2 * (len(damaged) + 1))
        chance.choice(_EDITS)(damaged, at, other, chance)
    return bytes(damaged[:_LARGEST])


Edit = Callable[[bytearray, int, bytes, random.Random], None]


def _flip(data: bytearray, at: int, _other: bytes, chance: random.Random) -> None:
    if at < len(data):
        data[at] ^= 1 << chance.randrange(8)


def _number(data: bytearray, at: int, _other: bytes, chance: random.Random) -> None:
    code = chance.choice(("B", "<H", ">H", "<I", ">I"))
    largest = (1 << 8 * struct.calcsize(code)) - 1
    raw = struct.pack(code, chance.choice(_NUMBERS) & largest)
    data[at : at + len(raw)] = raw


def _token(data: bytearray, at: int, _other: bytes, chance: random.Random) -> None:
    token = chance.choice(_TOKENS)
    data[at : at + chance.choice((0, len(token)))] = token


def _noise(data: bytearray, at: int, _other: bytes, chance: random.Random) -> None:
    raw = chance.randbytes(chance.randrange(1, 9))
    data[at : at + chance.choice((0, len(raw)))] = raw


def _remove(data: bytearray, at: int, _other: bytes, chance: random.Random) -> None:
    del data[at : at + chance.choice((1, 2, 4, 16, 200))]


def _repeat(data: bytearray, at: int, _other: bytes, chance: random.Random) -> None:
    data[at:at] = data[at : at + chance.choice((1, 4, 12, 100))] * chance.choice((1, 1, 3, 50))


def _splice(data: bytearray, at: int, other: bytes, chance: random.Random) -> None:
    start = chance.randrange(len(other) + 1)
    data[at : at + chance.choice((0, 50))] = other[start : start + chance.choice((8, 50, 400))]


_EDITS: tuple[Edit, ...] = (
    _flip,
    _flip,
    _number,
    _number,
    _token,
    _noise,
    _remove,
    _repeat,
    _splice,
)


class Fuzzer:
    """The child: mutates, reads, and tells of it in memory it shares with the parent."""

    def __init__(self, shared: mmap.mmap, found: Path, seed: int) -> None:
        self._shared, self._found = shared, found
        self._chance = random.Random(seed)  # noqa: S311 - damage, no secrets
        self._corpus = [make() for make in MAKERS.values()]
        self._corpus += [path.read_bytes() for path in sorted((found / "corpus").iterdir())]
        self._coverage = Coverage()
        for data in self._corpus:
            self._outcome(data)

    def run(self, count: int) -> Counter[str]:
        """Try so many inputs; return how many had which outcome."""
        outcomes: Counter[str] = Counter()
        for number in range(count):
            chosen, other = self._chance.choice(self._corpus), self._chance.choice(self._corpus)
            data = mutate(chosen, other, self._chance)
            struct.pack_into("<QQ", self._shared, 0, number + 1, len(data))
            self._shared[_HEAD : _HEAD + len(data)] = data
            known = len(self._coverage.seen)
            slug = self._outcome(data)
            outcomes[slug] += 1
            if len(self._coverage.seen) > known:
                self._corpus.append(data)
                keep(self._found / "corpus", data)
            self._tell(outcomes)
        return outcomes

    def _outcome(self, data: bytes) -> str:
        try:
            with self._coverage:
                return outcome(data)
        except MedprotectError as error:
            return error.slug
        except MemoryError:
            keep(self._found / "memory", data)
            return "memory"
        except BaseException as error:
            keep(self._found / f"uncaught-{type(error).__name__}", data)
            return "uncaught"

    def _tell(self, outcomes: Counter[str]) -> None:
        raw = json.dumps(outcomes).encode()
        at = _HEAD + _LARGEST
        self._shared[at + 8 : at + 8 + len(raw)] = raw
        struct.pack_into("<Q", self._shared, at, len(raw))


def keep(folder: Path, data: bytes) -> None:
    """Write an input into a folder, named by its content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def fuzz(count: int, found: Path, seed: int, seconds: float = float("inf")) -> Counter[str]:
    """Try inputs in children, one after the other, each going on where one ended.

    What an earlier call found in the same folder counts.

    Returns
    -------
    Counter
        Slugs of our errors, ``protected`` and ``other``; ``uncaught``, ``memory``, ``crash`` and
        ``hang`` for what must not be.
    """
    (found / "corpus").mkdir(parents=True, exist_ok=True)
    shared = mmap.mmap(-1, _HEAD + 2 * _LARGEST)
    path = found / OUTCOMES
    total: Counter[str] = Counter(json.loads(path.read_bytes()) if path.exists() else {})
    began = time.monotonic()
    while (left := count - total.total()) > 0 and time.monotonic() - began < seconds:
        shared[:] = bytes(len(shared))
        child = os.fork()
        if child == 0:
            _be_child(shared, found, seed + total.total(), min(left, _BATCH))
        ended = _watch(child, shared, began + seconds)
        (size,) = struct.unpack_from("<Q", shared, _HEAD + _LARGEST)
        at = _HEAD + _LARGEST + 8
        total.update(json.loads(shared[at : at + size] or b"{}"))
        if ended:
            total[ended] += 1
            (length,) = struct.unpack_from("<Q", shared, 8)
            keep(found / ended, shared[_HEAD : _HEAD + length])
        path.write_text(json.dumps(total))
    return total


def _be_child(shared: mmap.mmap, found: Path, seed: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    try:
        Fuzzer(shared, found, seed).run(count)
    finally:
        os._exit(0)


def _watch(child: int, shared: mmap.mmap, until: float) -> str:
    """Wait for the child; return ``crash`` or ``hang`` where it ended so, else ""."""
    last, since = -1, time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "crash" if os.WIFSIGNALED(status) else ""
        (number,) = struct.unpack_from("<Q", shared, 0)
        if number != last:
            last, since = number, time.monotonic()
        is_hanging = number and time.monotonic() - since > HANG_SECONDS
        if is_hanging or time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang" if is_hanging else ""
        time.sleep(0.2)


def main() -> None:
    """Parse arguments, fuzz, print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--found", type=Path, required=True)
    arguments = parser.parse_args()
    total = fuzz(arguments.inputs, arguments.found, arguments.seed, arguments.seconds)
    print(json.dumps({"inputs": total.total(), **dict(total.most_common())}, indent=1))
    sys.exit(any(total[word] for word in ("uncaught", "crash", "hang", "memory")))


if __name__ == "__main__":
    main()
