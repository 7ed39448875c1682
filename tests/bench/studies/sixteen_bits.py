"""DICOM files of 12 bits of a MedMNIST file.

``python -m tests.bench.studies.sixteen_bits SOURCE CLEAN``.

MedMNIST's images are what a window of the original showed, in 8 bits. So stored values can be given
that this window shows as the same: of CT in HU by slope 1 and intercept -1024, of CR in a range of
its own. Half B goes into ``CLEAN/train``, for a run to protect; validation and test images lie
beside it, and ``labels.csv`` has the split.

    python -m tests.bench.studies.sixteen_bits organamnist.npz clean --modality CT --most 2000
    medprotect run clean/train protected/train
    python -m medprotect.bench.studies.through_windows clean protected --labels clean/labels.csv ...
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, ExplicitVRLittleEndian

from medprotect.audit.halves import draw, read_halves


@dataclass(frozen=True, slots=True)
class Look:
    """How images of a modality are stored, and the window that shows them as they were.

    `function` is the VOI LUT Function: with LINEAR_EXACT grey level v of 255 is at
    ``center + width * (v / 255 - 1/2)``.
    """

    sop_class: str
    center: int
    width: int
    intercept: int
    function: str = "LINEAR_EXACT"


LOOKS = {
    "CT": Look(CTImageStorage, center=40, width=400, intercept=-1024),
    "CR": Look(ComputedRadiographyImageStorage, center=2000, width=3000, intercept=0),
}


def write_slice(
    path: Path, grey: np.ndarray, number: int, modality: str, body_part: str = ""
) -> None:
    """Write one file; `grey` is uint8 (H, W)."""
    look = LOOKS[modality]
    values = look.center + look.width * (grey / 255 - 0.5)
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID = look.sop_class
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID = f"2.25.{number + 9}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "2.25.1", f"2.25.2.{number}"
    data_set.Modality, data_set.PatientID, data_set.PatientName = modality, "", ""
    data_set.PatientIdentityRemoved = "YES"
    if body_part:
        data_set.BodyPartExamined = body_part
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns = grey.shape
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelRepresentation = 0
    data_set.RescaleSlope, data_set.RescaleIntercept = 1, look.intercept
    if modality == "CT":
        data_set.RescaleType = "HU"
    data_set.WindowCenter, data_set.WindowWidth = look.center, look.width
    data_set.VOILUTFunction = look.function
    stored = np.rint(values - look.intercept).clip(0, 4095).astype("<u2")
    data_set.PixelData = stored.tobytes()
    data_set.save_as(path, enforce_file_format=True)


def lay_out(source: Path, clean: Path, modality: str, body_part: str, most: int | None) -> None:
    """Write half B, validation and test images, at most so many of each, and their labels."""
    halves = read_halves(source)
    parts = {"train": halves.b, "validation": halves.validation, "test": halves.test}
    clean.mkdir(parents=True)
    number = 0
    with (clean / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "split"])
        for name, part in parts.items():
            (clean / name).mkdir()
            some = draw(part, most)
            for image, label in zip(some.images, some.labels, strict=True):
                file = f"{name}/{number:06}.dcm"
                write_slice(clean / file, image[..., 0], number, modality, body_part)
                rows.writerow([file, halves.classes[label], name])
                number += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("clean", type=Path)
    parser.add_argument("--modality", default="CT", choices=list(LOOKS))
    parser.add_argument("--body-part", default="")
    parser.add_argument("--most", type=int)
    given = parser.parse_args()
    lay_out(given.source, given.clean, given.modality, given.body_part, given.most)
