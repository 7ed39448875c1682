"""JPEG: the decoded pixels change exactly, and come out as PNG with all that was said of them."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image, ImageCms

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    UnsupportedImageError,
)
from medprotect.imaging.raster import jpeg as module

from ..protecting import DERIVATION, changes, check, outcome, stored, undocumented
from .pictures import COLOUR, GREY, THUMBNAIL, XMP_PICTURE, XMP_PLAIN, exif, jpeg, png, with_chunk

SHIPPED = sorted((Path(skimage.__file__).parent / "data").glob("*.jpg"))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG file with one more segment behind its JFIF header."""
    at = 2 + 2 + int.from_bytes(data[4:6], "big")
    return data[:at] + segment(marker, content) + data[at:]


class TestPixels:
    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_shipped_pictures_change_exactly(self, path: Path) -> None:
        data = path.read_bytes()
        encoded = check(data)
        assert "promoted_to_lossless" in encoded.notes
        assert encoded.data.startswith(b"\x89PNG")

    @pytest.mark.parametrize("colour", [False, True])
    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize("subsampling", [0, 2])
    def test_stored_values_are_what_pillow_decodes(
        self, colour: bool, progressive: bool, subsampling: int
    ) -> None:
        pixels = COLOUR if colour else GREY
        data = jpeg(pixels, quality=70, progressive=progressive, subsampling=subsampling)
        image = next(module.open_file(data).images())
        with Image.open(io.BytesIO(data)) as decoded:
            np.testing.assert_array_equal(image.stored, np.asarray(decoded))
        assert image.photometric == ("RGB" if colour else "MONOCHROME2")
        check(data)

    def test_the_description_says_that_it_is_lossy_and_becomes_png(self) -> None:
        description = module.describe(io.BytesIO(jpeg()))
        assert description.output_suffix == ".png"
        assert description.traits is not None
        assert description.traits.lossy
        assert description.traits.channels == 3

    def test_orientation_is_kept_and_not_applied(self) -> None:
        data = jpeg(COLOUR, exif=exif(b""))
        assert stored(data)[0].shape == COLOUR.shape
        with Image.open(io.BytesIO(check(data).data)) as image:
            assert image.getexif()[0x0112] == 6
            assert image.size == COLOUR.shape[1::-1]


class TestMetadata:
    def test_all_that_has_a_place_in_png_is_carried_over(self) -> None:
        data = jpeg(
            COLOUR,
            exif=exif(b""),
            icc_profile=PROFILE,
            comment="Größe".encode("latin-1"),
            dpi=(300, 150),
            xmp=XMP_PLAIN,
        )
        encoded = check(data)
        assert changes(data, encoded.data) == set()
        assert encoded.notes == ("promoted_to_lossless",)
        with Image.open(io.BytesIO(encoded.data)) as image:
            image.load()
            assert image.info["icc_profile"] == PROFILE
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
            assert image.info["Comment"] == "Größe"
            assert image.info["XML:com.adobe.xmp"].encode() == XMP_PLAIN
            assert image.getexif()[0x0110] == "Scanner"

    def test_a_profile_in_many_segments_is_joined(self) -> None:
        profile = PROFILE + bytes(range(256)) * 600
        encoded = check(jpeg(COLOUR, icc_profile=profile))
        with Image.open(io.BytesIO(encoded.data)) as image:
            assert image.info["icc_profile"] == profile

    def test_thumbnails_in_exif_and_xmp_go(self) -> None:
        data = jpeg(COLOUR, exif=exif(), xmp=XMP_PICTURE)
        encoded = check(data)
        assert {"exif_thumbnail_removed", "xmp_thumbnail_removed"} < set(encoded.notes)
        assert changes(data, encoded.data) == {"EXIF", "XMP"}
        assert b"\xff\xd8\xff" not in encoded.data
        assert b"/9j/" not in encoded.data

    def test_pictures_behind_the_first_go(self) -> None:
        data = jpeg(COLOUR) + jpeg(GREY)
        encoded = check(data)
        assert "trailing_data_removed" in encoded.notes
        assert changes(data, encoded.data) == {"TrailingData"}

    def test_other_segments_go_and_are_reported(self) -> None:
        data = with_segment(jpeg(COLOUR), 0xED, b"Photoshop 3.0\0" + THUMBNAIL)
        encoded = check(data)
        assert "application_segments_removed" in encoded.notes
        assert changes(data, encoded.data) == {"APPn"}
        assert THUMBNAIL not in encoded.data

    def test_a_thumbnail_in_the_jfif_header_goes(self) -> None:
        data = jpeg(COLOUR)
        jfif = data[6:20][:-2] + bytes([2, 2]) + bytes(range(12))
        data = data[:2] + segment(0xE0, jfif) + data[20:]
        encoded = check(data)
        assert "application_segments_removed" in encoded.notes

    def test_a_comment_that_is_no_text_stays_readable(self) -> None:
        encoded = check(with_segment(jpeg(COLOUR), 0xFE, b"a\0b\0"))
        assert b"Comment\0a b" in encoded.data


