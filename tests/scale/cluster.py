"""A Ray cluster of two nodes on this machine, and a run on it that loses one of them half-way.

Two nodes, each with Ray processes and a worker of its own; the second is killed, all
processes of it, once a third of the files lie in OUT. Compares with a run without Ray, byte for
byte, and tells how long runs took with one and two workers, of each kind::

    python -m tests.scale.cluster 60
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom import dcmread

from tests.waiting import HANG_SECONDS, wait_for

RAY = Path(sys.executable).with_name("ray")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "5" * 64,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": str(HANG_SECONDS),
    "OMP_NUM_THREADS": "1",
}


def write_slices(folder: Path, count: int) -> Path:
    """CT slices of 128 x 128, each of a series of its own, so that each is published by itself."""
    source = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
    dataset = dcmread(source)
    pixels = dataset.pixel_array.copy()
    folder.mkdir()
    for number in range(count):
        dataset.SeriesInstanceUID = f"1.2.4.{number}"
        dataset.SOPInstanceUID = f"1.2.4.{number}.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        shifted = pixels.copy()
        shifted[:] = [[*row[number:], *row[:number]] for row in pixels.tolist()]
        dataset.PixelData = shifted.tobytes()
        dataset.save_as(folder / f"{number:03}.dcm")
    return folder


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line by number of process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                found[int(folder.name)] = parent, (folder / "cmdline").read_text()
            except (OSError, ValueError):
                continue
    return found


def descendants(root: int) -> dict[int, str]:
    """Command line by number, of a process and all that come of it."""
    there = processes()
    found = {root: there[root][1]} if root in there else {}
    while True:
        more = {n: line for n, (parent, line) in there.items() if parent in found}
        if more.keys() <= found.keys():
            return found
        found |= more


class Cluster:
    """Nodes of Ray, each a tree of processes; the first is the head."""

    def __init__(self) -> None:
        # Not where the tests write: names of sockets are short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def start_node(self, processors: int = 1, **variables: str) -> None:
        command = [RAY, "start", "--block", f"--num-cpus={processors}", "--num-gpus=0"]
        command += ["--object-store-memory=100000000"]
        if self.address:
            command += [f"--address={self.address}"]
        else:
            command += ["--head", "--port=0", "--include-dashboard=false"]
            command += [f"--temp-dir={self.folder}"]
        log = self.folder / f"node-{len(self.nodes)}.log"
        with log.open("wb") as stream:
            node = subprocess.Popen(
                command, stdout=stream, stderr=stream, env=os.environ | VARIABLES | variables
            )
        self.nodes.append(node)
        wait_for(lambda: b"runtime started" in log.read_bytes(), "a node did not start")
        if not self.address:
            found = re.search(r"--address='([^']+)'", log.read_text())
            assert found is not None, log.read_text()
            self.address = found[1]

    def kill_node(self, number: int) -> None:
        """End all processes of a node at once, as a loss of power does."""
        node = self.nodes[number]
        for pid in descendants(node.pid):
            with_signal(pid, signal.SIGKILL)
        node.wait()

    def workers(self) -> list[int]:
        """Processes that keep a worker and have a file."""
        return [
            pid
            for node in self.nodes
            if node.poll() is None
            for pid, line in descendants(node.pid).items()
            if line.startswith("ray::NodeWorker.do")
        ]

    def stop(self) -> None:
        for number, node in reversed(list(enumerate(self.nodes))):
            if node.poll() is None:
                self.kill_node(number)
        shutil.rmtree(self.folder, ignore_errors=True)


def with_signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@contextmanager
def cluster_of(*processors: int) -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        for each in processors:
            cluster.start_node(each)
        yield cluster
    finally:
        cluster.stop()


class House:
    """An export, a key, and runs of the program."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.key = folder, folder / "keys" / "owner.key"
        self.export = write_slices(folder / "EXPORT", count)
        self.key.parent.mkdir()
        self.program("key", "new", str(self.key)).wait()

    def program(self, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "medprotect", *arguments]
        environment = os.environ | VARIABLES
        return subprocess.Popen(command, env=environment, cwd=self.folder, **QUIET | options)

    def begin(self, out: str, *options: str) -> "subprocess.Popen[bytes]":
        """Begin a run, its folders named from the current one."""
        keyed = ["--key", str(self.key.relative_to(self.folder)), "--accept-weak"]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.program("run", "EXPORT", out, *keyed, "--json", *options, **pipe)

    def run(self, out: str, *options: str) -> tuple[int, dict[str, Any], str]:
        """Run to the end; give exit code, what was told as JSON, and what else was said."""
        return self.end(self.begin(out, *options))

    @staticmethod
    def end(process: "subprocess.Popen[bytes]") -> tuple[int, dict[str, Any], str]:
        output, said = process.communicate(timeout=HANG_SECONDS)
        return process.returncode, json.loads(output or b"{}"), said.decode()

    def done(self, out: str) -> int:
        return len(files(self.folder / out))

    def wait_for_files(self, out: str, count: int) -> None:
        wait_for(lambda: self.done(out) >= count, "the run did not come that far")


def lose_a_node(house: House, cluster: Cluster, number: int, out: str) -> dict[str, Any]:
    """Run on a cluster whose node of that number is killed at a third of the files."""
    count = len(files(house.export))
    process = house.begin(out, "--engine", "ray", "--address", cluster.address)
    house.wait_for_files(out, count // 3)
    wait_for(lambda: len(cluster.workers()) > 1, "both nodes never worked at once")
    done, began = house.done(out), time.monotonic()
    cluster.kill_node(number)
    code, told, said = house.end(process)
    return {
        "files": count,
        "done_when_a_node_was_killed": done,
        "exit_code": code,
        "counts": told.get("counts"),
        "seconds_after_it": round(time.monotonic() - began, 1),
        "said": said,
    }


def _timed(house: House, out: str, *options: str) -> float:
    """Seconds from the first file in OUT to the last: what is started once does not count."""
    process = house.begin(out, *options)
    house.wait_for_files(out, 1)
    there, began = house.done(out), time.monotonic()
    house.end(process)
    return (time.monotonic() - began) / (len(files(house.export)) - there)


def measure(folder: Path, count: int) -> dict[str, Any]:
    house = House(folder, count)
    with cluster_of(1, 1) as cluster:
        joined = ("--engine", "ray", "--address", cluster.address)
        seconds = {
            f"{name}_{jobs}": _timed(house, f"{name}-{jobs}", "--jobs", str(jobs), *options)
            for jobs in (1, 2)
            for name, options in (("local", ()), ("ray", joined))
        }
        lost = lose_a_node(house, cluster, 1, "lost")
    base = files(folder / "local-1")
    names = [*(key.replace("_", "-") for key in seconds), "lost"]
    return {
        "lost": {name: value for name, value in lost.items() if name != "said"},
        "same_bytes": {name: files(folder / name) == base for name in names},
        "throughput_to_local_1": {
            name: round(seconds["local_1"] / each, 2) for name, each in seconds.items()
        },
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(Path(scratch), int(sys.argv[1])), indent=1))
