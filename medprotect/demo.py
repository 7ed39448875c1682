"""A small mixed export to try medprotect on: ``python -m medprotect.demo FOLDER``.

Made of real files that installed packages ship with their tests, so that it needs no network:
CT, MR, ultrasound, NIfTI, microscopy and fundus images in the compressions of daily life, and
what else lies in an export. It holds every outcome of a run: protected, left out, rejected, held.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from io import BytesIO
from pathlib import Path

from medprotect.errors import ConfigError, MedprotectError

_DICOM = "pydicom/data/test_files/"
_NIBABEL = "nibabel/tests/data/"
_SKIMAGE = "skimage/data/"

SHIPPED = {
    "ct/body.dcm": _DICOM + "CT_small.dcm",
    "ct/head.dcm": _DICOM + "J2K_pixelrep_mismatch.dcm",
    "ct/lossy.dcm": _DICOM + "693_J2KI.dcm",
    "mr/torn-series/1.dcm": _DICOM + "MR_small.dcm",
    "mr/torn-series/2.dcm": _DICOM + "MR_truncated.dcm",
    "mr/vessels.dcm": "nibabel/nicom/tests/data/slicethickness_empty_string.dcm",
    "nifti/anatomy.nii": _NIBABEL + "anatomical.nii",
    "nifti/diffusion.nii.gz": _NIBABEL + "example4d.nii.gz",
    "nuclear/bones.dcm": _DICOM + "JPEG2000.dcm",
    "optical/fundus.jpg": _SKIMAGE + "retina.jpg",
    "optical/microaneurysms.png": _SKIMAGE + "microaneurysms.png",
    "optical/tissue.png": _SKIMAGE + "ihc.png",
    "other/dose-plan.dcm": _DICOM + "rtplan.dcm",
    "other/ecg.dcm": _DICOM + "waveform_ecg.dcm",
    "other/report.dcm": _DICOM + "reportsi.dcm",
    "other/segmentation.dcm": _DICOM + "liver_1frame.dcm",
    "ultrasound/heart-loop.dcm": _DICOM + "examples_ybr_color.dcm",
    "ultrasound/heart.dcm": _DICOM + "examples_rgb_color.dcm",
    "ultrasound/rle.dcm": _DICOM + "SC_rgb_rle_2frame.dcm",
}
"""Files that are copied as they are: name in the export, and where a package holds it."""


def build(folder: Path) -> int:
    """Build the demonstration export.

    Two builds with the same packages are equal, byte for byte.

    Parameters
    ----------
    folder : Path
        Made by this; must not exist. It appears whole or not at all.

    Returns
    -------
    int
        Number of files in it.

    Raises
    ------
    ConfigError
        `folder` exists, or a package does not hold its files.
    """
    if os.path.lexists(folder):
        raise ConfigError("the folder exists; remove it, or name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".demo-") as temporary:
        root = Path(temporary, "export")
        files = {name: _shipped(source) for name, source in SHIPPED.items()} | _made()
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        with suppress(OSError):  # file systems without links
            (root / "other" / "link-to-outside").symlink_to("/etc/hostname")
        count = sum(not path.is_dir() or path.is_symlink() for path in root.rglob("*"))
        root.rename(folder)
    return count


def _made() -> dict[str, bytes]:
    """Files that real encoders write from the shipped ones."""
    tissue = _shipped(_SKIMAGE + "ihc.png")
    return {
        "mr/abdomen.dcm": _jpeg_ls(_shipped(_DICOM + "examples_overlay.dcm")),
        "optical/cell.tif": _tiff(_shipped(_SKIMAGE + "cell.png")),
        "optical/broken.png": tissue[: len(tissue) // 2],
        "other/labels.csv": b"file,label\nmr/abdomen.dcm,healthy\noptical/tissue.png,tumour\n",
        "other/unknown.bin": bytes(range(256)),
    }


def _shipped(source: str) -> bytes:
    package, _, path = source.partition("/")
    try:
        return resources.files(package).joinpath(path).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise ConfigError(f"the installed {package} does not hold {path}; reinstall it") from None


def _jpeg_ls(data: bytes) -> bytes:
    from pydicom import dcmread
    from pydicom.uid import JPEGLSLossless

    dataset = dcmread(BytesIO(data))
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def _tiff(data: bytes) -> bytes:
    from PIL import Image

    stream = BytesIO()
    with Image.open(BytesIO(data)) as image:
        image.save(stream, "TIFF", compression="tiff_adobe_deflate")
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the export named by the only argument; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m medprotect.demo FOLDER", file=sys.stderr)
        return ConfigError.exit_code
    try:
        count = build(Path(arguments[0]))
    except MedprotectError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{count} files in {arguments[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
