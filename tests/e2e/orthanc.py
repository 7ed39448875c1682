"""A real archive: protected files go into Orthanc, and come out as they went in.

Starts an Orthanc of its own on loopback, with an empty store, and for each DICOM file of OUT that
was protected: stores it by C-STORE, then by STOW-RS, reads it back each time by WADO-RS, and
compares every pixel and the value of every element::

    python -m tests.e2e.orthanc EXPORT OUT

Needs Debian's orthanc and orthanc-dicomweb, and pynetdicom.
"""

import json
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from medprotect.imaging import dicom
from medprotect.imaging.dicom.dictionary import tag_of
from tests.waiting import HANG_SECONDS

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin") or shutil.which("Orthanc")
PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Archive:
    """A running Orthanc."""

    def __init__(self, http: int, dimse: int) -> None:
        self.root, self.dimse = f"http://127.0.0.1:{http}", dimse

    def ask(self, path: str, body: bytes | None = None, method: str = "", **headers: str) -> bytes:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        how = method or ("GET" if body is None else "POST")
        request = urllib.request.Request(self.root + path, body, named, method=how)  # noqa: S310
        with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:  # noqa: S310
            return bytes(answer.read())

    def send(self, dataset: Dataset, data: bytes) -> None:
        """Store by C-STORE, in the file's own transfer syntax."""
        from pynetdicom import AE, _config

        _config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file, not written anew
        entity = AE("MEDPROTECT")
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", self.dimse, ae_title="ORTHANC")
        if not association.is_established or not association.accepted_contexts:
            raise OSError("the archive does not take its SOP class in its transfer syntax")
        with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
            file.write(data)
            file.flush()
            status = association.send_c_store(file.name)
        association.release()
        if "Status" not in status or status.Status != 0:
            raise OSError(f"C-STORE ended with {status.get('Status', 'nothing')}")

    def post(self, data: bytes) -> None:
        """Store by STOW-RS (PS3.18 section 10.5)."""
        head = b"--part\r\nContent-Type: application/dicom\r\n\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=part'
        self.ask("/dicom-web/studies", head + data + b"\r\n--part--", Content_Type=kind)

    def retrieve(self, dataset: Dataset) -> bytes:
        """Read back by WADO-RS, in the transfer syntax it was stored in."""
        path = (
            f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
            f"/instances/{dataset.SOPInstanceUID}"
        )
        answer = self.ask(
            path, Accept='multipart/related; type="application/dicom"; transfer-syntax=*'
        )
        start = answer.index(b"\r\n\r\n") + 4
        boundary = answer[: answer.index(b"\r\n", 2)].strip()
        return answer[start : answer.rindex(b"\r\n" + boundary)]

    def empty(self) -> None:
        for patient in json.loads(self.ask("/patients")):
            self.ask(f"/patients/{patient}", method="DELETE")


@contextmanager
def running_archive() -> Iterator[Archive]:
    """An Orthanc of an empty store, on ports of its own, until the block ends."""
    assert ORTHANC is not None
    archive = Archive(free_port(), free_port())
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "StorageDirectory": folder,
            "IndexDirectory": folder,
            "HttpPort": int(archive.root.rpartition(":")[2]),
            "DicomPort": archive.dimse,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [str(PLUGINS)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True},
        }
        place = Path(folder, "orthanc.json")
        place.write_text(json.dumps(settings))
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([ORTHANC, str(place)], stdout=log, stderr=log)
        try:
            _wait_for(archive, process)
            yield archive
        finally:
            process.terminate()
            process.wait(HANG_SECONDS)


def _wait_for(archive: Archive, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + HANG_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            archive.ask("/system")
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise OSError("Orthanc did not start")


def differences(sent: bytes, back: bytes) -> list[str]:
    """Names of what an archive changed: elements, but for its own of group 2, or the pixels."""
    names = dicom.changed_elements(sent, back)
    one, other = dcmread(BytesIO(sent), force=True), dcmread(BytesIO(back))
    # What is no element of the data set: trailing padding, and what the archive says of itself.
    kept = {"DataSetTrailingPadding", "Preamble"}
    kept |= {element.keyword for meta in (one.file_meta, other.file_meta) for element in meta}
    kept -= {"TransferSyntaxUID", "MediaStorageSOPInstanceUID", "MediaStorageSOPClassUID"}
    # Received by C-STORE, sequences of undefined length are kept in another form, of one value.
    found = [name for name in names if name not in kept and not _is_same(name, one, other)]
    pixels: list[list[Any]] = [
        [image.stored for image in dicom.open_file(data).images()] for data in (sent, back)
    ]
    same = len(pixels[0]) == len(pixels[1]) and all(map(np.array_equal, *pixels))
    return found if same else [*found, "PixelData"]


def _is_same(name: str, one: Dataset, other: Dataset) -> bool:
    first = name.partition("[")[0]
    if first.endswith(",0000)"):  # a group length that was wrong, and is right now
        return True
    tag = int(first[1:5] + first[6:10], 16) if first.startswith("(") else tag_of(first)
    return tag in one and tag in other and bool(one[tag] == other[tag])


def protected_files(export: Path, out: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        data = path.read_bytes()
        name = path.relative_to(out).as_posix()
        try:
            is_image = dicom.is_dicom(data[:132]) and data != (export / name).read_bytes()
            if is_image and dicom.describe(BytesIO(data)).traits is not None:
                yield name, data
        except Exception:  # noqa: S112 - no DICOM image
            continue


def go_through(archive: Archive, data: bytes, way: str) -> str:
    """Return what became of a file: ``equal``, or what differs or refuses it."""
    dataset = dcmread(BytesIO(data), force=True)
    needed = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    if not dataset.file_meta.get("TransferSyntaxUID") or not all(map(dataset.get, needed)):
        return "not to be sent: it lacks a UID that an archive goes by"
    try:
        if way == "C-STORE":
            archive.send(dataset, data)
        else:
            archive.post(data)
        back = archive.retrieve(dataset)
    except Exception as error:
        return f"refused: {type(error).__name__} {error}"
    finally:
        archive.empty()
    changed = differences(data, back)
    return "differs: " + ", ".join(changed) if changed else "equal"


def main(export: Path, out: Path) -> int:
    """Print what became of the files, by the way they were stored.

    Returns how many came back changed, or were refused where their source is not.
    """
    warnings.simplefilter("ignore")
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    counts: Counter[tuple[str, str]] = Counter()
    with running_archive() as archive:
        for name, data in protected_files(export, out):
            for way in ("C-STORE", "STOW-RS"):
                fate = go_through(archive, data, way)
                if fate.startswith("refused"):
                    source = go_through(archive, (export / name).read_bytes(), way)
                    fate = fate.replace("refused", "refused as its source is", source == fate)
                counts[way, fate.partition(":")[0]] += 1
                if fate != "equal":
                    print(f"{name}: {way}: {fate}")
    for (way, fate), count in sorted(counts.items()):
        print(f"{way} and WADO-RS: {count} {fate}")
    return sum(count for (_, fate), count in counts.items() if fate in ("differs", "refused"))


if __name__ == "__main__":
    sys.exit(min(main(*map(Path, sys.argv[1:3])), 1))
