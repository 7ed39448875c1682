"""TIFF: pixels change exactly, tags stay, and no clean copy is left between them."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import tifffile
from PIL import Image

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    UnsupportedImageError,
)
from medprotect.imaging.raster import tiff as module
from medprotect.imaging.raster.directories import Structure
from medprotect.imaging.raster.tiff_changes import DOCUMENTED_CHANGES

from ..protecting import DERIVATION, changes, check, outcome, protect, stored, undocumented
from .pictures import COLOUR, GREY, THUMBNAIL, XMP_PICTURE, Pixels, exif, tiff

SHIPPED = Path(skimage.__file__).parent / "data" / "multipage.tif"
WIDE = GREY.astype(np.uint16) * 257 + 3
ALPHA = np.where(GREY > 100, 255, 0).astype(np.uint8)
LOCATIONS = {"StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts"}
TAGS: dict[str, Any] = {
    "resolution": (300, 200),
    "description": "T1 axial",
    "software": "scanner",
    "extratags": [
        (65001, 1, 5, b"abcde", True),
        (65002, 12, 2, (1.5, 2.5), True),
        (65003, 2, 0, "private", True),
        (34675, 7, 200, bytes(range(200)), True),
    ],
    "metadata": None,
}
KINDS: dict[str, tuple[Pixels, str]] = {
    "grey": (GREY, "minisblack"),
    "inverted": (GREY, "miniswhite"),
    "grey16": (WIDE, "minisblack"),
    "signed": (GREY.astype(np.int16) - 100, "minisblack"),
    "grey32": (WIDE.astype(np.uint32) * 1000, "minisblack"),
    "float": (GREY.astype(np.float32) / 7, "minisblack"),
    "rgb": (COLOUR, "rgb"),
    "rgb16": (COLOUR.astype(np.uint16) * 251, "rgb"),
}
PREDICTABLE = ("lzw", "zlib", "zstd")


def pages(data: bytes) -> list[Pixels]:
    """Every page, as tifffile reads it."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return [page.asarray() for page in file.pages]


def tags(data: bytes, page: int = 0) -> dict[str, Any]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return {tag.name: (tag.dtype, tag.count, tag.value) for tag in file.pages[page].tags}


