"""Frames go through memory one at a time, and a file comes out as if they had not."""

import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from medprotect.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputChangedError,
)
from medprotect.imaging import dicom, formats
from medprotect.imaging.dicom import codecs
from medprotect.imaging.dicom.elements import encode_element
from medprotect.imaging.dicom.layout import PixelLayout
from medprotect.imaging.second_reading import read_again

from .conftest import DERIVATION, add_noise, protect, read, stored, write
from .test_codecs import compressed

Shipped = Callable[[str], bytes]
Made = Callable[..., bytes]

FRAMES = 240


def many(made: Made, kind: str) -> bytes:
    """A file of 240 frames of 96 x 96, each like no other."""
    cells = np.random.default_rng(0).integers(0, 4096, (FRAMES, 96, 96)).astype("<u2")
    native = made(cells, frames=FRAMES, BitsStored=12, HighBit=11)
    if kind == "native":
        return native
    layout = PixelLayout(96, 96, FRAMES, 1, 16, 12, 11, False, False, "MONOCHROME2")
    codec = codecs.CODECS[kind]
    frames = [codec.encode(frame.astype("u2"), layout, 12) for frame in cells]
    return compressed(native, kind, frames)


def rewritten(source: Path, target: Path, scratch: Path) -> None:
    """Protect a file from disk to disk."""
    with source.open("rb") as stream, scratch.open("w+b") as frames, target.open("wb") as new:
        file = dicom.open_stream(stream)
        rewriting = file.rewrite(frames)
        for seed, image in enumerate(file.images()):
            rewriting.add(add_noise(image, seed))
        new.writelines(rewriting.finish(DERIVATION).chunks())


@pytest.mark.parametrize("kind", ["native", codecs.JPEG_LS_LOSSLESS])
def test_memory_holds_a_few_frames_and_the_file_is_that_made_in_memory(
    made: Made, tmp_path: Path, kind: str
) -> None:
    data = many(made, kind)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(data)
    rewritten(source, target, tmp_path / "scratch")  # whatever is imported, is now
    tracemalloc.start()
    try:
        rewritten(source, target, tmp_path / "scratch")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        with source.open("rb") as one, target.open("rb") as other:
            assert formats.undocumented_changes(one, other) == []
            before, after = formats.open_stream(one), formats.open_stream(other)
            pairs = zip(before.images(), after.images(), strict=True)
            assert any((a.stored != b.stored).any() for a, b in pairs)
            again = read_again(one, "dicom")
            assert again is not None
            assert sum(1 for _ in again) == FRAMES
        _, peak_of_reading = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(data) / 2
    assert peak_of_reading < len(data) / 2
    assert target.read_bytes() == protect(data)[1].data


def test_elements_behind_the_pixels_stay_and_group_lengths_count_them(shipped: Shipped) -> None:
    dataset = read(shipped("SC_rgb_rle_2frame.dcm"))
    dataset.add_new(0xFFFCFFFC, "OB", b"padding!")
    data = write(dataset)
    at = data.index(b"\xe0\x7f\x10\x00OB")
    behind = data.index(b"\xfc\xff\xfc\xff")
    group = struct.pack("<HH2sHI", 0x7FE0, 0, b"UL", 4, behind - at)
    data = data[:at] + group + data[at:]
    changed, encoded = protect(data)
    np.testing.assert_array_equal(np.stack(stored(encoded.data)), np.stack(changed))
    assert encoded.data.endswith(data[behind + len(group) :])
    at = encoded.data.index(b"\xe0\x7f\x10\x00OB")
    (length,) = struct.unpack_from("<I", encoded.data, at - 4)
    assert length == encoded.data.index(b"\xfc\xff\xfc\xff") - at


