"""Volumes in one file or two, changed as a run does and read back."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from medprotect.errors import InputError
from medprotect.imaging import formats
from medprotect.imaging.image import Content, Description, Pair, Role
from medprotect.imaging.pairs import read_content
from medprotect.imaging.second_reading import read_again

from .protecting import DERIVATION, add_noise

RANDOM = np.random.default_rng(11)


def volume(dtype: str = "i2", shape: tuple[int, ...] = (5, 8, 9)) -> np.ndarray[Any, Any]:
    """Voxels (slowest axis, ..., rows, columns) without order."""
    if np.dtype(dtype).kind == "f":
        return RANDOM.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -3000), min(limits.max, 3000)
    return RANDOM.integers(low, high, shape, endpoint=True).astype(dtype)


def blocks() -> np.ndarray[Any, Any]:
    """A label map of five labels."""
    corners = RANDOM.integers(0, 5, (4, 4, 4))
    return np.kron(corners, np.ones((5, 5, 5))).astype(np.uint8)


def write(name: str, voxels: np.ndarray[Any, Any], *, compressed: bool = False) -> Content:
    """A file of this name as SimpleITK writes it, with that of its voxels."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), path, compressed)
        return read_content(path)


def describe(data: Content, **options: bool) -> Description:
    if isinstance(data, Pair):
        return formats.describe(io.BytesIO(data.header), io.BytesIO(data.voxels), **options)
    return formats.describe(io.BytesIO(data), **options)


def planes(data: Content) -> list[np.ndarray[Any, Any]]:
    return [image.stored for image in formats.open_file(data).images()]


def undocumented(original: Content, protected: Content) -> list[str]:
    traits = formats.open_file(original).description.traits
    assert traits is not None
    return formats.load_format(traits.format).undocumented_changes(original, protected)


def changes(original: Content, protected: Content) -> set[str]:
    traits = formats.open_file(original).description.traits
    assert traits is not None
    return set(formats.load_format(traits.format).changed_elements(original, protected))


def check(data: Content, *, twice: bool = True) -> Content:
    """Protect a volume, and check all that can be checked of any format."""
    file = formats.open_file(data)
    assert file.description == describe(data, finds_masks=False)
    traits = file.description.traits
    assert traits is not None
    before = planes(data)
    assert formats.open_file(data).encode(before, DERIVATION).notes is not None
    changed = [add_noise(image, seed) for seed, image in enumerate(file.images())]
    found = file.encode(changed, DERIVATION).data
    for one, other in zip(changed, planes(found), strict=True):
        np.testing.assert_array_equal(one, other)
    assert undocumented(data, found) == []
    module = formats.load_format(traits.format)
    assert changes(data, found) <= module.DOCUMENTED_CHANGES
    assert file.encode(changed, DERIVATION).data == found
    for each, expected in ((data, before), (found, changed)):
        seen = read_again(each if isinstance(each, Pair) else io.BytesIO(each), traits.format)
        assert (seen is not None) is twice
        if seen is not None:
            for one, other in zip(expected, seen, strict=True):
                np.testing.assert_array_equal(one, other)
    return found


def outcome(data: Content) -> str:
    """What becomes of a volume; whatever is not ours comes out as an exception."""
    header = data.header if isinstance(data, Pair) else data
    try:
        named = formats.describe(io.BytesIO(header)).detached is not None
        if isinstance(data, Pair) != named or describe(data).role is Role.OTHER:
            return "other"
        file = formats.open_file(data)
        changed = [add_noise(image, seed) for seed, image in enumerate(file.images())]
        undocumented(data, file.encode(changed, DERIVATION).data)
    except InputError as error:
        return error.slug
    return "protected"
