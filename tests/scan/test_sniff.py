"""Every file is known by its content, and nothing that may be an image passes for text."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import skimage
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medprotect.scan.sniff import FORMATS, sniff

WORDS = {*FORMATS, "archive", "compressed", "other-image", "text", "pdf", "empty", "unknown"}
NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
SKIMAGE = Path(skimage.__file__).parent / "data"


def word(data: bytes) -> str:
    return sniff(io.BytesIO(data))


def picture(kind: str, mode: str = "L", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (9, 7), 100).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(**options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((9, 7), np.uint8), **options)
    return buffer.getvalue()


def tar(content: bytes, kind: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        info = tarfile.TarInfo("a.dcm")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.dcm", content)
    return buffer.getvalue()


class TestFormats:
    @pytest.mark.parametrize(
        "name",
        [
            *("CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"),
            *("rtplan.dcm", "JPEG2000.dcm", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"),
            "no_meta_group_length.dcm",
        ],
    )
    def test_dicom_is_known_with_and_without_a_preamble(
        self, pydicom_file: Callable[[str], Path], name: str
    ) -> None:
        assert word(pydicom_file(name).read_bytes()) == "dicom"

    def test_dicom_without_preamble_and_meta_information_is_known(
        self, pydicom_file: Callable[[str], Path]
    ) -> None:
        data = pydicom_file("CT_small.dcm").read_bytes()
        assert word(data[132:]) == "dicom"

    def test_dicom_with_the_preamble_of_a_tiff_file_is_dicom(
        self, pydicom_file: Callable[[str], Path]
    ) -> None:
        data = pydicom_file("CT_small.dcm").read_bytes()
        assert word(tiff()[:128] + data[128:]) == "dicom"

    @pytest.mark.parametrize(
        "name",
        ["anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"],
    )
    def test_nifti_is_known_gzipped_or_not(self, name: str) -> None:
        assert word((NIBABEL / name).read_bytes()) == "nifti"

    @pytest.mark.parametrize("name", ["nifti1.hdr", "nifti2.hdr"])
    def test_the_header_of_a_pair_is_known(self, name: str) -> None:
        data = (NIBABEL / name).read_bytes()
        assert word(data) == "nifti"
        assert word(gzip.compress(data)) == "nifti"

    def test_volumes_with_headers_of_text_are_known(self) -> None:
        for line in (b"ObjectType = Image\n", b"NDims=3\n", b"Comment = a\nObjectType = Image\n"):
            assert word(line + b"DimSize = 4 4 4\n") == "metaimage"
            assert word(line + b"ElementDataFile = LOCAL\n" + bytes(range(256))) == "metaimage"
        for version in b"12345":
            assert word(b"NRRD000%c\ntype: short\n" % version) == "nrrd"

    def test_mgh_is_known_gzipped_or_not(self) -> None:
        data = nibabel.MGHImage(np.ones((9, 8, 3), np.int16), np.eye(4)).to_bytes()
        assert word(data) == "mgh"
        assert word(gzip.compress(data)) == "mgh"

    def test_pictures_are_known(self) -> None:
        assert word(picture("PNG")) == "png"
        assert word(picture("JPEG")) == "jpeg"
        for order in "<>":
            for big in (False, True):
                assert word(tiff(byteorder=order, bigtiff=big)) == "tiff"

    def test_the_name_does_not_count(self, tmp_path: Path) -> None:
        path = tmp_path / "report.txt"
        path.write_bytes(picture("PNG"))
        with path.open("rb") as stream:
            assert sniff(stream) == "png"


class TestWhatIsNotProtected:
    @pytest.mark.parametrize(
        "kind", ["GIF", "BMP", "WEBP", "PPM", "ICO", "JPEG2000", "AVIF", "DDS"]
    )
    def test_images_of_other_formats_are_never_left_quietly(self, kind: str) -> None:
        assert word(picture(kind, "RGB")) == "other-image"

    @pytest.mark.parametrize(
        "name",
        [
            *("analyze.hdr", "tiny.mnc", "minc2_4d.mnc"),
            *("example4d+orig.HEAD", "DTI.PAR", "T1.PAR"),
        ],
    )
    def test_medical_images_of_other_formats_are_known(self, name: str) -> None:
        path = NIBABEL / name
        if not path.is_file():
            pytest.skip(f"this nibabel does not ship {name}")
        assert word(path.read_bytes()) == "other-image"

    @pytest.mark.parametrize(
        "text",
        [
            b"ID = 3\nObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\n",
            b"P2\n2 2\n255\n0 1 2 3\n",
            b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'></svg>",
            b"<html><img src='data:image/png;base64,iVBORw0KGgo='></html>",
            b"mrtrix image\ndim: 4,4\n",
        ],
    )
    def test_text_that_is_or_holds_an_image_is_no_text(self, text: bytes) -> None:
        assert word(text) == "other-image"

    @pytest.mark.parametrize("at", [0, 1024 * 1024 - 4, 3_000_000])
    def test_a_picture_in_a_long_text_is_found_wherever_it_is(self, at: int) -> None:
        assert word(b"a" * at + b"data:image/png" + b"b" * 100) == "other-image"

    @pytest.mark.parametrize(
        "head",
        [
            b"\0\0\0\x18ftypmp42\0\0\0\0",
            b"RIFF\x10\0\0\0AVI LIST",
            b"\x1a\x45\xdf\xa3\x01\0\0\0",
            b"\x89HDF\r\n\x1a\n" + bytes(20),
            b"\xff\x0a\xfa\x1f",
            b"\xff\x4f\xff\x51\0\x29",
        ],
    )
    def test_films_and_scientific_containers_are_known(self, head: bytes) -> None:
        assert word(head + bytes(64)) == "other-image"

    @pytest.mark.parametrize(
        "pack",
        [zipped, tar, gzip.compress, bz2.compress, lzma.compress, lambda c: tar(c, 0)],
        ids=["zip", "tar", "gzip", "bz2", "xz", "ustar"],
    )
    def test_archives_are_known_whatever_lies_in_them(self, pack: Callable[[bytes], bytes]) -> None:
        assert word(pack(picture("PNG"))) == "archive"
        assert word(pack(b"text")) == "archive"

    def test_gzipped_voxels_without_a_header_are_no_archive(self) -> None:
        """As those of AFNI, whose header is another file."""
        noise = np.random.default_rng(0).integers(0, 4096, 5000, np.uint16)
        assert word(gzip.compress(noise.tobytes())) == "compressed"
        path = NIBABEL / "example4d+orig.BRIK.gz"
        if path.is_file():
            assert word(path.read_bytes()) == "compressed"

    def test_a_volume_gzipped_as_a_whole_is_of_no_format_that_is_protected(self) -> None:
        assert word(gzip.compress(b"NRRD0004\ntype: short\n")) == "other-image"
        assert word(gzip.compress(b"ObjectType = Image\n")) == "other-image"

    def test_a_tar_file_without_a_magic_is_known_by_its_checksum(self) -> None:
        data = bytearray(tar(b"text"))
        data[257:265] = bytes(8)
        data[148:156] = b" " * 8
        data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
        assert word(bytes(data)) == "archive"

    def test_a_disc_image_is_an_archive(self) -> None:
        assert word(bytes(32769) + b"CD001" + bytes(100)) == "archive"

    def test_an_empty_file_is_empty(self) -> None:
        assert word(b"") == "empty"


class TestText:
    @pytest.mark.parametrize(
        "text",
        [
            b"file,label\na.dcm,1\n",
            b'{"Modality": "MR"}',
            "Befund: Größe 3 µm\n".encode(),
            "Befund: Größe 3 µm\n".encode("latin-1"),
            "Befund: Größe\r\n".encode("utf-16"),
            b"\xef\xbb\xbfwith a mark\n",
            b"a" * 3_000_000,
        ],
    )
    def test_text_is_text(self, text: bytes) -> None:
        assert word(text) == "text"

    @pytest.mark.parametrize(
        "text",
        [
            b"\n" * 70_000,
            b"ObjectType\n" * 6_000,
            b"<!-- a -->\n" * 6_000,
            b"P2 " + b"# \n" * 1_300,
            b"\t =\n" * 16_000,
        ],
    )
    def test_text_made_to_be_slow_to_look_at_is_text(self, text: bytes) -> None:
        assert word(text) == "text"

    def test_a_document_is_a_document(self) -> None:
        assert word(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n") == "pdf"

    def test_text_that_goes_over_into_pixels_is_no_text(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
        assert word(b"header\n" * 500_000 + pixels) == "unknown"

    def test_bare_pixels_are_unknown(self) -> None:
        noise = np.random.default_rng(0)
        assert word(noise.integers(0, 4096, 5000, np.uint16).tobytes()) == "unknown"
        assert word(noise.integers(32, 256, 5000, np.uint8).tobytes()) == "unknown"

    def test_the_first_bytes_of_an_image_are_no_text(self) -> None:
        for data in (picture("PNG"), picture("JPEG"), tiff(), tiff(byteorder=">")):
            words = {word(data[:end]) for end in range(1, 9)}
            assert words.isdisjoint({"text", "pdf"})


class TestDamage:
    def test_every_length_of_every_format_gives_a_word(
        self, pydicom_file: Callable[[str], Path]
    ) -> None:
        files = [picture("PNG"), picture("JPEG"), tiff(), zipped(b"x"), tar(b"x")]
        files.append((NIBABEL / "example_nifti2.nii.gz").read_bytes()[:3000])
        files.append(pydicom_file("CT_small.dcm").read_bytes()[:600])
        for data in files:
            assert {word(data[:end]) for end in range(0, len(data), 5)} <= WORDS

    @given(st.binary(max_size=600))
    def test_any_bytes_give_a_word(self, data: bytes) -> None:
        assert word(data) in WORDS
        assert word(b"\x1f\x8b\x08" + data) in WORDS
        assert word(gzip.compress(data)) in WORDS

    def test_a_gzip_bomb_is_not_inflated(self) -> None:
        bomb = gzip.compress(bytes(300_000_000), 9)
        assert word(bomb) == "compressed"

    def test_real_pictures_are_what_their_names_say(self) -> None:
        suffixes = {".png": "png", ".jpg": "jpeg", ".tif": "tiff", ".gif": "other-image"}
        paths = [path for path in SKIMAGE.iterdir() if path.suffix in suffixes]
        assert len(paths) > 20
        for path in paths:
            assert word(path.read_bytes()) == suffixes[path.suffix]
