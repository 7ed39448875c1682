"""PNG: pixels change exactly, chunks stay, and no picture hides in them."""

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import skimage
from PIL import Image, PngImagePlugin

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    NotAnImageError,
    UnsupportedImageError,
)
from medprotect.imaging.raster import png as module

from ..protecting import DERIVATION, changes, check, outcome, stored, undocumented
from .pictures import (
    COLOUR,
    GREY,
    THUMBNAIL,
    XMP_PICTURE,
    XMP_PLAIN,
    Pixels,
    chunk,
    exif,
    png,
    with_chunk,
)

SHIPPED = sorted((Path(skimage.__file__).parent / "data").glob("*.png"))
ALPHA = np.where(GREY > 100, 255, 0).astype(np.uint8)
WIDE = GREY.astype(np.uint16) * 257 + 3
XMP_CHUNK = b"XML:com.adobe.xmp\0\0\0\0\0"

MODES = {
    "grey": GREY,
    "grey16": WIDE,
    "grey alpha": np.dstack([GREY, ALPHA]),
    "grey16 alpha": np.dstack([WIDE, ALPHA.astype(np.uint16) * 257]),
    "rgb": COLOUR,
    "rgb16": COLOUR.astype(np.uint16) * 251 + 1,
    "rgba": np.dstack([COLOUR, ALPHA]),
    "rgba16": np.dstack([COLOUR.astype(np.uint16) * 251, ALPHA.astype(np.uint16) * 257]),
}


def encode(pixels: Pixels) -> bytes:
    return bytes(imagecodecs.png_encode(pixels))


def interlaced(pixels: Pixels) -> bytes:
    """An Adam7 file of 8-bit grey, without filters."""
    rows, columns = pixels.shape
    raw = b""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    for top, left, down, across in (*passes, (1, 0, 2, 1)):
        raw += b"".join(b"\0" + line.tobytes() for line in pixels[top::down, left::across])
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 1)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def types(data: bytes) -> list[str]:
    names, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        names.append(data[at + 4 : at + 8].decode())
        at += 12 + length
    return names


class TestPixels:
    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_shipped_pictures_change_exactly(self, path: Path) -> None:
        data = path.read_bytes()
        encoded = check(data)
        assert changes(data, encoded.data) <= {"IHDR.Interlace"}

    @pytest.mark.parametrize("name", MODES)
    def test_every_mode_is_written_as_it_was(self, name: str) -> None:
        pixels = MODES[name]
        data = encode(pixels)
        encoded = check(data)
        after = imagecodecs.png_decode(encoded.data)
        assert after.shape == pixels.shape
        assert after.dtype == pixels.dtype
        assert encoded.data[:33] == data[:33]  # signature and IHDR
        assert np.abs(after.astype(int) - pixels).max() == 1

    @pytest.mark.parametrize("name", ["grey alpha", "grey16 alpha", "rgba", "rgba16"])
    def test_alpha_stays_and_what_is_transparent_is_locked(self, name: str) -> None:
        pixels = MODES[name]
        data = encode(pixels)
        image = next(module.open_file(data).images())
        assert image.locked is not None
        np.testing.assert_array_equal(image.locked, pixels[..., -1] == 0)
        after = imagecodecs.png_decode(check(data).data)
        np.testing.assert_array_equal(after[..., -1], pixels[..., -1])
        hidden = pixels[..., -1] == 0
        np.testing.assert_array_equal(after[hidden], pixels[hidden])

    def test_unchanged_pixels_decode_to_the_same(self) -> None:
        data = png(COLOUR)
        again = module.open_file(data).encode(stored(data), DERIVATION)
        np.testing.assert_array_equal(stored(again.data)[0], COLOUR)

    def test_interlaced_pictures_are_written_plainly(self) -> None:
        data = interlaced(GREY)
        np.testing.assert_array_equal(stored(data)[0], GREY)
        encoded = check(data)
        assert changes(data, encoded.data) == {"IHDR.Interlace"}
        assert encoded.data[28] == 0

    def test_pillow_reads_what_was_written(self) -> None:
        data = png(COLOUR)
        with Image.open(io.BytesIO(check(data).data)) as image:
            assert image.mode == "RGB"
            assert np.abs(np.asarray(image).astype(int) - COLOUR).max() == 1

    def test_gamma_and_profiles_have_no_say_in_stored_values(self) -> None:
        data = with_chunk(png(GREY), b"gAMA", struct.pack(">I", 100_000))
        np.testing.assert_array_equal(stored(data)[0], GREY)