@pytest.mark.parametrize("frames", [2, 3])
def test_odd_frames_in_swapped_words_come_back(shipped: Shipped, frames: int) -> None:
    dataset = read(shipped("SC_rgb_small_odd_big_endian.dcm"))
    size = 3 * dataset.Rows * dataset.Columns
    assert size % 2 == 1
    cells = np.random.default_rng(0).integers(0, 256, frames * size + frames * size % 2)
    words = cells.astype("u1").reshape(-1, 2)[:, ::-1]
    dataset.NumberOfFrames, dataset.PixelData = frames, words.tobytes()
    data = write(dataset, little_endian=False, implicit_vr=False)
    assert read(data).file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    changed, encoded = protect(data)
    np.testing.assert_array_equal(read(data).pixel_array, np.stack(stored(data)))
    np.testing.assert_array_equal(read(encoded.data).pixel_array, np.stack(changed))
    assert read(encoded.data).PixelData[-2:-1] == read(data).PixelData[-2:-1] or frames == 2
    again = read_again(io.BytesIO(encoded.data), "dicom")
    np.testing.assert_array_equal(np.stack(list(again or ())), np.stack(changed))


@pytest.mark.parametrize("table", ["none", "basic", "extended"])
def test_frames_are_encapsulated_as_pydicom_does_it(made: Made, table: str) -> None:
    data = many(made, codecs.JPEG_LS_LOSSLESS)
    dataset = read(data)
    _, encoded = protect(data)
    frames = list(_codestreams(encoded.data))
    assert any(len(frame.rstrip(b"\0")) % 2 for frame in frames), "some are padded"
    elements: dict[str, Any] = {}
    if table == "extended":
        value, offsets, lengths = encapsulate_extended(frames)
        elements = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    else:
        value = encapsulate(frames, has_bot=table == "basic")
    dataset.PixelData = encapsulate(list(_codestreams(data)), has_bot=table == "basic")
    if table == "extended":
        sources = encapsulate_extended(list(_codestreams(data)))
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = sources[1:]
    after = read(protect(write(dataset))[1].data)
    assert after.PixelData == value
    for keyword, expected in elements.items():
        assert after[keyword].value == expected


def _codestreams(data: bytes) -> Any:
    from pydicom.encaps import generate_frames

    return generate_frames(read(data).PixelData, number_of_frames=FRAMES)


def test_frames_can_be_read_again_and_in_any_order(made: Made) -> None:
    data = many(made, codecs.RLE_LOSSLESS)
    file = dicom.open_file(data)
    once, again = list(file.images()), list(file.images())
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one.stored, other.stored)
    interleaved = zip(file.images(), file.images(), strict=True)
    assert all(np.array_equal(one.stored, other.stored) for one, other in interleaved)


def test_a_file_that_shrinks_while_it_is_read_has_changed(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(many(made, "native"))
    with path.open("rb") as stream:
        images = dicom.open_stream(stream).images()
        next(images)
        with path.open("r+b") as other:
            other.truncate(100_000)
        with pytest.raises(InputChangedError):
            list(images)


def test_a_missing_frame_is_seen_before_anything_is_made_of_it(made: Made) -> None:
    file = dicom.open_file(many(made, "native"))
    rewriting = file.rewrite(io.BytesIO())
    rewriting.add(next(iter(file.images())).stored)
    with pytest.raises(ValueError, match="1 of 240 frames"):
        rewriting.finish(DERIVATION)


def test_more_behind_the_pixels_than_a_header_may_have_is_refused(shipped: Shipped) -> None:
    data = shipped("CT_small.dcm")
    behind = encode_element(0xFFFCFFFC, "OB", bytes(65 << 20), read_encoding(data))
    with pytest.raises(ImageTooLargeError):
        dicom.open_file(data + behind)


def read_encoding(data: bytes) -> Any:
    return dicom.read_outline(io.BytesIO(data)).value.encoding


def test_fragments_without_end_are_refused(shipped: Shipped) -> None:
    data = shipped("MR_small_RLE.dcm")
    assert read(data).file_meta.TransferSyntaxUID == RLELossless
    end = data.rindex(b"\xfe\xff\xdd\xe0")
    with pytest.raises(CorruptImageError):
        dicom.open_file(data[:end])
    with pytest.raises(ImageTooLargeError):
        dicom.open_file(data[:end] + b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_001)
