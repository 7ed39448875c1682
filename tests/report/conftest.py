"""A finished run of a small export, real files of several kinds."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medprotect.confounder.key import Key
from medprotect.plan.selection import find_candidates
from medprotect.protect.engine import protect_export
from medprotect.protect.settings import Settings
from medprotect.report.write import Written, write_report

from ..e2e.seeds import MAKERS, nifti_pair

KEY = Key(b"k" * 32)
PATIENT = "Jane Roe"
"""Of a folder: a path may be personal."""


def floating() -> bytes:
    """Return a NIfTI volume some voxels of which hold no number."""
    voxels = np.random.default_rng(2).uniform(0, 900, (40, 40, 2)).astype(np.float32)
    voxels[:4, :4, 1], voxels[4, 4, 1] = np.nan, np.inf
    return nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()


@dataclass(frozen=True)
class Run:
    export: Path
    out: Path
    state: Path

    def report(self, **asked: bool | Path | None) -> Written:
        return write_report(self.out, self.state, KEY, **asked)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    files = {
        f"{PATIENT}/ct.dcm": MAKERS["dicom"](),
        "volume.nii": MAKERS["nifti"](),
        "pair.hdr": nifti_pair(1)[0],
        "pair.img": nifti_pair(1)[1],
        "floating.nii": floating(),
        "notes.txt": b"file,class\n",
        "broken.dcm": MAKERS["dicom"]()[:-50],
    }
    for name, data in files.items():
        path = folder / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    settings = Settings(
        export=folder / "export",
        out=folder / "out",
        state=folder / "out.medprotect",
        candidates=find_candidates(["auto"]),
        strength="standard",
        jobs=1,
        hold_series=False,
    )
    protect_export(settings, KEY)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A copy of the finished run, to be tampered with."""
    shutil.copytree(finished, tmp_path / "run")
    root = tmp_path / "run"
    return Run(root / "export", root / "out", root / "out.medprotect")


Report = Callable[..., Written]
