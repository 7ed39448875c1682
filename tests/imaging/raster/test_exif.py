"""EXIF and XMP lose their pictures, keep their tags, and damage does no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medprotect.imaging.pictures import holds_picture
from medprotect.imaging.raster.exif import (
    compare_tags,
    read_exif_tags,
    remove_exif_pictures,
    remove_xmp_pictures,
)
from medprotect.imaging.raster.segments import find_end

from .pictures import GREY, THUMBNAIL, XMP_PICTURE, XMP_PLAIN, exif, jpeg, png


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_say_what_they_said(order: str) -> None:
    before, after = exif(order=order), remove_exif_pictures(exif(order=order))
    assert len(before) == len(after)
    tags = read_exif_tags(after)
    assert tags["EXIF:Model"] == "Scanner"
    assert tags["EXIF:Orientation"] == 6
    assert tags["EXIF:Exif.ISOSpeedRatings"] == 400
    assert compare_tags(read_exif_tags(before), tags) == []


def test_nothing_of_the_thumbnail_is_left() -> None:
    cleaned = remove_exif_pictures(exif())
    assert not holds_picture(cleaned[8:])
    pieces = [THUMBNAIL[at : at + 16] for at in range(0, len(THUMBNAIL) - 16, 16)]
    assert not [piece for piece in pieces if piece.strip(b"\0") and piece in cleaned]


def test_an_uncompressed_thumbnail_goes_too() -> None:
    """Strips of IFD1 (tags 0111 and 0117) instead of a JPEG stream."""
    raw = bytes(range(1, 256)) * 3
    data = (
        exif(raw)
        .replace(b"\x01\x02\x04\0", b"\x11\x01\x04\0")
        .replace(b"\x02\x02\x04\0", b"\x17\x01\x04\0")
    )
    assert raw in data
    assert raw[:64] not in remove_exif_pictures(data)


def test_a_preview_in_a_maker_note_goes_with_the_thumbnail_inside_it() -> None:
    preview = jpeg(exif=exif())
    data = exif(b"") + b"Maker" + preview + b"kept"
    cleaned = remove_exif_pictures(data)
    assert cleaned[:160] == data[:160]
    assert cleaned.endswith(b"kept")
    assert set(cleaned[165:-4]) == {0}


def test_exif_without_pictures_is_not_touched() -> None:
    assert remove_exif_pictures(exif(b"")) == exif(b"")
    assert remove_exif_pictures(b"") == b""


@given(st.binary(max_size=300))
def test_damaged_exif_is_kept_or_blanked_but_never_fails(tail: bytes) -> None:
    for data in (tail, b"II*\0\x08\0\0\0" + tail, b"MM\0*\0\0\0\x08" + tail, exif()[:40] + tail):
        cleaned = remove_exif_pictures(data)
        assert len(cleaned) == len(data)
        read_exif_tags(cleaned)


def test_a_lost_changed_or_added_tag_is_named() -> None:
    one, other = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "d": 4}
    assert compare_tags(one, other) == ["b", "c", "d"]


@pytest.mark.parametrize("newline", ["", "\n", "&#xA;", "&#10;"])
def test_base64_of_pictures_goes_from_xmp_however_it_is_broken(newline: str) -> None:
    text = XMP_PICTURE.decode()
    start = text.index("/9j/")
    lines = newline.join(text[at : at + 60] for at in range(start, text.index("</xmpGImg"), 60))
    lines = lines[: lines.rindex("=") + 1] if "=" in lines[-80:] else lines.partition("<")[0]
    broken = text[:start] + lines + text[text.index("</xmpGImg") :]
    cleaned = remove_xmp_pictures(broken.encode())
    assert b"/9j/" not in cleaned
    assert len(cleaned) < len(XMP_PLAIN) + 100
    assert b"<xmp:CreatorTool>Scanner</xmp:CreatorTool>" in cleaned


def test_xmp_without_pictures_is_not_touched() -> None:
    assert remove_xmp_pictures(XMP_PLAIN) == XMP_PLAIN


def test_the_end_of_a_jpeg_stream_is_found_behind_all_that_it_holds() -> None:
    data = jpeg(exif=exif())
    assert find_end(b"head" + data + b"tail", 4) == 4 + len(data)
    assert find_end(data[:-2], 0) == len(data) - 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"some text about a PNG", False),
        (XMP_PLAIN, False),
        (b"x" + jpeg(GREY), True),
        (b"x" + png(GREY), True),
        (XMP_PICTURE, True),
        (b"x\xe0\x7f\x10\x00OW", True),
        (b"II*\0" + bytes(9), True),
        (b"x II*\0", False),
    ],
)
def test_pictures_are_found_in_bytes(data: bytes, expected: bool) -> None:
    assert holds_picture(data) is expected
