"""An export of several kinds, under the name of a patient, and the preview of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from medprotect.confounder.key import Key
from medprotect.plan.selection import find_candidates
from medprotect.preview.page import Preview
from medprotect.preview.scratch import scratch_folder
from medprotect.preview.write import Asked, write_preview
from medprotect.protect.settings import Settings
from medprotect.protect.summary import Progress

from ..e2e.seeds import MAKERS, nifti_pair
from ..imaging.raster.pictures import png
from ..intensity.images import make_anatomy

KEY = Key(b"k" * 32)
PATIENT = "Jane Roe"
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
COMMAND = "medprotect run EXPORT OUT --strength standard"


def make_ct_series(folder: Path, count: int = 5) -> None:
    """Slices of one series: a real one, each a little brighter than that before."""
    series = generate_uid(entropy_srcs=["series"])
    for number in range(count):
        dataset = dcmread(SHIPPED / "CT_small.dcm")
        dataset.PatientName, dataset.SeriesDescription = PATIENT, PATIENT
        dataset.SeriesInstanceUID = series
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        pixels = dataset.pixel_array + number
        dataset.PixelData = pixels.astype(dataset.pixel_array.dtype).tobytes()
        dataset.save_as(folder / f"{PATIENT}-{number}.dcm")


def make_settings(export: Path, out: Path, **fields: object) -> Settings:
    return Settings(
        **{  # type: ignore[arg-type]
            "export": export,
            "out": out,
            "state": out.with_name(out.name + ".medprotect"),
            "candidates": find_candidates(["auto"]),
            "jobs": 1,
            **fields,
        }
    )


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `export`: never written by a test."""
    folder = tmp_path_factory.mktemp("house")
    root = folder / "export"
    (root / PATIENT).mkdir(parents=True)
    make_ct_series(root / PATIENT)
    large = (make_anatomy("uint16", size=1100, low=0, high=900) >> 2).astype(np.uint8)
    for name, data in {
        "volume.nii": MAKERS["nifti"](),
        "pair.hdr": nifti_pair(1)[0],
        "pair.img": nifti_pair(1)[1],
        "large.png": png(large),
        "notes.txt": b"file,class\n",
        "broken.dcm": MAKERS["dicom"]()[:-50],
    }.items():
        (root / name).write_bytes(data)
    return folder


@dataclass(frozen=True)
class Made:
    page: Path
    preview: Preview

    @property
    def html(self) -> str:
        return self.page.read_text()


Make = Callable[..., Made]


def make_preview(export: Path, page: Path, scratch: Path, **fields: object) -> Made:
    images = fields.pop("images", 3)
    with_names = fields.pop("with_names", False)
    with scratch_folder(export, scratch) as folder:
        settings = make_settings(export, folder / "out", **fields)
        asked = Asked(page=page, images=images, command=COMMAND, with_names=with_names)  # type: ignore[arg-type]
        return Made(page, write_preview(settings, asked, folder, KEY, Progress()))


@pytest.fixture
def preview(house: Path, tmp_path: Path) -> Make:
    """`preview(images=3, with_names=False, export=..., **settings)` writes a page."""

    def make(export: Path = house / "export", **fields: object) -> Made:
        return make_preview(export, tmp_path / "preview.html", tmp_path / "scratch", **fields)

    return make


@pytest.fixture(scope="session")
def usual(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The preview as it comes without options; not to be written."""
    folder = tmp_path_factory.mktemp("usual")
    return make_preview(house / "export", folder / "preview.html", folder / "scratch")


@pytest.fixture
def own_export(house: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be changed."""
    shutil.copytree(house / "export", tmp_path / "own")
    return tmp_path / "own"
