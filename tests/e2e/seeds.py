"""One small real file of each kind that is read, made with the encoders that write real ones."""

import bz2
import gzip
import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from ..imaging.raster.pictures import COLOUR, GREY, exif, jpeg, png, tiff, with_chunk

_SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
_SIDE = 16


def _slice() -> Dataset:
    """A real slice, cut to 16 x 16, with a private sequence and an icon."""
    dataset = dcmread(_SHIPPED / "MR_small.dcm")
    dataset.PixelData = dataset.pixel_array[20 : 20 + _SIDE, 20 : 20 + _SIDE].tobytes()
    dataset.Rows = dataset.Columns = _SIDE
    del dataset[0xFFFC, 0xFFFC]
    icon = Dataset()
    icon.Rows = icon.Columns = 4
    icon.BitsAllocated = icon.BitsStored = 8
    icon.PixelData = bytes(16)
    dataset.IconImageSequence = [icon]
    block = dataset.private_block(0x0099, "MEDPROTECT TEST", create=True)
    block.add_new(1, "SQ", [icon])
    return dataset


def _write(dataset: Dataset, **options: object) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=False, **options)
    return buffer.getvalue()


def _dicom(syntax: str = "") -> bytes:
    dataset = _slice()
    if syntax in (JPEGLSLossless, RLELossless):
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
        return _write(dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return _write(dataset)


def _encapsulated(syntax: str, codestream: bytes) -> bytes:
    from pydicom.encaps import encapsulate

    dataset = _slice()
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.Rows, dataset.Columns = GREY.shape
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return _write(dataset)


def _jpeg_lossless() -> bytes:
    import imagecodecs

    stream = imagecodecs.jpeg8_encode(GREY, lossless=True, predictor=1, bitspersample=8)
    return _encapsulated("1.2.840.10008.1.2.4.70", bytes(stream))


def _htj2k() -> bytes:
    import imagecodecs

    return _encapsulated("1.2.840.10008.1.2.4.201", bytes(imagecodecs.htj2k_encode(GREY)))


def _jpeg_2000() -> bytes:
    import imagecodecs

    stream = imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k", reversible=True)
    return _encapsulated("1.2.840.10008.1.2.4.90", bytes(stream))


def _nifti() -> bytes:
    shade = np.random.default_rng(0).integers(0, 900, (9, 8, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(shade, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"seen"))
    return bytes(image.to_bytes())


def _itk(ending: str, *, compressed: bool = False) -> bytes:
    """A volume as SimpleITK writes it."""
    import SimpleITK

    shade = np.random.default_rng(0).integers(0, 900, (3, 8, 9)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"volume.{ending}"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(shade), path, compressed)
        return path.read_bytes()


def _nrrd_bzip2() -> bytes:
    header, voxels = _itk("nrrd").split(b"\n\n", 1)
    header = header.replace(b"encoding: raw", b"encoding: bzip2")
    return header + b"\n\n" + bz2.compress(voxels)


def _mgh() -> bytes:
    shade = np.random.default_rng(0).integers(0, 900, (9, 8, 3)).astype(np.int16)
    parameters = np.array([2, 0.1, 3, 4, 256], ">f4").tobytes()
    tag = struct.pack(">iq", 3, 5) + b"seen\0"
    return bytes(nibabel.MGHImage(shade, np.eye(4)).to_bytes()) + parameters + tag


def _rich_png() -> bytes:
    data = with_chunk(png(COLOUR[:20, :20].copy()), b"tEXt", b"Comment\0seen")
    data = with_chunk(data, b"zTXt", b"Note\0\0" + zlib.compress(b"seen"))
    return with_chunk(data, b"eXIf", exif())


def nifti_pair(seed: int) -> tuple[bytes, bytes]:
    """Return the header and the voxels of a volume in two files."""
    voxels = np.random.default_rng(seed).integers(0, 900, (40, 40, 4)).astype(np.int16)
    made = {name: io.BytesIO() for name in ("header", "image")}
    holders = {name: nibabel.FileHolder(fileobj=file) for name, file in made.items()}
    nibabel.Nifti1Pair(voxels, np.eye(4)).to_file_map(holders)
    return made["header"].getvalue(), made["image"].getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "dicom": _dicom,
    "dicom-implicit": lambda: _dicom(ImplicitVRLittleEndian),
    "dicom-deflated": lambda: _dicom(DeflatedExplicitVRLittleEndian),
    "dicom-rle": lambda: _dicom(RLELossless),
    "dicom-jpeg-ls": lambda: _dicom(JPEGLSLossless),
    "dicom-jpeg-2000": _jpeg_2000,
    "dicom-htj2k": _htj2k,
    "dicom-jpeg": lambda: _encapsulated("1.2.840.10008.1.2.4.50", jpeg(GREY)),
    "dicom-jpeg-lossless": _jpeg_lossless,
    "nifti": _nifti,
    "nifti-gzip": lambda: gzip.compress(_nifti(), mtime=0),
    "metaimage": lambda: _itk("mha"),
    "metaimage-zlib": lambda: _itk("mha", compressed=True),
    "nrrd": lambda: _itk("nrrd"),
    "nrrd-gzip": lambda: _itk("nrrd", compressed=True),
    "nrrd-bzip2": _nrrd_bzip2,
    "mgh": _mgh,
    "mgh-gzip": lambda: gzip.compress(_mgh(), mtime=0),
    "png": lambda: png(GREY[:20, :20].copy()),
    "png-metadata": _rich_png,
    "png-16": lambda: png(GREY[:12, :12].astype(np.uint16) * 257),
    "tiff": lambda: tiff(GREY[:16, :16].copy()),
    "tiff-lzw": lambda: tiff(COLOUR[:16, :16].copy(), compression="lzw", rowsperstrip=5),
    "tiff-deflate": lambda: tiff(GREY[:16, :16].copy(), compression="zlib", predictor=True),
    "tiff-packbits": lambda: tiff(GREY[:16, :16].copy(), compression="packbits"),
    "tiff-zstd": lambda: tiff(GREY[:16, :16].copy(), compression="zstd"),
    "tiff-tiled-jpeg": lambda: tiff(COLOUR[:32, :32].copy(), compression="jpeg", tile=(16, 16)),
    "tiff-big": lambda: tiff(GREY[:16, :16].copy(), bigtiff=True, byteorder=">"),
    "jpeg": lambda: jpeg(COLOUR[:24, :24].copy(), exif=exif(b""), comment=b"seen"),
    "jpeg-progressive": lambda: jpeg(GREY[:24, :24].copy(), progressive=True),
}
"""By name, what makes the file; the same bytes each time."""


def repaired_png(data: bytes) -> bytes:
    """A PNG file with right checksums, as far as its chunks can be told."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        if len(body) < 4 + length:
            break
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out + data[at:])
