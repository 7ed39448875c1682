"""One door to all formats; nothing is imported before it is used."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import pytest
import skimage
from PIL import Image

from medprotect.errors import NotAnImageError, UnsupportedImageError
from medprotect.imaging import formats
from medprotect.imaging.image import Role

NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
SKIMAGE = Path(skimage.__file__).parent / "data"


@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_format_keeps_the_contract(name: str) -> None:
    module = formats.load_format(name)
    assert isinstance(module.DOCUMENTED_CHANGES, frozenset)
    for function in ("describe", "open_file", "changed_elements", "undocumented_changes"):
        assert callable(getattr(module, function))


def test_every_change_is_explained_in_the_documentation() -> None:
    documents = dict.fromkeys(("png", "tiff", "jpeg"), "png-tiff-jpeg") | {"nifti": "nifti"}
    for name, document in documents.items():
        text = (Path(__file__).parents[2] / "docs" / "reference" / f"{document}.md").read_text()
        changes = formats.load_format(name).DOCUMENTED_CHANGES
        assert {change for change in changes if f"`{change}`" not in text} == set()


def test_a_file_of_each_format_opens_by_its_content(pydicom_file: Callable[[str], Path]) -> None:
    files = {
        "dicom": pydicom_file("MR_small.dcm"),
        "nifti": NIBABEL / "anatomical.nii",
        "png": SKIMAGE / "camera.png",
        "tiff": SKIMAGE / "multipage.tif",
        "jpeg": SKIMAGE / "rocket.jpg",
    }
    for name, path in files.items():
        data = path.read_bytes()
        description = formats.describe(io.BytesIO(data))
        assert description.role is Role.IMAGE
        assert description.traits is not None
        assert description.traits.format == name
        file = formats.open_file(data)
        assert file.description == description
        images = list(file.images())
        assert len(images) == description.traits.images
        for image in images:
            shape = (description.traits.rows, description.traits.columns)
            assert image.stored.shape[:2] == shape
            assert image.photometric == description.traits.photometric
            assert image.stored.dtype.isnative


def test_text_and_documents_are_described_but_not_opened() -> None:
    for data, kind in ((b"a,b\n1,2\n", "text"), (b"%PDF-1.4\n", "pdf")):
        description = formats.describe(io.BytesIO(data))
        assert (description.role, description.kind) == (Role.OTHER, kind)
        with pytest.raises(NotAnImageError):
            formats.open_file(data)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", NotAnImageError, "empty"),
        (b"PK\x03\x04" + bytes(60), NotAnImageError, "unpack"),
        (bytes(range(256)), NotAnImageError, "neither"),
        (b"GIF89a" + bytes(60), UnsupportedImageError, "save it as"),
    ],
)
def test_what_cannot_be_protected_is_rejected_with_what_to_do(
    data: bytes, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        formats.describe(io.BytesIO(data))
    with pytest.raises(error, match=words):
        formats.open_file(data)


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        formats.load_format("bmp")


def test_a_module_is_imported_on_first_use_only() -> None:
    script = (
        "import sys\n"
        "from medprotect.imaging import formats\n"
        "heavy = {'pydicom', 'nibabel', 'tifffile', 'imagecodecs', 'PIL', 'torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "formats.load_format('nifti')\n"
        "assert 'nibabel' in sys.modules\n"
        "assert not {'tifffile', 'imagecodecs', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_messages_hold_nothing_of_the_file() -> None:
    buffer = io.BytesIO()
    Image.new("P", (9, 9)).save(buffer, "PNG")
    data = buffer.getvalue().replace(b"PLTE", b"CANA")
    with pytest.raises(Exception, match=r"PNG|palette|pixels") as caught:
        formats.open_file(data)
    assert "CANA" not in str(caught.value)
