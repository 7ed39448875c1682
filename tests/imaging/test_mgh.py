"""MGH: header, scan parameters and tags stay byte for byte."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medprotect.errors import CorruptImageError, InputError, UnsupportedImageError
from medprotect.imaging import formats
from medprotect.imaging.image import Role

from .contents import RANDOM, blocks, check, describe, outcome, planes, undocumented, volume

TAGS = np.array([2, 0.1, 3, 4, 256], ">f4").tobytes() + struct.pack(">iq", 3, 5) + b"seen\0"


def make(voxels: np.ndarray[Any, Any], tags: bytes = TAGS) -> bytes:
    """Voxels (x, y, z[, frame]) as nibabel writes them, followed by tags."""
    return bytes(nibabel.MGHImage(voxels, np.eye(4)).to_bytes()) + tags


def put(data: bytes, at: int, *values: int) -> bytes:
    return data[:at] + struct.pack(f">{len(values)}i", *values) + data[at + 4 * len(values) :]


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize("shape", [(9, 8, 5), (9, 8, 5, 3), (9, 8, 1)])
def test_each_type_keeps_its_header_and_tags(dtype: str, shape: tuple[int, ...]) -> None:
    voxels = volume(dtype, shape)
    plain = make(voxels)
    for data in (plain, gzip.compress(plain, mtime=7)):
        expected = voxels.reshape((9, 8, -1), order="F")
        for index, plane in enumerate(planes(data)):
            np.testing.assert_array_equal(plane, expected[..., index].T)
        found = check(data)
        assert isinstance(found, bytes)
        raw = gzip.decompress(found) if data is not plain else found
        assert raw[:284] == plain[:284]
        assert raw.endswith(TAGS)
        assert len(raw) == len(plain)


def test_a_real_file_keeps_its_tags() -> None:
    data = (Path(nibabel.__file__).parent / "tests" / "data" / "test.mgz").read_bytes()
    found = check(data)
    assert isinstance(found, bytes)
    before, after = gzip.decompress(data), gzip.decompress(found)
    start = 284 + 3 * 4 * 5 * 2 * 4
    assert len(before) - start > 20_000
    assert (before[:284], before[start:]) == (after[:284], after[start:])


def test_masks_are_known() -> None:
    data = make(blocks())
    assert describe(data).role is Role.OTHER
    assert describe(data, finds_masks=False).role is Role.IMAGE
    assert describe(make(volume())).role is Role.IMAGE


@pytest.mark.parametrize(
    ("at", "values", "error"),
    [
        (4, (0,), InputError),
        (4, (-3,), InputError),
        (8, (8000, 8000, 8000), InputError),
        (4, (9, 8, 6), CorruptImageError),
        (20, (2,), UnsupportedImageError),
        (20, (6,), UnsupportedImageError),
        (20, (9,), CorruptImageError),
        (20, (99,), UnsupportedImageError),
    ],
)
def test_nonsense_in_the_header_is_refused(
    at: int, values: tuple[int, ...], error: type[InputError]
) -> None:
    data = put(make(volume("i2", (9, 8, 5)), b""), at, *values)
    for refuse in (describe, formats.open_file):
        with pytest.raises(error):
            refuse(data)


def test_what_may_be_a_copy_or_holds_a_picture_is_refused() -> None:
    voxels = RANDOM.integers(1, 900, (40, 40, 5)).astype(np.int16)
    data = make(voxels)
    with pytest.raises(UnsupportedImageError, match="copy"):
        formats.open_file(data + voxels.astype(">i2").tobytes("F"))
    with pytest.raises(UnsupportedImageError, match="picture"):
        formats.open_file(data + b"\x89PNG\r\n\x1a\n")
    assert outcome(data + bytes(20_000)) == "protected"


@pytest.mark.parametrize(
    ("at", "name"), [(24, "dof"), (30, "RAS"), (100, "unused"), (-3, "TrailingData")]
)
def test_a_changed_byte_is_named(at: int, name: str) -> None:
    data = make(volume())
    changed = bytearray(data)
    changed[at] ^= 1
    assert undocumented(data, bytes(changed)) == [name]


def test_mutations_never_end_in_another_error() -> None:
    for data in (make(volume()), gzip.compress(make(volume()))):
        for _ in range(300):
            changed = bytearray(data)
            for at in (RANDOM.random(3) ** 3 * len(data)).astype(int):
                changed[at] = RANDOM.integers(256)
            outcome(bytes(changed))
