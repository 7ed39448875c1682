"""How fast is a run, and where does the time go? ``python -m medprotect.audit.speed FOLDER``.

Builds slices of 512 x 512 from one CT image (by default one that pydicom ships), each shifted by
one row more, native; runs medprotect on them as a user would; then does the same files step by step
in one process, beside a plain loop that reads and writes them durably. Prints JSON; ratios hold
across machines, seconds do not.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np

SLICES = 200


def build(source: Path, folder: Path, count: int) -> None:
    """Write `count` native slices of one series, each another shift of the source's pixels."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = dcmread(source)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pixels = np.array(dataset.pixel_array)
    folder.mkdir(parents=True)
    for number in range(count):
        dataset.SOPInstanceUID = f"2.25.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PixelData = np.roll(pixels, number, axis=0).tobytes()
        dataset.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)


def time_run(export: Path, out: Path, jobs: int) -> dict[str, float]:
    """Run medprotect in processes of its own; return seconds, files/s and peak memory in MB."""
    command = [sys.executable, "-m", "medprotect", "run", os.fspath(export), os.fspath(out)]
    environment = os.environ | {"XDG_CONFIG_HOME": os.fspath(out.parent / "config")}
    command += ["--jobs", str(jobs)]
    began, peak_mb = time.monotonic(), 0.0
    with subprocess.Popen(  # noqa: S603
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as run:
        while run.poll() is None:
            peak_mb = max(peak_mb, _memory_mb(run.pid))
            time.sleep(0.1)
    seconds = time.monotonic() - began
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command)
    count = sum(path.is_file() for path in out.rglob("*"))
    return {
        "jobs": jobs,
        "seconds": seconds,
        "files_per_second": count / seconds,
        "peak_memory_mb": peak_mb,
    }


def _memory_mb(session: int) -> float:
    """Return what all processes of a session hold now, shared pages counted once (Linux)."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:  # it ended meanwhile
            continue
    return total_kb / 1024


def time_steps(export: Path, folder: Path) -> dict[str, float]:
    """Return milliseconds a file for each step, in one thread, after a first file."""
    import torch

    from medprotect.confounder.key import Key
    from medprotect.protect.transforms import LoadProtectable, Protect, SaveProtected

    torch.set_num_threads(1)
    load, protect, save = LoadProtectable(), Protect("radiology-grey", Key.new()), SaveProtected()
    spent = dict.fromkeys(("read", "noise", "write_and_check"), 0.0)
    paths = sorted(export.iterdir())
    for number, path in enumerate([paths[0], *paths]):
        ends = [time.perf_counter()]
        image = load(path)
        ends.append(time.perf_counter())
        noisy = protect(image)
        ends.append(time.perf_counter())
        save(noisy, folder / f"{number}.dcm")
        ends.append(time.perf_counter())
        if number:
            for step, (begin, end) in zip(spent, pairwise(ends), strict=True):
                spent[step] += 1000 * (end - begin) / len(paths)
    return spent


def time_plain_loop(export: Path, folder: Path) -> float:
    """Return milliseconds a file for reading with pydicom, writing, hashing and flushing."""
    from pydicom import dcmread

    began = time.perf_counter()
    paths = sorted(export.iterdir())
    for path in paths:
        dataset = dcmread(path)
        dataset.PixelData = (dataset.pixel_array + 1).tobytes()
        stream = BytesIO()
        dataset.save_as(stream)
        hashlib.sha256(stream.getvalue()).hexdigest()
        with (folder / path.name).open("wb") as file:
            file.write(stream.getvalue())
            file.flush()
            os.fsync(file.fileno())
    return 1000 * (time.perf_counter() - began) / len(paths)


def _in_new(folder: Path, work: Callable[[Path], object]) -> object:
    folder.mkdir()
    return work(folder)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder for all that is written")
    parser.add_argument("--source", type=Path, help="a CT image of 512 x 512")
    parser.add_argument("--slices", type=int, default=SLICES)
    given = parser.parse_args()
    import pydicom

    shipped = Path(pydicom.__file__).parent / "data/test_files/J2K_pixelrep_mismatch.dcm"
    export = given.folder / "export"
    build(given.source or shipped, export, given.slices)
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "slices": given.slices,
        "runs": [
            time_run(export, given.folder / f"out-{jobs}", jobs)
            for jobs in sorted({1, os.cpu_count() or 1})
        ],
        "steps_ms": _in_new(given.folder / "steps", lambda at: time_steps(export, at)),
        "plain_loop_ms": _in_new(given.folder / "plain", lambda at: time_plain_loop(export, at)),
    }
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
