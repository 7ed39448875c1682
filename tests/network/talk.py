"""A node and its neighbours: who gets in, what stays out, what is pushed; with real programs.

A process of its own, because tests have no network: ``python -m tests.network.talk CASE FOLDER``.
"""

import json
import shutil
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from tests.confounder.measured_pipeline import make_pipeline
from tests.network.flood import (
    Archive,
    Node,
    free_port,
    running,
    store,
    write_objects,
)
from tests.waiting import wait_for

SENT = [
    "A model still learns as much from these files as from the originals (protection 0.00).",
    "3 sent = 3 weak",
    "3 files = 3 sent",
]
"""What push says of three slices of CT that `own_pipelines` protected at strength standard."""

ECHOSCU = shutil.which("echoscu", path="/usr/bin:/usr/local/bin")
OPENSSL = shutil.which("openssl")


def echo(port: int, *options: str) -> int:
    assert ECHOSCU is not None
    command = [ECHOSCU, "-aet", "SENDER", "-aec", "MEDPROTECT", *options, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def own_pipelines(folder: Path) -> list[str]:
    """Options: of CT a weak pipeline, and of MR one that was not measured."""
    ct = make_pipeline(folder / "ct", "ct", standard=0.0, high=0.37)
    return ["--pipeline", str(ct), "--pipeline", str(make_pipeline(folder / "mr", "mr"))]


def objects(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    write_objects(folder, count)
    return sorted(folder.iterdir())


def titles(folder: Path) -> None:
    """Only titles on the list get in, and only by the node's own; others bind to loopback."""
    node = Node(folder, "--allow", "CT1")
    node.start()
    try:
        assert echo(node.port, "-aet", "CT1") == 0
        assert echo(node.port) != 0
        assert echo(node.port, "-aet", "CT1", "-aec", "OTHER") != 0
    finally:
        assert node.end(signal.SIGTERM) == 143
    refused = subprocess.run(
        node.command("--bind", "0.0.0.0", "--port", str(free_port())),  # noqa: S104
        capture_output=True,
        text=True,
        check=False,
        env=node.environment,
    )
    assert refused.returncode == 2
    assert "--allow" in refused.stderr


def tls(folder: Path) -> None:
    """A sender without a certificate of the authority stays out; with one it gets in."""
    assert OPENSSL is not None
    files = [str(folder / name) for name in ("key.pem", "cert.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", files[0], "-out", files[1]], check=True, capture_output=True)
    own = ["--tls-cert", files[1], "--tls-key", files[0], "--tls-ca", files[1]]
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    last = Node(folder / "two", *own)
    peer = f"MEDPROTECT@localhost:{last.port}"
    first = Node(folder / "one", *own, "--forward", peer, "--forward-tls")
    last.start()
    first.start()
    try:
        with_tls = ["+tls", *files, "+cf", files[1]]
        assert echo(first.port) != 0
        assert echo(first.port, "+tla", "+cf", files[1]) != 0
        assert echo(first.port, *with_tls) == 0
        (image,) = objects(folder / "objects", 1)
        assert store(first.port, [image], *with_tls).wait() == 0
        wait_for(lambda: last.counts()["in"] == 1, "it was not forwarded by TLS")
        wait_for(lambda: first.counts()["forwarded"] == 1, "it was not noted")
    finally:
        first.end(signal.SIGTERM)
        last.end(signal.SIGTERM)


def referring(image: Path) -> bytes:
    """Another image of the same patient, which refers to one that came before it."""
    dataset = dcmread(image)
    item = Dataset()
    item.ReferencedSOPClassUID = dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ReferencedImageSequence = Sequence([item])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77.1"
    dataset.PatientName = "Nobody^Knows"
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def batches(folder: Path) -> None:
    """UIDs agree across batches; what is no image, or broken, stays; no name is in the log."""
    files = objects(folder / "objects", 2)
    data = Path(pydicom.__file__).parent / "data" / "test_files"
    (later := folder / "later.dcm").write_bytes(referring(files[0]))
    with running(folder) as (node, archive):
        assert store(node.port, [*files, data / "reportsi.dcm"]).wait() == 0
        wait_for(lambda: node.counts()["forwarded"] == 2, "the first were not forwarded")
        assert store(node.port, [later]).wait() == 0
        wait_for(lambda: node.counts()["forwarded"] == 3, "the third was not forwarded")
        assert node.counts()["left"] == 1
        found = [dcmread(BytesIO(each)) for each in archive.files()]
        (third,) = [each for each in found if "ReferencedImageSequence" in each]
        new = third.ReferencedImageSequence[0].ReferencedSOPInstanceUID
        assert new in {each.SOPInstanceUID for each in found if each is not third}
        assert len({each.SeriesInstanceUID for each in found}) == 1
        assert "Nobody" not in node.said()
        assert "1.2.3" not in node.said()


def pushing(folder: Path) -> None:
    """What a run wrote is pushed; an export is not, nor what was put into OUT since."""
    objects(folder / "objects", 3)
    program = [sys.executable, "-m", "medprotect"]
    with running(folder) as (node, archive):
        peer = f"ORTHANC@127.0.0.1:{archive.dimse}"

        def push(place: Path) -> "subprocess.CompletedProcess[str]":
            command = [*program, "push", str(place), peer]
            return subprocess.run(
                command, capture_output=True, text=True, env=node.environment, check=False
            )

        out = folder / "pushed"
        run = [*program, "run", str(folder / "objects"), str(out), "--accept-weak"]
        run += own_pipelines(folder)
        subprocess.run(run, check=True, capture_output=True, env=node.environment)
        shutil.copy(folder / "objects" / "00000.dcm", out / "clean.dcm")
        assert push(folder / "objects").returncode == 5
        assert (pushed := push(out)).returncode == 0, pushed.stderr
        assert pushed.stdout.splitlines() == SENT
        uids = {each["SOPInstanceUID"] for each in archive.instances() or []}
        assert len(uids) == 3
        assert not any(uid.startswith("1.2.3") for uid in uids)
        archive.stop()
        assert push(out).returncode == 6


def stating(folder: Path) -> None:
    """A node says what its images are worth: in its log, when asked, when pushed, and signed."""
    files = objects(folder / "objects", 5)
    data = Path(pydicom.__file__).parent / "data" / "test_files"
    archive = Archive(folder / "archive")
    node = Node(folder, *own_pipelines(folder))

    def told(*words: str, code: int = 0) -> dict[str, Any]:
        command = [sys.executable, "-m", "medprotect", *words, "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=node.environment, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def check(place: Path, counts: dict[str, int]) -> None:
        report = told("report", str(node.out))
        own = ["--statement", report["statement"], "--public-key", report["public_key"]]
        assert told("verify", str(place), *own) == {"counts": counts, "faults": []}

    try:
        archive.start()
        node.start()
        assert "weak: ct, protection 0.00 at standard, 0.37 at high" in node.said()
        assert "unmeasured: mr, not measured at standard" in node.said()
        assert store(node.port, files[:3]).wait() == 0
        wait_for(lambda: node.counts()["in_out"] == 3, "it was not protected")
        wait_for(lambda: "written to OUT" in node.said(), "the batch was not told")
        assert "3 written to OUT = 3 weak" in node.said()
        assert (
            "warning: the header of 3 files does not say that the patient's identity" in node.said()
        )
        check(node.out, {"in": 3, "weak": 3})
        shutil.copytree(node.out, folder / "before")
        peer = f"ORTHANC@127.0.0.1:{archive.dimse}"
        pushed = told("push", str(node.out), peer)
        told_of = {"states": {"weak": 3}, "summary": SENT[0], "caveat": ""}
        assert pushed == {"files": 3, "sent": 3, **told_of}
        assert told("report", str(node.out), "--export", str(folder), code=2)["error"] == "config"
        node.end(signal.SIGTERM)
        node.options += ["--forward", peer, "--at-least", "0.3"]
        node.start()
        assert store(node.port, [data / "MR_small.dcm", *files]).wait() == 0
        wait_for(lambda: node.counts()["rejected"] == 3, "what is weak was not rejected")
        wait_for(lambda: node.counts()["forwarded"] == 3, "it was not forwarded")
        found = told("node", str(node.out), "--status")
        assert found["reasons"] == {"protection_too_low": 3}
        assert found["states"] == {"weak": 3}
        assert "its images are rejected (--at-least 0.3)" in node.said()
        check(folder / "before", {"in": 6, "weak": 3, "rejected": 3})
        node.end(signal.SIGTERM)
        (folder / "config").rename(folder / "lost")
        assert "new OUT" in told("node", str(node.out), code=5)["message"]
    finally:
        if node.process is not None and node.process.poll() is None:
            node.end(signal.SIGTERM)
        archive.stop()


def web(folder: Path) -> None:
    """A node forwards by STOW-RS, once it is let in, and what a run wrote is pushed so."""
    files = objects(folder / "objects", 3)
    archive = Archive(folder / "archive", RegisteredUsers={"node": "secret-word"})
    archive.login = "node:secret-word"
    address = f"http://127.0.0.1:{archive.http}/dicom-web"
    (login := folder / "login").write_text("node:another\n")
    login.chmod(0o600)
    node = Node(folder, "--forward", address, "--login", str(login))
    try:
        archive.start()
        node.start()
        assert store(node.port, files).wait() == 0
        wait_for(lambda: "refuses access" in node.said(), "it was let in")
        assert node.counts()["in_out"] == 3
        node.end(signal.SIGTERM)
        login.write_text("node:secret-word\n")
        node.start()
        wait_for(lambda: node.counts()["forwarded"] == 3, "it was not forwarded")
        uids = {each["SOPInstanceUID"] for each in archive.instances() or []}
        assert len(uids) == 3
        assert not any(uid.startswith("1.2.3") for uid in uids)
        assert "secret" not in node.said()
        out = folder / "pushed"
        for command in (
            ["run", str(folder / "objects"), str(out), "--accept-weak", *own_pipelines(folder)],
            ["push", str(out), address, "--login", str(login)],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "medprotect", *command],
                capture_output=True,
                text=True,
                env=node.environment,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == SENT
        assert {each["SOPInstanceUID"] for each in archive.instances() or []} == uids
    finally:
        node.end(signal.SIGTERM)
        archive.stop()


def pulling(folder: Path) -> None:
    """An archive sends the studies asked for, and nothing else; what it lacks is said."""
    files = objects(folder / "objects", 21)
    node = Node(folder)
    archive = Archive(
        folder / "archive",
        DicomModalities={"node": ["MEDPROTECT", "127.0.0.1", node.port]},
        DicomAlwaysAllowFind=True,
        DicomAlwaysAllowMove=True,
    )
    for number, file in enumerate(files):
        dataset = dcmread(file)
        dataset.StudyInstanceUID = f"1.2.4.{number // 7}"
        dataset.StudyDate = f"2024010{number // 7 + 1}"
        dataset.save_as(file)

    def pull(*options: str) -> tuple[int, dict[str, int]]:
        place = f"ORTHANC@127.0.0.1:{archive.dimse}"
        command = [sys.executable, "-m", "medprotect", "pull", place, "--json", *options]
        done = subprocess.run(
            command, capture_output=True, text=True, env=node.environment, check=False
        )
        return done.returncode, json.loads(done.stdout)

    try:
        archive.start()
        node.start()
        assert store(archive.dimse, files, "-aec", "ORTHANC").wait() == 0
        nothing = {"studies": 0, "not_found": 0, "sent": 0, "failed": 0}
        assert pull("--modality", "MR") == (0, nothing)
        assert pull("--modality", "CT", "--dry-run") == (0, nothing | {"studies": 3})
        assert pull("--dates", "20240102-20240103") == (0, nothing | {"studies": 2, "sent": 14})
        assert node.counts()["in"] == 14
        (studies := folder / "studies.txt").write_text("1.2.4.0\n1.2.4.9\n")
        found = nothing | {"studies": 1, "not_found": 1, "sent": 7}
        assert pull("--studies", str(studies)) == (6, found)
        assert node.counts()["in"] == 21
        assert pull("--study", "1.2.4.1", "--to", "NOBODY")[0] == 6
        assert pull()[0] == 2
        wait_for(lambda: node.counts()["batched"] == 0, "protecting took too long")
    finally:
        node.end(signal.SIGTERM)
        archive.stop()
    code, told = pull("--study", "1.2.4.1")
    assert code == 6
    assert "1.2.4" not in json.dumps(told)


if __name__ == "__main__":
    cases = {each.__name__: each for each in (titles, tls, batches, pushing, stating, web, pulling)}
    cases[sys.argv[1]](Path(sys.argv[2]))
