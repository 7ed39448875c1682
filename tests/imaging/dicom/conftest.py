"""Files to protect, made with pydicom out of those that it ships."""

import io
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from medprotect.imaging import dicom
from medprotect.imaging.image import Derivation, Encoded, Image, Stored


def new_uid(kind: str, uid: str) -> str:
    digest = sha256(f"{kind} {uid}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


DERIVATION = Derivation("blood", "0.1.0", "standard", decoys=True, new_uid=new_uid)


def add_noise(image: Image, seed: int = 0) -> Stored:
    """-1, 0 or 1 on every pixel, where the image lets it change."""
    noise = np.random.default_rng(seed).integers(-1, 2, image.stored.shape)
    if image.halved_chroma:
        noise[:, 1::2, 1:] = noise[:, ::2, 1:]
    changed = np.clip(image.stored.astype(int) + noise, image.lowest, image.highest)
    if image.forbidden is not None:
        assert image.locked is not None
        lowest, highest = image.forbidden
        keep = image.locked | ((changed >= lowest) & (changed <= highest))
        changed[keep] = image.stored[keep]
    return changed.astype(image.stored.dtype)


def protect(data: bytes, derivation: Derivation = DERIVATION) -> tuple[list[Stored], Encoded]:
    """The changed pixels, and the file that holds them."""
    file = dicom.open_file(data)
    changed = [add_noise(image, seed) for seed, image in enumerate(file.images())]
    return changed, file.encode(changed, derivation)


def read(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data), force=True)


def write(dataset: Dataset, **options: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=False, **options)
    return buffer.getvalue()


def stored(data: bytes) -> list[Stored]:
    return [image.stored for image in dicom.open_file(data).images()]


@pytest.fixture
def shipped(pydicom_file: Callable[[str], Path]) -> Callable[[str], bytes]:
    """`shipped("CT_small.dcm")`: the bytes of a test file inside pydicom's wheel."""
    return lambda name: pydicom_file(name).read_bytes()


@pytest.fixture
def altered(shipped: Callable[[str], bytes]) -> Callable[..., bytes]:
    """`altered("CT_small.dcm", Rows=1, PixelData=None)`: with elements set, or removed by None."""

    def alter(name: str, **elements: Any) -> bytes:
        dataset = read(shipped(name))
        for keyword, value in elements.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        return write(dataset)

    return alter


@pytest.fixture
def made(shipped: Callable[[str], bytes]) -> Callable[..., bytes]:
    """`made(array, BitsStored=12)`: a native explicit little endian file around frames."""

    def make(
        cells: np.ndarray[Any, Any], *, frames: int = 1, samples: int = 1, **elements: Any
    ) -> bytes:
        dataset = read(shipped("CT_small.dcm"))
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        rows_at = 1 if frames > 1 else 0
        dataset.Rows, dataset.Columns = cells.shape[rows_at : rows_at + 2]
        bits = cells.dtype.itemsize * 8
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(cells.dtype.kind == "i")
        dataset.SamplesPerPixel = samples
        dataset.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
        if samples == 3:
            dataset.PlanarConfiguration = 0
        if frames > 1:
            dataset.NumberOfFrames = frames
        for keyword in ("PixelPaddingValue", "RescaleSlope", "RescaleIntercept"):
            if keyword in dataset:
                del dataset[keyword]
        raw = cells.tobytes()
        dataset.PixelData = raw + b"\0" * (len(raw) % 2)
        dataset["PixelData"].VR = "OW"
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        return write(dataset)

    return make


def named(paths: Iterable[str]) -> set[str]:
    return {path.partition("[")[0] for path in paths}
