"""A finished run of a small export, real files of several kinds, some of them unmeasured."""

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

from ..confounder.measured_pipeline import make_measured, make_pipeline
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
    grey = make_pipeline(folder / "grey", "radiology-grey", standard=0.0)
    mr = make_pipeline(folder / "mr", "mr")
    settings = Settings(
        export=folder / "export",
        out=folder / "out",
        state=folder / "out.medprotect",
        candidates=find_candidates([str(grey), str(mr)]),
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


@pytest.fixture
def measured_run(tmp_path: Path) -> Run:
    """A run of one MR by a pipeline of which all three figures were measured."""
    (export := tmp_path / "export").mkdir()
    (export / "mr.dcm").write_bytes(MAKERS["dicom"]())
    run = Run(export, tmp_path / "out", tmp_path / "out.medprotect")
    own = find_candidates([str(make_measured(tmp_path / "own", "mr"))])
    protect_export(Settings(export=export, out=run.out, state=run.state, candidates=own), KEY)
    return run


Report = Callable[..., Written]