class TestTransparentColour:
    def test_grey_that_is_transparent_is_locked_and_taken_by_no_other_pixel(self) -> None:
        key = int(GREY[5, 5])
        data = with_chunk(png(GREY), b"tRNS", struct.pack(">H", key))
        image = next(module.open_file(data).images())
        assert image.locked is not None
        np.testing.assert_array_equal(image.locked, key == GREY)
        assert image.forbidden == (key, key)
        encoded = check(data)
        np.testing.assert_array_equal(stored(encoded.data)[0] == key, key == GREY)

    def test_white_as_transparent_colour(self) -> None:
        pixels = COLOUR.copy()
        pixels[:5] = 255
        data = with_chunk(png(pixels), b"tRNS", struct.pack(">3H", 255, 255, 255))
        image = next(module.open_file(data).images())
        assert image.locked is not None
        assert image.locked[:5].all()
        check(data)

    def test_a_colour_that_is_not_grey_is_refused(self) -> None:
        data = with_chunk(png(COLOUR), b"tRNS", struct.pack(">3H", 1, 2, 3))
        with pytest.raises(UnsupportedImageError, match="transparent"):
            module.describe(io.BytesIO(data))

    def test_a_colour_of_the_wrong_length_is_refused(self) -> None:
        data = with_chunk(png(COLOUR), b"tRNS", b"\0\1")
        with pytest.raises(CorruptImageError, match="transparent"):
            module.open_file(data)


class TestMetadata:
    def test_chunks_stay_byte_for_byte_and_in_order(self) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text("Title", "T1 axial")
        info.add_text("Comment", "x" * 2000, zip=True)
        info.add_itxt("Author", "Größe", "de", "Autor")
        data = png(COLOUR, pnginfo=info, dpi=(300, 300), exif=exif(b""), icc_profile=b"x" * 200)
        data = with_chunk(data, b"prIv", b"private", before=b"IEND")
        data = with_chunk(data, b"tIME", bytes(7), before=b"IEND")
        encoded = check(data)
        assert encoded.notes == ()
        assert changes(data, encoded.data) == set()
        before, after = types(data), types(encoded.data)
        assert before == after
        assert {"tEXt", "zTXt", "iTXt", "pHYs", "eXIf", "iCCP", "prIv", "tIME"} <= set(after)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_the_thumbnail_of_exif_goes_and_its_tags_stay(self, order: str) -> None:
        data = with_chunk(png(COLOUR), b"eXIf", exif(order=order))
        assert THUMBNAIL in data
        encoded = check(data)
        assert encoded.notes == ("exif_thumbnail_removed",)
        assert changes(data, encoded.data) == {"eXIf"}
        assert b"\xff\xd8\xff" not in encoded.data
        with Image.open(io.BytesIO(encoded.data)) as image:
            tags = image.getexif()
            assert (tags[0x0110], tags[0x0112]) == ("Scanner", 6)
            assert tags.get_ifd(0x8769)[0x8827] == 400

    def test_exif_without_a_thumbnail_stays(self) -> None:
        data = with_chunk(png(COLOUR), b"eXIf", exif(b""))
        assert changes(data, check(data).data) == set()

    def test_xmp_loses_its_pictures_only(self) -> None:
        data = with_chunk(png(COLOUR), b"iTXt", XMP_CHUNK + XMP_PICTURE)
        encoded = check(data)
        assert encoded.notes == ("xmp_thumbnail_removed",)
        assert b"/9j/" not in encoded.data
        assert b"<xmp:CreatorTool>Scanner</xmp:CreatorTool>" in encoded.data
        plain = with_chunk(png(COLOUR), b"iTXt", XMP_CHUNK + XMP_PLAIN)
        assert check(plain).notes == ()

    def test_compressed_xmp_loses_its_pictures_too(self) -> None:
        content = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP_PICTURE)
        encoded = check(with_chunk(png(COLOUR), b"iTXt", content))
        assert encoded.notes == ("xmp_thumbnail_removed",)
        assert b"CreatorTool" in encoded.data

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            (b"prVW", b"layers"),
            (b"mkBT", b"layers"),
            (b"prIv", b"head" + THUMBNAIL),
            (b"prIv", png(GREY)),
            (b"tEXt", b"Thumb\0" + XMP_PICTURE),
            (b"zTXt", b"Thumb\0\0" + zlib.compress(XMP_PICTURE)),
            (
                b"zTXt",
                b"Raw profile type APP1\0\0"
                + zlib.compress(b"\nexif\n 9\n" + THUMBNAIL.hex().encode()),
            ),
        ],
    )
    def test_chunks_that_hold_a_picture_go(self, name: bytes, content: bytes) -> None:
        data = with_chunk(png(COLOUR), name, content)
        encoded = check(data)
        assert encoded.notes == ("picture_chunk_removed",)
        assert name.decode() not in types(encoded.data)

    @pytest.mark.parametrize(
        ("name", "note"),
        [
            (b"caBX", "signature_removed"),
            (b"dSIG", "signature_removed"),
            (b"iDOT", "pixel_index_removed"),
        ],
    )
    def test_what_speaks_of_the_old_pixels_goes(self, name: bytes, note: str) -> None:
        data = with_chunk(png(COLOUR), name, bytes(28))
        encoded = check(data)
        assert encoded.notes == (note,)
        assert changes(data, encoded.data) == {name.decode()}

    def test_what_follows_the_last_chunk_goes(self) -> None:
        data = png(COLOUR) + png(GREY)
        encoded = check(data)
        assert encoded.notes == ("trailing_data_removed",)
        assert changes(data, encoded.data) == {"TrailingData"}
        assert encoded.data.endswith(chunk(b"IEND", b""))


