"""A finished run with every outcome, and its vault."""

import gzip
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from medprotect.confounder.key import Key
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import protect_export
from medprotect.protect.settings import Settings
from medprotect.vault.listing import Listing
from medprotect.vault.make import Made, make_vault
from medprotect.vault.recipients import Identity, Recipient
from medprotect.vault.restore import restore_export

from ..e2e.seeds import MAKERS, nifti_pair
from ..imaging.raster.pictures import COLOUR, jpeg

KEY = Key(b"k" * 32)
OWNER = Identity.of(KEY)
PATIENT = "Jané Roe"

FILES = {
    f"{PATIENT}/ct.dcm": MAKERS["dicom"](),
    "jpeg-ls.dcm": MAKERS["dicom-jpeg-ls"](),
    "volume.nii": MAKERS["nifti"](),
    "volume.nii.gz": gzip.compress(MAKERS["nifti"](), mtime=5),
    "pair.hdr": nifti_pair(1)[0],
    "pair.img": nifti_pair(1)[1],
    "lossy.jpg": jpeg(COLOUR[:40, :40].copy()),
    "notes.txt": b"file,class\n",
    "empty": b"",
    "broken.dcm": MAKERS["dicom"]()[:-50],
}


@dataclass(frozen=True)
class Run:
    export: Path
    out: Path
    state: Path

    @property
    def vault(self) -> Path:
        return self.export.parent / "vault"

    @property
    def back(self) -> Path:
        return self.export.parent / "back"

    def keep(self, *recipients: Recipient, key: Key = KEY) -> Made:
        return make_vault(self.export, self.out, self.state, self.vault, key, recipients)

    def restore(self, identity: Identity = OWNER) -> Listing:
        return restore_export(self.out, self.vault, self.back, identity)

    @property
    def nothing_is_left(self) -> bool:
        """Whether neither BACK is there nor anything on its way to it."""
        known = {self.export, self.out, self.state, self.vault}
        return {*self.export.parent.iterdir()} <= known


def protect(folder: Path, files: dict[str, bytes], *, copy_others: bool) -> Run:
    """Protect files in a folder; all of an age."""
    run = Run(folder / "export", folder / "out", folder / "out.medprotect")
    for at, (name, data) in enumerate(files.items()):
        path = run.export / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(1_000_000_007, 1_234_567_890_123_456_789 + at))
    if copy_others:
        (run.export / "link").symlink_to("notes.txt")
    settings = Settings(
        export=run.export,
        out=run.out,
        state=run.state,
        candidates=find_candidates(["auto"]),
        jobs=1,
        hold_series=False,
        copy_others=copy_others,
    )
    protect_export(settings, KEY)
    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    protect(folder, FILES, copy_others=True)
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of few and small files, and its vault, so that each of its bytes can be tried."""
    folder = tmp_path_factory.mktemp("small")
    files = {"a.nii": MAKERS["nifti"](), "b.txt": b"b,1\n", "c.txt": b"c,2\n"}
    protect(folder, files, copy_others=False).keep()
    return folder


def copied(folder: Path, to: Path) -> Run:
    shutil.copytree(folder, to / "run", symlinks=True)
    root = to / "run"
    return Run(root / "export", root / "out", root / "out.medprotect")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A copy of the finished run, to be tampered with."""
    return copied(finished, tmp_path)


@pytest.fixture
def small_run(small: Path, tmp_path: Path) -> Run:
    """A copy of the small run, with its vault."""
    return copied(small, tmp_path)