class TestPixels:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd"])
    @pytest.mark.parametrize("layout", ["strips", "tiles"])
    def test_every_kind_is_written_as_it_was(
        self, kind: str, compression: str | None, layout: str
    ) -> None:
        pixels, photometric = KINDS[kind]
        place = {"tile": (16, 32)} if layout == "tiles" else {"rowsperstrip": 8}
        options: dict[str, Any] = {"photometric": photometric, "compression": compression}
        data = tiff(pixels, **options, **place, **TAGS)
        np.testing.assert_array_equal(stored(data)[0], pixels)
        encoded = check(data)
        assert changes(data, encoded.data) <= (LOCATIONS if compression else set())
        changed, _ = protect(data)
        np.testing.assert_array_equal(pages(encoded.data)[0], changed[0])

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
    @pytest.mark.parametrize("kind", ["grey16", "rgb", "float"])
    def test_both_orders_and_both_sizes(
        self, order: str, big: bool, compression: str | None, kind: str
    ) -> None:
        pixels, photometric = KINDS[kind]
        data = tiff(
            pixels,
            byteorder=order,
            bigtiff=big,
            compression=compression,
            photometric=photometric,
            rowsperstrip=5,
            **TAGS,
        )
        np.testing.assert_array_equal(stored(data)[0], pixels)
        encoded = check(data)
        assert encoded.data[:4] == data[:4]
        np.testing.assert_array_equal(pages(encoded.data)[0], protect(data)[0][0])

    @pytest.mark.parametrize("compression", PREDICTABLE)
    @pytest.mark.parametrize("kind", ["grey", "grey16", "rgb", "rgb16", "float", "signed"])
    @pytest.mark.parametrize("tile", [None, (16, 16)])
    def test_predictors(self, compression: str, kind: str, tile: tuple[int, int] | None) -> None:
        pixels, photometric = KINDS[kind]
        data = tiff(
            pixels, compression=compression, predictor=True, photometric=photometric, tile=tile
        )
        np.testing.assert_array_equal(stored(data)[0], pixels)
        encoded = check(data)
        np.testing.assert_array_equal(pages(encoded.data)[0], protect(data)[0][0])

    def test_unchanged_uncompressed_pixels_give_the_same_file(self) -> None:
        data = SHIPPED.read_bytes()
        assert module.open_file(data).encode(stored(data), DERIVATION).data == data

    def test_alpha_stays_and_what_is_transparent_is_locked(self) -> None:
        pixels = np.dstack([COLOUR, ALPHA])
        for compression in (None, "zlib"):
            data = tiff(
                pixels, photometric="rgb", extrasamples=["unassalpha"], compression=compression
            )
            image = next(module.open_file(data).images())
            assert image.stored.shape == COLOUR.shape
            assert image.locked is not None
            np.testing.assert_array_equal(image.locked, ALPHA == 0)
            after = pages(check(data).data)[0]
            np.testing.assert_array_equal(after[..., 3], ALPHA)
            np.testing.assert_array_equal(after[ALPHA == 0], pixels[ALPHA == 0])

    def test_pages_are_images_in_their_order(self) -> None:
        stack = np.stack([GREY, GREY + 1, GREY - 1])
        data = tiff(stack, photometric="minisblack", compression="lzw")
        assert len(stored(data)) == 3
        changed, encoded = protect(data)
        for one, other in zip(pages(check(data).data), changed, strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(pages(encoded.data)) == 3

    def test_minisblack_and_miniswhite_have_their_words(self) -> None:
        for photometric, word in (("minisblack", "MONOCHROME2"), ("miniswhite", "MONOCHROME1")):
            description = module.describe(io.BytesIO(tiff(GREY, photometric=photometric)))
            assert description.traits is not None
            assert description.traits.photometric == word

    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
    def test_files_of_libtiff(self, compression: str | None) -> None:
        for pixels in (GREY, COLOUR, WIDE):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "TIFF", compression=compression, dpi=(72, 72))
            encoded = check(buffer.getvalue())
            with Image.open(io.BytesIO(encoded.data)) as image:
                found = np.asarray(image)
            np.testing.assert_array_equal(found, protect(buffer.getvalue())[0][0])


class TestLossy:
    @pytest.mark.parametrize(("pixels", "photometric"), [(GREY, "minisblack"), (COLOUR, "ycbcr")])
    @pytest.mark.parametrize("tile", [None, (32, 32)])
    def test_jpeg_becomes_deflate_with_the_decoded_pixels(
        self, pixels: Pixels, photometric: str, tile: tuple[int, int] | None
    ) -> None:
        place = {"tile": tile} if tile else {"rowsperstrip": 16}
        data = tiff(pixels, compression="jpeg", photometric=photometric, **place)
        np.testing.assert_array_equal(stored(data)[0], pages(data)[0])
        encoded = check(data)
        assert "promoted_to_lossless" in encoded.notes
        found = tags(encoded.data)
        assert int(found["Compression"][2]) == 8
        assert not {"JPEGTables", "YCbCrSubSampling", "ReferenceBlackWhite"} & found.keys()
        np.testing.assert_array_equal(pages(encoded.data)[0], protect(data)[0][0])

    def test_jpeg_with_tables_of_libtiff(self) -> None:
        buffer = io.BytesIO()
        Image.fromarray(COLOUR).save(buffer, "TIFF", compression="jpeg")
        data = buffer.getvalue()
        assert "JPEGTables" in tags(data)
        assert "JPEGTables" in changes(data, check(data).data)