class TestChanges:
    def test_a_changed_text_is_undocumented(self) -> None:
        one = with_chunk(png(COLOUR), b"tEXt", b"Title\0a")
        other = with_chunk(png(COLOUR), b"tEXt", b"Title\0b")
        assert "tEXt" in undocumented(one, other)
        assert undocumented(one, png(COLOUR)) == ["tEXt"]
        assert undocumented(png(COLOUR), one) == ["tEXt"]

    def test_a_changed_order_is_undocumented(self) -> None:
        data = png(COLOUR)
        one = with_chunk(with_chunk(data, b"teXa", b"a"), b"teXb", b"b")
        other = with_chunk(with_chunk(data, b"teXb", b"b"), b"teXa", b"a")
        assert undocumented(one, other)

    def test_another_size_or_depth_is_undocumented(self) -> None:
        assert undocumented(encode(GREY), encode(WIDE)) == ["IHDR"]
        assert undocumented(encode(GREY), encode(GREY[:-1].copy())) == ["IHDR"]

    def test_a_lost_exif_tag_is_undocumented(self) -> None:
        one = with_chunk(png(COLOUR), b"eXIf", exif())
        other = with_chunk(png(COLOUR), b"eXIf", exif().replace(b"Scanner", b"Scammer"))
        assert undocumented(one, other)

    def test_a_moved_place_of_the_pixels_is_undocumented(self) -> None:
        one = with_chunk(png(COLOUR), b"teXt", b"a")
        other = with_chunk(png(COLOUR), b"teXt", b"a", before=b"IEND")
        assert undocumented(one, other)


class TestRefused:
    @pytest.mark.parametrize("mode", ["P", "1"])
    def test_palettes_and_single_bits(self, mode: str) -> None:
        buffer = io.BytesIO()
        Image.fromarray(GREY).convert(mode).save(buffer, "PNG")
        with pytest.raises(UnsupportedImageError, match=r"palette|bits"):
            module.describe(io.BytesIO(buffer.getvalue()))

    def test_animations(self) -> None:
        buffer = io.BytesIO()
        frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
        frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
        with pytest.raises(UnsupportedImageError, match="animated"):
            module.describe(io.BytesIO(buffer.getvalue()))

    def test_arrays_that_do_not_fit(self) -> None:
        file = module.open_file(png(GREY))
        for wrong in ([], [GREY, GREY], [GREY.T], [GREY.astype(np.uint16)]):
            with pytest.raises(ValueError, match="image"):
                file.encode(wrong, DERIVATION)

    def test_a_huge_matrix_is_refused_from_its_header(self) -> None:
        header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
        parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
        assert len(data) < 1024
        with pytest.raises(ImageTooLargeError):
            module.describe(io.BytesIO(data))
        with pytest.raises(ImageTooLargeError):
            module.open_file(data)

    def test_a_text_bomb_is_inflated_to_the_limit_only(self) -> None:
        bomb = zlib.compressobj(9)
        packed = b"".join(bomb.compress(bytes(1 << 24)) for _ in range(8)) + bomb.flush()
        data = with_chunk(png(GREY), b"zTXt", b"Comment\0\0" + packed)
        assert module.describe(io.BytesIO(data)).kind == "png image"
        with pytest.raises(ImageTooLargeError):
            module.open_file(data).encode([GREY], DERIVATION)

    @pytest.mark.parametrize("kept", [0, 1, 20, 500])
    def test_too_few_pixels_are_refused_though_the_chunk_is_whole(self, kept: int) -> None:
        raw = b"".join(b"\0" + line.tobytes() for line in GREY)
        packed = zlib.compress(raw[:kept])
        header = struct.pack(">IIBBBBB", GREY.shape[1], GREY.shape[0], 8, 0, 0, 0, 0)
        parts = [chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
        with pytest.raises(CorruptImageError):
            list(module.open_file(data).images())

    @pytest.mark.parametrize(
        "order",
        [("IDAT", "IHDR", "IEND"), ("IHDR", "IEND"), ("IHDR", "IDAT", "tEXt", "IDAT", "IEND")],
    )
    def test_chunks_in_a_wrong_order_are_refused(self, order: tuple[str, ...]) -> None:
        data = png(GREY)
        contents = {
            "IHDR": data[16:29],
            "IDAT": zlib.compress(bytes(2000)),
            "IEND": b"",
            "tEXt": b"a\0b",
        }
        made = data[:8] + b"".join(chunk(name.encode(), contents[name]) for name in order)
        with pytest.raises(InputError):
            module.open_file(made)

    def test_a_wrong_checksum_is_refused(self) -> None:
        data = bytearray(png(GREY))
        data[len(data) // 2] ^= 1
        with pytest.raises(CorruptImageError, match="checksum"):
            module.open_file(bytes(data))

    def test_what_is_no_png_is_not(self) -> None:
        with pytest.raises(NotAnImageError):
            module.describe(io.BytesIO(b"GIF89a"))

    def test_a_file_cut_anywhere_is_rejected(self) -> None:
        data = with_chunk(png(COLOUR[:20, :20].copy()), b"eXIf", exif())
        for end in range(len(data)):
            assert outcome(data[:end]) not in ("protected", "other"), end
