"""Damaged files end in one of our errors, or in a file that holds what it should."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medprotect.errors import CorruptImageError, InputError, MedprotectError
from medprotect.imaging import dicom
from medprotect.imaging.image import Role

from .conftest import protect, read, stored

Shipped = Callable[[str], bytes]

SEEDS = [
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_rgb_rle_2frame.dcm",
    "nested_priv_SQ.dcm",
]


def outcome(data: bytes) -> str:
    """What becomes of a file; whatever is not ours comes out as an exception."""
    try:
        if dicom.describe(io.BytesIO(data)).role is Role.OTHER:
            return "other"
        changed, encoded = protect(data)
        np.testing.assert_array_equal(np.stack(stored(encoded.data)), np.stack(changed))
    except InputError:
        return "rejected"
    return "protected"


@pytest.mark.parametrize("name", SEEDS[:7])
def test_a_file_cut_anywhere_is_rejected(shipped: Shipped, name: str) -> None:
    """Cut behind the pixels, where an element ends, nothing of the image is missing."""
    data = shipped(name)
    pixels = data.rindex(b"\xe0\x7f\x10\x00" if "bigendian" not in name else b"\x7f\xe0\x00\x10")
    for end in {*range(0, len(data), 23), *range(pixels, min(pixels + 20, len(data)))}:
        found = outcome(data[:end])
        assert found == "rejected" or (found == "protected" and end > pixels + 100)
    assert outcome(data) == "protected"


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.sampled_from(["set", "insert", "delete"]),
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from(
                    [b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"SQ", b"UN"]
                ),
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_file_never_ends_in_another_error(
    shipped: Shipped, name: str, edits: list[tuple[float, str, bytes]]
) -> None:
    data = bytearray(shipped(name))
    for place, kind, value in edits:
        # Squared, because headers are where damage does most.
        at = 128 + int(place * place * (len(data) - 128))
        if kind == "set":
            data[at : at + len(value)] = value
        elif kind == "insert":
            data[at:at] = value
        else:
            del data[at : at + len(value)]
    assert outcome(bytes(data)) in ("other", "rejected", "protected")


def test_compressed_pixels_in_an_element_of_defined_length_are_refused(shipped: Shipped) -> None:
    """As pydicom issue 2324: elsewhere it ends in an output without pixels."""
    data = shipped("MR_small_RLE.dcm")
    at = data.rindex(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff")
    end = data.rindex(b"\xfe\xff\xdd\xe0")
    defined = data[: at + 8] + struct.pack("<I", end - at - 12) + data[at + 12 : end]
    with pytest.raises(CorruptImageError, match="native pixel data in an encapsulated"):
        dicom.open_file(defined)


def test_more_or_fewer_frames_than_the_header_says_are_refused(shipped: Shipped) -> None:
    data = shipped("SC_rgb_rle_2frame.dcm")
    assert read(data).NumberOfFrames == 2
    for frames in (b"1 ", b"3 "):
        element = b"\x28\0\x08\0IS\x02\0"
        with pytest.raises(CorruptImageError):
            list(dicom.open_file(data.replace(element + b"2 ", element + frames)).images())


def test_a_jpeg_frame_cut_short_is_not_filled_with_grey(shipped: Shipped) -> None:
    """libjpeg would fill it, and say nothing."""
    from pydicom.encaps import encapsulate, generate_frames

    from .conftest import write

    dataset = read(shipped("JPEG-lossy.dcm"))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(CorruptImageError):
        stored(write(dataset))


def test_two_pixel_elements_are_refused(shipped: Shipped) -> None:
    """The second would be a clean copy of the first."""
    data = shipped("CT_small.dcm")
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    length = 12 + 128 * 128 * 2
    twice = data[: at + length] + data[at : at + length] + data[at + length :]
    with pytest.raises(CorruptImageError, match="twice"):
        dicom.open_file(twice)


def test_errors_hold_nothing_of_the_file(shipped: Shipped) -> None:
    data = shipped("MR_small.dcm").replace(b"CompressedSamples^MR1", b"CANARYCANARY^CANARY^1")
    assert b"CANARY" in data
    messages = set()
    for end in range(132, len(data), 61):
        try:
            dicom.open_file(data[:end])
        except MedprotectError as error:
            messages.add(str(error))
    assert messages
    assert not any("CANARY" in message for message in messages)


def test_nothing_is_printed_about_a_damaged_file(shipped: Shipped) -> None:
    """pydicom logs and warns, and quotes values where it does."""
    program = """
import sys
from medprotect.errors import MedprotectError
from medprotect.imaging import dicom
data = sys.stdin.buffer.read()
for place in range(300, len(data), 97):
    damaged = data[:place] + b"\\xff\\x00" + data[place + 2:]
    try:
        file = dicom.open_file(damaged)
        list(file.images())
        dicom.changed_elements(damaged, damaged)
    except MedprotectError:
        pass
"""
    for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small.dcm"):
        result = subprocess.run(
            [sys.executable, "-c", program], input=shipped(name), capture_output=True, check=True
        )
        assert result.stdout == b""
        assert result.stderr == b""