class TestChanges:
    def test_what_is_lost_is_undocumented(self) -> None:
        data = jpeg(COLOUR, exif=exif(b""), icc_profile=PROFILE, comment=b"c", dpi=(9, 9))
        data = with_segment(data, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_PLAIN)
        bare = png(COLOUR)
        found = set(undocumented(data, bare))
        assert {"XMP", "ICC", "Comment", "Density", "EXIF:Model", "EXIF:Orientation"} <= found
        assert "EXIF:Exif.ISOSpeedRatings" in found

    def test_what_came_is_undocumented(self) -> None:
        protected = check(jpeg(COLOUR)).data
        for name in (b"gAMA", b"tEXt", b"eXIf"):
            contents = {b"gAMA": b"\0\0\0\1", b"tEXt": b"Title\0t", b"eXIf": exif(b"")}
            assert undocumented(jpeg(COLOUR), with_chunk(protected, name, contents[name]))
        assert undocumented(jpeg(COLOUR), protected + b"x") == ["TrailingData"]

    def test_a_changed_tag_is_undocumented(self) -> None:
        data = jpeg(COLOUR, exif=exif())
        protected = check(data).data
        at = protected.index(b"eXIf")
        (length,) = struct.unpack_from(">I", protected, at - 4)
        cleaned = protected[at + 4 : at + 4 + length].replace(b"Scanner", b"Scammer")
        other = with_chunk(check(jpeg(COLOUR)).data, b"eXIf", cleaned)
        assert "EXIF:Model" in undocumented(data, other)


class TestRefused:
    def test_cmyk(self) -> None:
        buffer = io.BytesIO()
        Image.fromarray(COLOUR).convert("CMYK").save(buffer, "JPEG")
        with pytest.raises(UnsupportedImageError, match="CMYK"):
            module.describe(io.BytesIO(buffer.getvalue()))

    @pytest.mark.parametrize("marker", [0xC3, 0xC9, 0xF7])
    def test_other_processes(self, marker: int) -> None:
        data = jpeg(GREY).replace(b"\xff\xc0\x00\x0b", bytes([0xFF, marker, 0, 11]))
        with pytest.raises(UnsupportedImageError, match="lossless"):
            module.describe(io.BytesIO(data))

    def test_a_huge_matrix_is_refused_from_its_header(self) -> None:
        data = bytearray(jpeg(GREY))
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = b"\xff\xff\xff\xff"
        with pytest.raises(ImageTooLargeError):
            module.describe(io.BytesIO(data))

    def test_arrays_that_do_not_fit(self) -> None:
        file = module.open_file(jpeg(GREY))
        for wrong in ([], [GREY.T], [GREY.astype(np.uint16)]):
            with pytest.raises(ValueError, match="array"):
                file.encode(wrong, DERIVATION)

    def test_a_file_without_pixels(self) -> None:
        with pytest.raises(InputError):
            module.open_file(b"\xff\xd8\xff\xd9")

    def test_a_profile_without_a_number(self) -> None:
        assert outcome(with_segment(jpeg(GREY), 0xE2, b"ICC_PROFILE\0")) == "corrupt"

    @pytest.mark.parametrize("progressive", [False, True])
    def test_a_file_cut_anywhere_is_rejected(self, progressive: bool) -> None:
        data = jpeg(COLOUR[:20, :20].copy(), progressive=progressive)
        for end in range(len(data)):
            assert outcome(data[:end]) not in ("protected", "other"), end

    def test_a_file_without_its_end_is_refused_not_filled_with_grey(self) -> None:
        data = jpeg(COLOUR)
        with pytest.raises(CorruptImageError, match="cut short"):
            module.open_file(data[:-2])
