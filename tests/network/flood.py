"""N objects into a node that is killed twice, and out of it to a peer that fails twice.

A real sender (dcmtk's ``storescu``), a node in a process of its own, and a real archive (Orthanc),
on loopback. The sender sends again what its association did not get through with, as hospitals'
senders do. The archive is away from half-way on, comes back when all is protected, and is killed
once more in the midst of what it is sent then. Says how many went in, what became of them, and how
many the archive holds::

    python -m tests.network.flood 1000

Needs Debian's dcmtk and orthanc, and the extra ``node``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from pydicom import dcmread

from tests.e2e.orthanc import ORTHANC, PLUGINS, free_port
from tests.waiting import HANG_SECONDS, wait_for

# Not whatever is first on the path: packages for Python bring programs of the same name.
STORESCU = shutil.which("storescu", path="/usr/bin:/usr/local/bin")
CHUNK = 50
"""Objects of one association of the sender."""


def write_objects(folder: Path, count: int) -> None:
    """Small CT slices in series of 20; every hundredth is cut short and cannot be protected."""
    source = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
    dataset = dcmread(source)
    pixels = dataset.pixel_array[40:88, 40:88]
    dataset.Rows = dataset.Columns = 48
    for number in range(count):
        dataset.SeriesInstanceUID = f"1.2.3.{number // 20}"
        dataset.SOPInstanceUID = f"1.2.3.{number // 20}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = number
        shifted = np.roll(pixels, number % 48, axis=number // 48 % 2)
        dataset.PixelData = shifted.tobytes()[: -512 if number % 100 == 99 else None]
        dataset.save_as(folder / f"{number:05}.dcm")


class Archive:
    """An Orthanc that can be stopped, and keeps what it has."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder, self.http, self.dimse = folder, free_port(), free_port()
        folder.mkdir()
        settings |= {
            "StorageDirectory": str(folder),
            "IndexDirectory": str(folder),
            "HttpPort": self.http,
            "DicomPort": self.dimse,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": "RegisteredUsers" in settings,
            "Plugins": [str(PLUGINS)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self.process: subprocess.Popen[bytes] | None = None
        self.login = ""

    def start(self) -> None:
        assert ORTHANC is not None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [ORTHANC, str(self.folder / "orthanc.json")], stdout=log, stderr=log
            )
        wait_for(lambda: self.instances() is not None, "Orthanc did not start")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(HANG_SECONDS)
            self.process = None

    def instances(self) -> list[dict[str, str]] | None:
        """UIDs of all that it holds; None while it is away."""
        try:
            found = json.loads(self.ask("/instances?expand"))
        except (urllib.error.URLError, ConnectionError):
            return None
        return [each["MainDicomTags"] for each in found]

    def files(self) -> list[bytes]:
        """The files of all that it holds."""
        names = json.loads(self.ask("/instances"))
        return [self.ask(f"/instances/{name}/file") for name in names]

    def ask(self, path: str) -> bytes:
        url = f"http://127.0.0.1:{self.http}{path}"
        login = {"Authorization": "Basic " + b64encode(self.login.encode()).decode()}
        request = urllib.request.Request(url, headers=login if self.login else {})
        with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:  # noqa: S310
            return bytes(answer.read())


class Node:
    """`medprotect node` in a process of its own, with its key in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.out, self.port = folder, folder / "out", free_port()
        self.options = ["--port", str(self.port), "--settle", "1", "--retry", "1", *options]
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "medprotect", "node", str(self.out), *options]

    def start(self, *options: str) -> None:
        before = self.said().count("listening")
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*self.options, *options), stderr=log, env=self.environment
            )
        wait_for(lambda: self.said().count("listening") > before, "the node did not start")

    def said(self) -> str:
        log = self.folder / "node.log"
        return log.read_text() if log.exists() else ""

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(HANG_SECONDS)

    def counts(self) -> dict[str, int]:
        done = subprocess.run(
            self.command("--status", "--json"), capture_output=True, text=True, check=True
        )
        found: dict[str, int] = json.loads(done.stdout)
        return found


def store(port: int, files: list[Path], *options: str) -> "subprocess.Popen[bytes]":
    assert STORESCU is not None
    command = [STORESCU, "-aet", "SENDER", "-aec", "MEDPROTECT", *options, "127.0.0.1", str(port)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*command, *map(str, files)], stdout=quiet, stderr=quiet)


def send_all(node: Node, files: list[Path], kills: list[int], away: int, archive: Archive) -> int:
    """Send in associations, each again until it ends well; return how many had to be."""
    again = 0
    for start in range(0, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        if start <= away < start + CHUNK:
            archive.stop()
        sender = store(node.port, chunk)
        if any(start <= each < start + CHUNK for each in kills):
            time.sleep(0.3)  # in the midst of the association
            node.end(signal.SIGKILL)
            sender.wait(HANG_SECONDS)
            node.start()
        while sender.wait(HANG_SECONDS) != 0:
            again += 1
            sender = store(node.port, chunk)
    return again


@contextmanager
def running(folder: Path) -> Iterator[tuple[Node, Archive]]:
    archive = Archive(folder / "archive")
    node = Node(folder, "--forward", f"ORTHANC@127.0.0.1:{archive.dimse}")
    try:
        archive.start()
        node.start()
        yield node, archive
    finally:
        if node.process is not None and node.process.poll() is None:
            node.end(signal.SIGTERM)
        archive.stop()


def flood(folder: Path, count: int) -> dict[str, object]:
    objects = folder / "objects"
    objects.mkdir()
    write_objects(objects, count)
    files = sorted(objects.iterdir())
    began = time.monotonic()
    with running(folder) as (node, archive):
        again = send_all(node, files, [count // 3, 2 * count // 3], count // 2, archive)
        sent = time.monotonic() - began
        store(node.port, files[:CHUNK]).wait(HANG_SECONDS)  # a whole association once more
        wait_for(lambda: node.counts()["batched"] == 0, "protecting took too long")
        away = node.counts()["in_out"]
        archive.start()
        there = node.counts()["forwarded"]
        wait_for(lambda: node.counts()["forwarded"] > there, "forwarding did not begin")
        archive.stop(signal.SIGKILL)  # in the midst of what it is sent
        broken_at = node.counts()["in_out"]
        archive.start()
        wait_for(lambda: node.counts()["in_out"] == 0, "forwarding took too long")
        held = archive.instances() or []
        counts = node.counts()
        code = node.end(signal.SIGTERM)
    uids = {each["SOPInstanceUID"] for each in held}
    return {
        "sent": count,
        "associations_sent_again": again,
        "waited_for_the_peer": away,
        "waited_when_it_was_killed": broken_at,
        "node": counts,
        "in_the_archive": len(held),
        "different_uids": len(uids),
        "originals_in_the_archive": sum(uid.startswith("1.2.3.") for uid in uids),
        "rejected_on_disk": sum(1 for _ in (folder / "out.medprotect" / "rejected").iterdir()),
        "left_in_out": sum(path.is_file() for path in (folder / "out").rglob("*")),
        "exit_code": code,
        "seconds_sending": round(sent, 1),
        "seconds": round(time.monotonic() - began, 1),
        "log": node.said().splitlines()[-40:],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(flood(Path(scratch), int(sys.argv[1])), indent=1))
