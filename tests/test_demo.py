import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medprotect.demo import SHIPPED, build, main
from medprotect.errors import ConfigError
from medprotect.scan.walk import Unsafe, walk


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "export"
    build(folder)
    return folder


def test_the_count_is_what_a_walk_finds(tmp_path: Path) -> None:
    assert build(tmp_path / "export") == len(list(walk(tmp_path / "export")))


def test_shipped_files_are_copied_byte_for_byte(demo: Path) -> None:
    sources = {name: Path(source).name for name, source in SHIPPED.items()}
    assert len(sources) > 15
    import pydicom

    shipped = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
    assert sources["ct/body.dcm"] == shipped.name
    assert (demo / "ct/body.dcm").read_bytes() == shipped.read_bytes()


def test_it_holds_every_format_and_one_unsafe_entry(demo: Path) -> None:
    suffixes = {Path(found.path).suffix for found in walk(demo)}
    assert suffixes >= {".dcm", ".nii", ".gz", ".png", ".jpg", ".tif", ".csv"}
    unsafe = {found.path: found.unsafe for found in walk(demo) if found.unsafe}
    assert unsafe == {"other/link-to-outside": Unsafe.SYMLINK}


def test_the_images_are_real(demo: Path) -> None:
    for name in ("ct/body.dcm", "ct/head.dcm", "mr/abdomen.dcm", "mr/vessels.dcm"):
        pixels = dcmread(demo / name).pixel_array
        assert min(pixels.shape) >= 64
        assert pixels.std() > 10
    assert nibabel.load(demo / "nifti/diffusion.nii.gz").shape == (128, 96, 24, 2)
    with Image.open(demo / "optical/cell.tif") as cell:
        assert cell.format == "TIFF"
        assert np.asarray(cell).std() > 10


def test_the_jpeg_ls_image_holds_the_pixels_it_was_made_from(
    demo: Path, pydicom_file: Callable[[str], Path]
) -> None:
    made = dcmread(demo / "mr/abdomen.dcm")
    source = dcmread(pydicom_file("examples_overlay.dcm"))
    assert made.file_meta.TransferSyntaxUID.name.startswith("JPEG-LS Lossless")
    assert made.SOPInstanceUID == source.SOPInstanceUID
    np.testing.assert_array_equal(made.pixel_array, source.pixel_array)


def test_the_torn_series_is_one_series_with_a_broken_member(demo: Path) -> None:
    whole, torn = (dcmread(demo / f"mr/torn-series/{i}.dcm") for i in (1, 2))
    assert whole.SeriesInstanceUID == torn.SeriesInstanceUID
    assert len(torn.PixelData) < len(whole.PixelData)


def test_the_broken_picture_is_broken(demo: Path) -> None:
    data = BytesIO((demo / "optical/broken.png").read_bytes())
    with Image.open(data) as image, pytest.raises(OSError, match="truncated"):
        image.load()


def test_two_builds_are_equal(demo: Path, tmp_path: Path) -> None:
    build(tmp_path / "again")
    for found in walk(demo):
        if not found.unsafe:
            assert (tmp_path / "again" / found.path).read_bytes() == (
                demo / found.path
            ).read_bytes()


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine").write_bytes(b"mine")
    with pytest.raises(ConfigError):
        build(tmp_path / "export")
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["mine"]


def test_a_build_leaves_nothing_beside_the_folder(tmp_path: Path) -> None:
    build(tmp_path / "a" / "export")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["export"]


def test_the_command_builds_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "medprotect.demo", "export"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("files in export\n")
    assert done.stderr == ""
    assert (tmp_path / "export" / "ct" / "head.dcm").is_file()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_wrong_arguments_are_a_configuration_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_an_existing_folder_ends_the_command_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([os.fspath(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_package_without_its_files_is_named_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHIPPED, "a.dcm", "pydicom/data/test_files/gone.dcm")
    with pytest.raises(ConfigError, match="pydicom does not hold"):
        build(tmp_path / "export")
    assert list(tmp_path.iterdir()) == []