class TestTags:
    @pytest.mark.parametrize("compression", [None, "lzw"])
    def test_all_tags_stay_with_their_types(self, compression: str | None) -> None:
        data = tiff(COLOUR, photometric="rgb", compression=compression, **TAGS)
        before, after = tags(data), tags(check(data).data)
        assert list(before) == list(after)
        assert {n: v for n, v in before.items() if n not in LOCATIONS} == {
            n: v for n, v in after.items() if n not in LOCATIONS
        }

    def test_a_picture_in_xmp_goes(self) -> None:
        data = tiff(GREY, extratags=[(700, 1, len(XMP_PICTURE), XMP_PICTURE, True)])
        encoded = check(data)
        assert "xmp_thumbnail_removed" in encoded.notes
        assert changes(data, encoded.data) == {"XMP"}
        assert b"/9j/" not in encoded.data
        assert b"CreatorTool" in encoded.data

    def test_the_thumbnail_of_photoshop_goes(self) -> None:
        def resource(number: int, content: bytes) -> bytes:
            head = b"8BIM" + struct.pack(">HHI", number, 0, len(content))
            return head + content + bytes(len(content) % 2)

        raw = bytes(range(256)) * 4
        value = resource(1028, b"caption") + resource(1036, raw) + resource(1033, THUMBNAIL)
        data = tiff(GREY, extratags=[(34377, 1, len(value), value, True)])
        encoded = check(data)
        assert "photoshop_thumbnail_removed" in encoded.notes
        assert raw not in encoded.data
        assert b"\xff\xd8\xff" not in encoded.data
        assert b"caption" in encoded.data

    def test_the_layers_of_photoshop_go(self) -> None:
        value = b"Adobe Photoshop Document Data Block\0" + GREY.tobytes()
        data = tiff(GREY, extratags=[(37724, 7, len(value), value, True)])
        encoded = check(data)
        assert "picture_tag_removed" in encoded.notes
        assert changes(data, encoded.data) == {"ImageSourceData"}
        assert GREY.tobytes() not in encoded.data
        assert b"Adobe Photoshop" not in encoded.data

    @pytest.mark.parametrize("value", [THUMBNAIL, b"head" * 20 + THUMBNAIL, exif()])
    def test_a_picture_in_a_private_tag_is_overwritten(self, value: bytes) -> None:
        data = tiff(GREY, extratags=[(65001, 7, len(value), value, True)])
        encoded = check(data)
        assert encoded.notes == ("picture_tag_blanked",)
        assert changes(data, encoded.data) == {"PictureTag"}
        assert THUMBNAIL[:64] not in encoded.data


