"""A bundle as exported, and its files."""

from pathlib import Path

import pydicom
import pytest

from medprotect.bundle.archive import SUMS, Contents
from medprotect.bundle.export import bundle_contents
from medprotect.confounder.card import load_card

NAME = "radiology-grey"


@pytest.fixture(scope="session")
def exported() -> Contents:
    """What `medprotect bundle export` makes of a shipped pipeline."""
    return bundle_contents(load_card(NAME))


def with_file(contents: Contents, name: str, data: bytes) -> Contents:
    """The bundle with one file changed or added, and sums that fit."""
    files = {**contents.files, name: data}
    return Contents({**files, SUMS: Contents(files).sums.encode()})


def write_folder(contents: Contents, folder: Path) -> Path:
    """The bundle as a folder."""
    contents.write(folder)
    return folder


def refer(image: Path, place: Path) -> Path:
    """A second image of a series, which refers to the first."""
    dataset, first = pydicom.dcmread(image), pydicom.Dataset()
    first.ReferencedSOPClassUID = dataset.SOPClassUID
    first.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ReferencedImageSequence = [first]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.7.2"
    dataset.save_as(place)
    return place
