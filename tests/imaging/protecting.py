"""Changing the images of a file as a run does, and reading them back."""

import io
from typing import Any

import numpy as np

from medprotect.errors import InputError
from medprotect.imaging import formats
from medprotect.imaging.image import Derivation, Encoded, Image, Role, Stored
from medprotect.scan.sniff import sniff

DERIVATION = Derivation("blood", "0.1.0", "standard", decoys=True)


def add_noise(image: Image, seed: int = 0) -> Stored:
    """-1, 0 or 1 on every pixel, where the image lets it change."""
    noise = np.random.default_rng(seed).integers(-1, 2, image.stored.shape)
    if image.halved_chroma:
        noise[:, 1::2, 1:] = noise[:, ::2, 1:]
    if image.stored.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            changed: Any = image.stored + noise.astype(image.stored.dtype)
    else:
        changed = np.clip(image.stored.astype(np.int64) + noise, image.lowest, image.highest)
    if image.forbidden is not None:
        lowest, highest = image.forbidden
        within = (changed >= lowest) & (changed <= highest)
        changed = np.where(within, image.stored, changed)
    changed = changed.astype(image.stored.dtype)
    if image.locked is not None:
        changed[image.locked] = image.stored[image.locked]
    return np.asarray(changed)


def protect(data: bytes) -> tuple[list[Stored], Encoded]:
    """The changed pixels, and the file that holds them."""
    file = formats.open_file(data)
    changed = [add_noise(image, seed) for seed, image in enumerate(file.images())]
    return changed, file.encode(changed, DERIVATION)


def stored(data: bytes) -> list[Stored]:
    return [image.stored for image in formats.open_file(data).images()]


def undocumented(original: bytes, protected: bytes) -> list[str]:
    module = formats.load_format(sniff(io.BytesIO(original)))
    return module.undocumented_changes(original, protected)


def changes(original: bytes, protected: bytes) -> set[str]:
    module = formats.load_format(sniff(io.BytesIO(original)))
    return set(module.changed_elements(original, protected))


def check(data: bytes) -> Encoded:
    """Protect a file, and check all that can be checked of any format."""
    description = formats.describe(io.BytesIO(data))
    assert description.role is Role.IMAGE
    assert formats.open_file(data).description == description
    changed, encoded = protect(data)
    found = stored(encoded.data)
    assert len(found) == len(changed)
    for one, other in zip(changed, found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert undocumented(data, encoded.data) == []
    names = changes(data, encoded.data)
    module = formats.load_format(sniff(io.BytesIO(data)))
    assert names <= module.DOCUMENTED_CHANGES
    assert protect(data)[1] == encoded
    return encoded


def outcome(data: bytes) -> str:
    """What becomes of a file; whatever is not ours comes out as an exception."""
    try:
        if formats.describe(io.BytesIO(data)).role is Role.OTHER:
            return "other"
        changed, encoded = protect(data)
        for one, other in zip(changed, stored(encoded.data), strict=True):
            np.testing.assert_array_equal(one, other)
        undocumented(data, encoded.data)
    except InputError as error:
        return error.slug
    return "protected"
