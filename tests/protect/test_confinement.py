"""What one file may cost, measured on processes of their own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect import limits
from medprotect.imaging.image import Traits
from medprotect.protect.confinement import file_seconds, is_streamed, worker_bytes

CONFINED = """
import resource, sys
from medprotect.protect.confinement import confine
confine(1 << 28)
confine(1 << 27)
import numpy as np
for size in (1 << 20, 1 << 29):
    try:
        np.ones(size, np.uint8)
        print("given")
    except MemoryError:
        print("refused")
print(resource.getrlimit(resource.RLIMIT_CORE))
"""


KEEPING = """
import resource
import numpy as np
from medprotect.protect.confinement import keep_freed_memory
keep_freed_memory()
def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(1 << 22, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
work()
print(work())
"""


class TestMemory:
    def test_freed_memory_is_used_again(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", KEEPING], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) < 1000  # of 20 times 1024 pages

    def test_what_is_asked_for_beyond_the_limit_is_refused(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True
        )
        assert done.stdout.split("\n")[:3] == ["given", "refused", "(0, 0)"]

    def test_all_workers_together_leave_room_for_everybody_else(self) -> None:
        kib = int(Path("/proc/meminfo").read_text().split()[1])
        one = worker_bytes(1)
        assert one >= limits.LEAST_WORKER_BYTES
        assert one <= max(kib * 1024, limits.LEAST_WORKER_BYTES)
        assert 2 * worker_bytes(2) <= max(one + 1, 2 * limits.LEAST_WORKER_BYTES)
        assert worker_bytes(10_000) == limits.LEAST_WORKER_BYTES


class TestTime:
    def test_a_small_file_has_minutes_and_the_largest_has_hours(self) -> None:
        assert file_seconds(1000, None) == pytest.approx(limits.FILE_SECONDS, rel=0.01)
        largest = Traits("dicom", bits_stored=12, rows=16_384, columns=8_192, images=16)
        assert 3600 < file_seconds(limits.FILE_BYTES, largest) < 8 * 3600

    def test_many_small_frames_have_time_too(self) -> None:
        frames = Traits("dicom", rows=8, columns=8, images=65_536)
        assert file_seconds(4 << 20, frames) > 0.4 * 65_536


def test_many_large_frames_are_streamed_and_nothing_else_is() -> None:
    frames = Traits("dicom", bits_stored=12, rows=512, columns=512, images=129)
    assert is_streamed(1 << 20, frames), "decoded they are more than 64 MiB"
    assert not is_streamed(1 << 20, replace(frames, images=127))
    assert is_streamed(65 << 20, replace(frames, images=2))
    assert not is_streamed(65 << 20, replace(frames, images=1))
    assert not is_streamed(65 << 20, replace(frames, compression="Deflated"))
    assert not is_streamed(65 << 20, replace(frames, format="nifti"))
    assert not is_streamed(65 << 20, None)