class TestCopies:
    """One clean copy undoes the rest."""

    def pyramid(self, **options: Any) -> bytes:
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as writer:
            small = COLOUR[::2, ::2].copy()
            writer.write(COLOUR, subifds=2, photometric="rgb", metadata=None, **options)
            writer.write(small, subfiletype=1, photometric="rgb", metadata=None, **options)
            writer.write(small, subfiletype=1, photometric="rgb", metadata=None, **options)
        return buffer.getvalue()

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_reduced_images_in_sub_directories_go(self, compression: str | None) -> None:
        data = self.pyramid(compression=compression)
        small = COLOUR[::2, ::2].copy().tobytes()
        assert compression or small in data
        encoded = check(data)
        assert "reduced_resolution_page_removed" in encoded.notes
        assert "SubIFDs" in changes(data, encoded.data)
        assert small not in encoded.data
        assert "SubIFDs" not in tags(encoded.data)

    @pytest.mark.parametrize("first", [True, False])
    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_reduced_pages_go_wherever_they_are(self, first: bool, compression: str | None) -> None:
        buffer = io.BytesIO()
        small = GREY[::2, ::2].copy()
        options: dict[str, Any] = {"metadata": None, "photometric": "minisblack"}
        with tifffile.TiffWriter(buffer) as writer:
            if first:
                writer.write(small, subfiletype=1, **options)
            writer.write(GREY, compression=compression, **options)
            writer.write(small, subfiletype=1, **options)
            writer.write(GREY + 1, compression="lzw", **options)
        data = buffer.getvalue()
        encoded = check(data)
        assert "ReducedPage" in changes(data, encoded.data)
        assert small.tobytes() not in encoded.data
        assert [page.shape for page in pages(encoded.data)] == [GREY.shape] * 2

    @pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd", "jpeg"])
    def test_nothing_of_the_old_strips_is_left(self, compression: str) -> None:
        noise = np.random.default_rng(3).integers(0, 256, (64, 64), np.uint8)
        data = tiff(noise, compression=compression, rowsperstrip=16)
        structure = Structure(data)
        entries = structure.pages[0].entries
        spans = zip(structure.integers(entries[273]), structure.integers(entries[279]), strict=True)
        encoded = check(data)
        for at, size in spans:
            assert data[at + size // 2 : at + size // 2 + 64] not in encoded.data

    def test_remains_that_no_tag_refers_to_are_overwritten(self) -> None:
        data = tiff(GREY, metadata=None)
        secret = GREY[::4, ::4].tobytes()
        encoded = check(data + secret)
        assert encoded.notes == ("unreferenced_data_removed",)
        assert secret not in encoded.data
        assert len(encoded.data) == len(data) + len(secret)

    def test_much_that_no_tag_refers_to_is_refused(self) -> None:
        """As of ImageJ: one directory, and all further images right behind the first."""
        data = tiff(GREY, metadata=None)
        with pytest.raises(UnsupportedImageError, match="no TIFF page tells of"):
            module.describe(io.BytesIO(data + bytes(range(256)) * 300))

    def test_a_truncated_imagej_stack_is_refused(self) -> None:
        stack = np.random.default_rng(0).integers(0, 256, (4, 200, 200), np.uint8)
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, stack, photometric="minisblack", truncate=True)
        assert outcome(buffer.getvalue()) == "unsupported"


class TestChanges:
    def test_a_changed_tag_is_undocumented(self) -> None:
        one, other = (tiff(GREY, description=text, metadata=None) for text in ("T1", "T2"))
        assert undocumented(one, other) == ["ImageDescription"]

    def test_a_lost_and_an_added_tag_are_undocumented(self) -> None:
        plain = tiff(GREY, metadata=None)
        tagged = tiff(GREY, metadata=None, extratags=[(65001, 3, 1, 7, True)])
        assert undocumented(plain, tagged) == ["65001"]
        assert undocumented(tagged, plain) == ["65001"]

    def test_another_compression_or_number_of_pages_is_undocumented(self) -> None:
        one, other = tiff(GREY, metadata=None), tiff(GREY, metadata=None, compression="lzw")
        assert "Compression" in undocumented(one, other)
        stack = tiff(np.stack([GREY, GREY]), photometric="minisblack", metadata=None)
        assert "pages" in undocumented(stack, one)

    def test_another_byte_order_is_undocumented(self) -> None:
        assert "header" in undocumented(tiff(GREY), tiff(GREY, byteorder=">"))

    def test_a_blanked_tag_that_held_no_picture_is_undocumented(self) -> None:
        one, other = (
            tiff(GREY, metadata=None, extratags=[(65001, 7, 100, value, True)])
            for value in (b"x" * 100, bytes(100))
        )
        assert undocumented(one, other) == ["65001"]

    def test_all_that_can_differ_is_listed(self) -> None:
        data = TestCopies().pyramid(compression="jpeg")
        assert changes(data, check(data).data) <= DOCUMENTED_CHANGES


