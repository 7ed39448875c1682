"""Headers made to hurt who reads them: planning takes little memory for them and goes on."""

import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from medprotect.plan import plan as plan_module
from medprotect.plan.plan import Action, Rules, plan_rows
from medprotect.plan.selection import find_candidates
from medprotect.scan.walk import walk

EXPLICIT, DEFLATED = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"

PLAN = """
import resource, sys
from pathlib import Path
from medprotect.imaging import dicom
from medprotect.plan.plan import Rules, plan_rows
from medprotect.plan.selection import find_candidates
from medprotect.scan.walk import walk
root = Path(sys.argv[1])
rules = Rules(find_candidates(["auto"]))
data = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmData"))
_, hard = resource.getrlimit(resource.RLIMIT_DATA)
resource.setrlimit(resource.RLIMIT_DATA, ((data << 10) + (int(sys.argv[2]) << 20), hard))
for row in plan_rows(root, root.parent / "out", walk(root), rules):
    print(row.found.path, row.action.value, row.reason, row.detail, sep="|")
"""


def begin(syntax: bytes) -> bytes:
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    return bytes(128) + b"DICM" + meta


def element(group: int, number: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH2sHI", group, number, vr, 0, length) + value


def deflated(head: bytes, mebibytes: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [deflater.compress(head)]
    parts += [deflater.compress(bytes(1 << 20)) for _ in range(mebibytes)]
    return b"".join([*parts, deflater.flush()])


ITEM = b"\xfe\xff\x00\xe0"
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "element of 4 GB": (
        begin(EXPLICIT) + element(9, 0x1001, b"OB", 2**32 - 16),
        2**32,
        "too_large",
    ),
    "item of 4 GB": (
        begin(EXPLICIT) + element(9, 0x1001, b"SQ", 2**32 - 1, ITEM + b"\xf0\xff\xff\xff"),
        2**32,
        "too_large",
    ),
    "deflate bomb": (
        begin(DEFLATED) + deflated(element(9, 0x1001, b"OB", 2**32 - 16), 200),
        0,
        "too_large",
    ),
    "deep": (
        begin(EXPLICIT) + (element(8, 0x1140, b"SQ", 2**32 - 1) + ITEM + b"\xff" * 4) * 20_000,
        0,
        "corrupt",
    ),
}


def plan(root: Path, mebibytes: int) -> dict[str, tuple[str, str]]:
    """Reason and detail by name, of a process that may take so much memory."""
    done = subprocess.run(
        [sys.executable, "-c", PLAN, os.fspath(root), str(mebibytes)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split("|") for line in done.stdout.splitlines()]
    return {name: (reason, detail) for name, _, reason, detail in lines}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "export"
    root.mkdir()
    for name, (data, size, _) in HOSTILE.items():
        (root / name).write_bytes(data)
        if size:
            os.truncate(root / name, size)  # the rest takes no place on the disk
    return root


def test_planning_takes_little_memory_for_any_of_them(root: Path) -> None:
    rows = plan(root, 400)
    assert {name: reason for name, (reason, _) in rows.items()} == {
        name: reason for name, (_, _, reason) in HOSTILE.items()
    }
    assert not any("memory" in detail for _, detail in rows.values()), "refused before it is taken"


def endless() -> bytes:
    """A header of 400,000 elements."""
    parts = [begin(EXPLICIT)]
    for group in range(0x11, 0x1D, 2):
        parts += [struct.pack("<HH2sH2s", group, at, b"US", 2, b"") for at in range(0x10, 0xFFFF)]
    return b"".join(parts)


# What is raised in a destructor, or while garbage is collected, is lost, and comes again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_header_that_takes_too_long_costs_its_file_alone(
    tmp_path: Path, pydicom_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "export"
    root.mkdir()
    (root / "a").write_bytes(endless())
    (root / "b").write_bytes(pydicom_file("MR_small.dcm").read_bytes())
    rules = Rules(find_candidates(["auto"]))
    for seconds, reason in ((300.0, "not_an_image"), (0.02, "too_large")):
        # Of so many elements no processor reads all in 20 ms; the other file has time on any.
        given = {True: seconds, False: 300.0}
        monkeypatch.setattr(plan_module, "planning_seconds", lambda size: given[size > 1_000_000])  # noqa: B023
        before = signal.getsignal(signal.SIGPROF)
        one, other = plan_rows(root, tmp_path / "out", walk(root), rules)
        assert (one.reason, other.action) == (reason, Action.PROTECT)
        assert signal.getsignal(signal.SIGPROF) == before
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_too_little_memory_for_a_header_costs_its_file_alone(root: Path) -> None:
    rows = plan(root, 12)
    assert rows.keys() == HOSTILE.keys()
    assert rows["element of 4 GB"] == ("too_large", "there is too little memory to read its header")
    assert rows["deep"][0] == "corrupt"
