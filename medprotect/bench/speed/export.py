"""What speed is measured on: a series of CT slices, and a network that is hardly one."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from medprotect.confounder.card import CARD, WEIGHTS, Weights, Widths, format_card, load_card
from medprotect.confounder.noise import NoiseNetwork, network_arguments
from medprotect.confounder.weights import save_tensors, write_private
from medprotect.errors import NotAnImageError

_SHIPPED = "J2K_pixelrep_mismatch.dcm"
"""A CT slice of 512 x 512 that pydicom ships."""

_SMALLEST = 8


def find_slices(images: Path | None) -> list[Path]:
    """Return the CT slices below a folder, sorted; without one, a slice that pydicom ships.

    Raises
    ------
    NotAnImageError
        There is none.
    """
    import pydicom

    if images is None:
        return [Path(pydicom.__file__).parent / "data" / "test_files" / _SHIPPED]
    found = [path for path in sorted(images.rglob("*")) if path.is_file() and _is_slice(path)]
    if not found:
        raise NotAnImageError("there is no CT slice of one frame in the folder")
    return found


def _is_slice(path: Path) -> bool:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError):
        return False
    is_one = int(header.get("NumberOfFrames") or 1) == 1
    return header.get("Modality") == "CT" and "Rows" in header and is_one


def build_series(
    sources: Sequence[Path], folder: Path, count: int, side: int = 0, length: int = 0
) -> None:
    """Write native CT slices of one series or more, each another shift of a source's pixels.

    Parameters
    ----------
    sources : sequence of Path
        Taken in turn.
    folder : Path
        A new one.
    count : int
        How many slices.
    side : int
        Where not 0, slices are cut to so many rows and columns, of the middle.
    length : int
        Where not 0, so many slices make a series.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    for first, source in enumerate(sources[:count]):
        dataset = dcmread(source)
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pixels = np.array(dataset.pixel_array)
        if side:
            top, left = (size // 2 - side // 2 for size in pixels.shape)  # what is not air
            pixels = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        dataset.Rows, dataset.Columns = pixels.shape
        for number in range(first, count, len(sources)):
            dataset.SeriesInstanceUID = f"2.25.1.{number // length}" if length else "2.25.1"
            dataset.SOPInstanceUID = f"2.25.{number + 2}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.PixelData = np.roll(pixels, number // len(sources), axis=0).tobytes()
            dataset.save_as(folder / f"{number:06}.dcm", enforce_file_format=True)


def make_null_pipeline(folder: Path) -> None:
    """Write a pipeline of networks as small as a card allows: what it costs is the rest."""
    card = load_card("radiology-grey")
    images = replace(card.images, canonical_size=_SMALLEST, assigner_size=_SMALLEST)
    card = replace(card, name="null", images=images, widths=Widths(generator=4, assigner=4))
    torch.manual_seed(0)
    tensors = NoiseNetwork(**network_arguments(card)).state_dict()
    data = save_tensors(folder / WEIGHTS, tensors)
    card = replace(card, weights=Weights(sha256=hashlib.sha256(data).hexdigest()), figures={})
    write_private(folder / CARD, format_card(card).encode())


def plain_loop(export: Path, folder: Path) -> float:
    """Read each file with pydicom, change, write, hash and flush it; return files a second."""
    from pydicom import dcmread

    paths = sorted(export.iterdir())
    folder.mkdir()
    began = perf_counter()
    for path in paths:
        dataset = dcmread(path)
        dataset.PixelData = (dataset.pixel_array + 1).tobytes()
        stream = BytesIO()
        dataset.save_as(stream)
        hashlib.sha256(stream.getvalue()).hexdigest()
        with (folder / path.name).open("wb") as file:
            file.write(stream.getvalue())
            file.flush()
            os.fsync(file.fileno())
    return len(paths) / (perf_counter() - began)


def read_headers(export: Path) -> float:
    """Read the header of each file with pydicom, and return files a second."""
    from pydicom import dcmread

    paths = sorted(export.iterdir())
    began = perf_counter()
    for path in paths:
        dcmread(path, stop_before_pixels=True)
    return len(paths) / (perf_counter() - began)