class TestRefused:
    @pytest.mark.parametrize("mode", ["1", "P", "CMYK", "LAB"])
    def test_other_kinds_of_pixels(self, mode: str) -> None:
        buffer = io.BytesIO()
        image = Image.fromarray(COLOUR)
        (image.convert(mode) if mode != "LAB" else Image.new("LAB", (9, 9))).save(buffer, "TIFF")
        with pytest.raises(UnsupportedImageError):
            module.describe(io.BytesIO(buffer.getvalue()))

    def test_separate_planes_complex_and_wide_samples(self) -> None:
        planes = np.moveaxis(COLOUR, -1, 0).copy()
        for data in (
            tiff(planes, photometric="rgb", planarconfig="separate"),
            tiff(GREY.astype(np.complex64)),
            tiff(GREY.astype(np.int64)),
            tiff(np.dstack([COLOUR, GREY, GREY]), photometric="rgb"),
        ):
            with pytest.raises(UnsupportedImageError):
                module.describe(io.BytesIO(data))

    def test_masks_and_files_of_reduced_images_only(self) -> None:
        data = tiff(GREY, subfiletype=1)
        for kind in (1, 4):
            changed = bytearray(data)
            structure = Structure(data)
            structure.put_integers(changed, structure.pages[0].entries[254], [kind])
            with pytest.raises(UnsupportedImageError):
                module.describe(io.BytesIO(changed))

    def test_arrays_that_do_not_fit(self) -> None:
        file = module.open_file(tiff(GREY))
        for wrong in ([], [GREY.T], [WIDE], [GREY, GREY]):
            with pytest.raises(ValueError, match="page"):
                file.encode(wrong, DERIVATION)

    def altered(self, tag: int, value: int, **options: Any) -> bytes:
        data = bytearray(tiff(GREY, **options))
        structure = Structure(bytes(data))
        entry = structure.pages[0].entries[tag]
        structure.put_integers(data, entry, [value] * entry.count)
        return bytes(data)

    @pytest.mark.parametrize(
        ("tag", "value"),
        [(256, 0), (257, 0), (257, 4000), (273, 10**9), (279, 10), (279, 0), (258, 7), (259, 99)],
    )
    def test_nonsense_in_tags(self, tag: int, value: int) -> None:
        data = self.altered(tag, value)
        with pytest.raises(InputError):
            list(module.open_file(data).images())

    def test_a_huge_matrix_is_refused_from_its_tags(self) -> None:
        for compression in (None, "zlib"):
            data = bytearray(self.altered(256, 60_000, compression=compression))
            structure = Structure(bytes(data))
            structure.put_integers(data, structure.pages[0].entries[257], [60_000])
            with pytest.raises((ImageTooLargeError, CorruptImageError)):
                module.describe(io.BytesIO(data))

    def test_directories_in_a_circle(self) -> None:
        data = bytearray(tiff(GREY))
        page = Structure(bytes(data)).pages[0]
        struct.pack_into("<I", data, page.end - 4, page.at)
        with pytest.raises(CorruptImageError, match="circle"):
            module.open_file(bytes(data))

    def test_pixels_over_tags(self) -> None:
        data = self.altered(273, Structure(tiff(GREY)).pages[0].at)
        with pytest.raises(CorruptImageError):
            module.open_file(data)

    @pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "jpeg"])
    def test_a_file_cut_anywhere_is_rejected(self, compression: str | None) -> None:
        data = tiff(GREY[:20, :20].copy(), compression=compression, rowsperstrip=8, metadata=None)
        for end in range(2, len(data)):
            assert outcome(data[:end]) not in ("protected", "other"), end
        assert outcome(data) == "protected"

    @pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "jpeg"])
    def test_mutations_never_end_in_another_error(self, compression: str | None) -> None:
        random = np.random.default_rng(1)
        data = tiff(GREY[:20, :20].copy(), compression=compression, rowsperstrip=8)
        for _ in range(200):
            changed = bytearray(data)
            for at in (random.random(3) ** 2 * len(data)).astype(int):
                changed[at] = random.choice([0, 1, 255, random.integers(256)])
            outcome(bytes(changed))
