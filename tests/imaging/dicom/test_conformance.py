"""Protected files are no worse DICOM than their sources, as `dciodvfy` sees it."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conformance import ALLOWED, DCIODVFY, complaints, is_allowed, main, new_complaints
from .conftest import protect, read, write
from .test_corpus import CORPUS

pytestmark = pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (dicom3tools) is not installed")


SHIPPED = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_small_odd.dcm",
    "examples_ybr_color.dcm",
    "image_dfl.dcm",
)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_get_no_new_error_or_warning(
    shipped: Callable[[str], bytes], name: str
) -> None:
    data = shipped(name)
    found = new_complaints(data, protect(data)[1].data)
    assert [each for each in found if not is_allowed(each)] == []


def test_a_deflated_file_is_looked_at_inflated(shipped: Callable[[str], bytes]) -> None:
    assert not any("read failed" in each for each in complaints(shipped("image_dfl.dcm")))


def test_a_header_that_breaks_the_standard_is_seen(shipped: Callable[[str], bytes]) -> None:
    data = shipped("CT_small.dcm")
    dataset = read(protect(data)[1].data)
    dataset.ImageType = ["CHANGED", "PRIMARY", "AXIAL"]
    del dataset.ContributingEquipmentSequence[0].Manufacturer
    found = [each for each in new_complaints(data, write(dataset)) if not is_allowed(each)]
    assert any("<CHANGED> for value 1 of attribute <Image Type>" in each for each in found)
    assert any("Element=<Manufacturer>" in each for each in found)


def test_what_is_allowed_is_no_more_than_is_listed() -> None:
    assert len(ALLOWED) == 7
    assert not is_allowed(
        "Error - Missing attribute Type 1 Required Element=<CodeValue> Module=<X>"
    )
    assert not is_allowed(
        "Warning - Attribute is not present in standard DICOM IOD - (0x0028,0x0106)"
    )


@pytest.mark.shared
@pytest.mark.slow
def test_files_of_many_makers_get_no_new_error_or_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not CORPUS.is_file():
        pytest.skip(f"no corpus at {CORPUS}")
    with tarfile.open(CORPUS) as archive:
        archive.extractall(tmp_path, filter="data")
    assert main(tmp_path) == 0, capsys.readouterr().out
    assert "new errors: 0" in capsys.readouterr().out
