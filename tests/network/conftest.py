"""A node that has protected two batches: the second at another strength, and it asked for more."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread

from medprotect.confounder.key import Key
from medprotect.network.batches import Batches
from medprotect.network.ledger import Ledger
from medprotect.network.spool import Spool
from medprotect.plan.selection import find_candidates
from medprotect.protect.settings import Settings

from ..confounder.measured_pipeline import make_pipeline

KEY = Key(b"n" * 32)
DATA = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass(frozen=True)
class Served:
    """Where the objects of a node lie."""

    out: Path
    state: Path

    def files(self) -> list[Path]:
        return sorted(path for path in self.out.rglob("*") if path.is_file())


@dataclass
class Taking:
    """A peer that refuses the first files, as many as it is told to, and takes the others."""

    refused: int = 0
    taken: list[Path] = field(default_factory=list)

    def send(self, files: list[Path]) -> Iterator[tuple[Path, str]]:
        for number, file in enumerate(files):
            if number >= self.refused:
                self.taken.append(file)
            yield file, "status_0110" if number < self.refused else ""


def numbered(name: str, number: int) -> bytes:
    """A file of pydicom's under another SOP Instance UID."""
    dataset = dcmread(DATA / name)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


@pytest.fixture(scope="session")
def served_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CT of protection 0.00, one broken and a report; then a CT of 0.37; an MR unmeasured."""
    root = tmp_path_factory.mktemp("served")
    out, state = root / "out", root / "out.medprotect"
    for folder in (out, state):
        folder.mkdir()
    own = tmp_path_factory.mktemp("pipelines")
    ct = make_pipeline(own / "ct", "ct", standard=0.0, high=0.37)
    mr = make_pipeline(own / "mr", "mr")
    settings = Settings(
        export=root,
        out=root,
        state=root,
        candidates=find_candidates([str(ct), str(mr)]),
        hold_series=False,
    )
    broken = (DATA / "MR_truncated.dcm").read_bytes()
    report = (DATA / "reportsi.dcm").read_bytes()
    first = [numbered("CT_small.dcm", 1), numbered("CT_small.dcm", 2), broken, report]
    second = [numbered("CT_small.dcm", 3), numbered("MR_small.dcm", 4)]
    stronger = replace(settings, strength="high", at_least=0.3)
    with Ledger(state) as ledger:
        ledger.claim_key(KEY.fingerprint)
        spool = Spool(state, ledger)
        for asked, objects in ((settings, first), (stronger, second)):
            for data in objects:
                spool.receive(data[:132], memoryview(data)[132:])
            Batches(asked, KEY, out, spool, ledger).finish(spool.gather(spool.waiting()))
    return root


@pytest.fixture
def served(served_once: Path, tmp_path: Path) -> Served:
    """A copy of it, to be tampered with."""
    root = tmp_path / "served"
    shutil.copytree(served_once, root)
    return Served(root / "out", root / "out.medprotect")
