"""Images as other libraries read them: a second opinion on what lies in a file.

Nothing here is shared with what reads and writes files in a run, neither parser nor, where there
is another, decoder. So a mistake that reader and writer of a run have in common shows as a
difference between two readings. Files that a run has refused are not to be read here: the limits
are kept there.
"""

import bz2
import gzip
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import CorruptImageError
from medprotect.imaging.image import Content, Pair

Samples = NDArray[Any]
"""All samples of one image, alpha included: (H, W) or (H, W, C)."""

_RLE = "1.2.840.10008.1.2.5"
_PYDICOM = {
    _RLE: "pydicom",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
}
"""Lossless syntaxes that pydicom decodes, and with what: never with what has encoded them."""

_JPEG_LS = "1.2.840.10008.1.2.4.80"
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_NATIVE = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)


def read_again(data: Content, name: str) -> list[Samples] | None:
    """Return the images of a file, as another library reads them.

    Parameters
    ----------
    data : bytes or Pair
        A whole file, or both of an image in two, within the limits.
    name : str
        Its format, as in `medprotect.imaging.image.Traits`.

    Returns
    -------
    list of Samples, or None
        None where no second library reads it to the same values: lossily compressed images, whose
        decoders differ by rounding, values that do not lie in the lowest bits, colour PNG of 16
        bits, NRRD volumes whose planes lie across other than the first axes, volumes of many axes.

    Raises
    ------
    CorruptImageError
        The other library cannot read it.
    """
    readers: dict[str, Callable[[Any], list[Samples] | None]] = {
        "dicom": _read_dicom,
        "nifti": _read_nifti,
        "metaimage": _read_metaimage,
        "nrrd": _read_nrrd,
        "mgh": _read_mgh,
        "png": _read_png,
        "tiff": _read_tiff,
        "jpeg": _read_jpeg,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return readers[name](data)
        except MemoryError:
            raise
        except Exception as error:  # they raise what they like
            raise CorruptImageError("another library cannot read it") from error


def _read_dicom(data: bytes) -> list[Samples] | None:
    from pydicom import dcmread

    dataset = dcmread(BytesIO(data), force=True)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) if dataset.file_meta else ""
    bits = int(dataset.get("BitsStored", dataset.BitsAllocated))
    if int(dataset.get("HighBit", bits - 1)) != bits - 1:
        return None
    if syntax in _PYDICOM:
        return _decode_with_pydicom(dataset, syntax)
    if syntax == _JPEG_LS or syntax in _JPEG_LOSSLESS:
        return [_signed(frame, dataset, bits) for frame in _codestreams(dataset, syntax)]
    return _read_native(dataset, bits) if syntax in _NATIVE else None


def _decode_with_pydicom(dataset: Any, syntax: str) -> list[Samples]:
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(syntax)
    frames = range(int(dataset.get("NumberOfFrames", 1) or 1))
    decoded = decoder.iter_array(
        dataset, indices=frames, raw=True, decoding_plugin=_PYDICOM[syntax]
    )
    return [np.array(frame) for frame, _ in decoded]


def _codestreams(dataset: Any, syntax: str) -> Iterator[Samples]:
    import imagecodecs
    from pydicom.encaps import generate_frames

    decode = imagecodecs.jpegls_decode if syntax == _JPEG_LS else imagecodecs.jpegsof3_decode
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    for codestream in generate_frames(dataset.PixelData, number_of_frames=frames):
        yield decode(codestream)


def _signed(frame: Samples, dataset: Any, bits: int) -> Samples:
    """Return the lowest bits of unsigned samples as Pixel Representation says they are meant."""
    width = int(dataset.BitsAllocated)
    wide = frame.astype(np.int64) & ((1 << bits) - 1)
    if dataset.PixelRepresentation == 1:
        wide -= (wide >> bits - 1 & 1) << bits
    kind = "i" if dataset.PixelRepresentation == 1 else "u"
    return wide.astype(f"{kind}{width // 8}")


def _read_native(dataset: Any, bits: int) -> list[Samples]:
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    rows, columns, samples = dataset.Rows, dataset.Columns, int(dataset.get("SamplesPerPixel", 1))
    width = int(dataset.BitsAllocated) // 8
    is_big = not dataset.original_encoding[1]
    raw = np.frombuffer(dataset.PixelData, np.uint8)
    if is_big and width == 1 and dataset["PixelData"].VR == "OW":
        raw = raw.reshape(-1, 2)[:, ::-1].ravel()
    values = raw[: frames * rows * columns * samples * width].view(f"{'><'[not is_big]}u{width}")
    if samples > 1 and dataset.get("PlanarConfiguration", 0) == 1:
        stacked = values.reshape(frames, samples, rows, columns).transpose(0, 2, 3, 1)
    else:
        stacked = values.reshape((frames, rows, columns, samples)[: 4 if samples > 1 else 3])
    return [_signed(frame, dataset, bits) for frame in stacked]


def _read_nifti(data: Content) -> list[Samples] | None:
    import nibabel

    if isinstance(data, Pair):
        header, plain = _plain(data.header), _plain(data.voxels)
        pair: Any = nibabel.Nifti2Pair if header[4:7] == b"ni2" else nibabel.Nifti1Pair
        files = {"header": BytesIO(header), "image": BytesIO(plain)}
        holders = {name: nibabel.FileHolder(fileobj=file) for name, file in files.items()}
        proxy: Any = pair.from_file_map(holders).dataobj
    else:
        plain = _plain(data)
        kind = nibabel.Nifti2Image if plain[4:7] == b"n+2" else nibabel.Nifti1Image
        proxy = kind.from_bytes(plain).dataobj
    voxels = np.asanyarray(proxy.get_unscaled())
    return _planes(voxels)


def _planes(voxels: NDArray[Any]) -> list[Samples] | None:
    """Return the planes of a volume (columns, rows, ...), whose first axis is the fastest."""
    axes = [size for size in voxels.shape if size > 1]
    if len(axes) < 2:  # nibabel takes a matrix of just this size for a surface of FreeSurfer
        return None
    planes = voxels.reshape((*axes[:2], -1), order="F")
    return [planes[..., index].T for index in range(planes.shape[2])]


def _read_mgh(data: bytes) -> list[Samples] | None:
    import nibabel

    return _planes(np.asanyarray(nibabel.MGHImage.from_bytes(_plain(data)).dataobj))


_DATA_FILE = re.compile(rb"^[ \t]*ElementDataFile[ \t]*=.*", re.MULTILINE)
_NEEDED_KEY = re.compile(
    rb"\s*(?:ObjectType|NDims|DimSize|Element(?:Type|ByteOrderMSB)|Binary\w+|CompressedData)\s*="
)
_NEEDED_FIELD = re.compile(rb"(?:type|dimension|sizes|endian):(?!=)", re.IGNORECASE)
_MOST_AXES = 5
"""Of an image of SimpleITK."""


def _read_metaimage(data: Content) -> list[Samples] | None:
    """Read a MetaImage file under those lines of its header that the voxels depend on.

    ITK needs to be told the size of compressed voxels, and fails at values of other lines.
    """
    whole = data.header if isinstance(data, Pair) else data
    last = _DATA_FILE.search(whole)
    if last is None:
        return None
    lines = [line for line in whole[: last.start()].split(b"\n") if _NEEDED_KEY.match(line)]
    sizes = [line for line in lines if line.lstrip().startswith(b"DimSize")]
    if len(b"".join(sizes).partition(b"=")[2].split()) > _MOST_AXES:
        return None
    voxels = data.voxels if isinstance(data, Pair) else whole[last.end() + 1 :]
    lines.sort(key=lambda line: not line.lstrip().startswith(b"NDims"))  # which must come first
    lines += [b"CompressedDataSize = %d" % len(voxels), b"ElementDataFile = LOCAL", voxels]
    return _read_with_itk(b"\n".join(lines), "MetaImageIO")


def _read_nrrd(data: Content) -> list[Samples] | None:
    """Read a NRRD file as one of raw voxels: ITK knows not all encodings, nor memory."""
    if isinstance(data, Pair):
        header, packed = data.header, data.voxels
    else:
        end = re.search(rb"\n\r?\n", data)
        header, packed = (data[: end.end()], data[end.end() :]) if end else (data, b"")
    lines = [line.rstrip(b"\r") for line in header.split(b"\n")]
    fields = [line.partition(b":") for line in lines if b":" in line and b":=" not in line]
    said = {name.replace(b" ", b"").lower(): text.strip() for name, _, text in fields}
    if not _is_plain_stack(said):
        return None
    encoding, plain = said.get(b"encoding", b"").lower(), packed
    if encoding in (b"gzip", b"gz"):
        plain = gzip.decompress(packed)
    elif encoding in (b"bzip2", b"bz2"):
        plain = bz2.decompress(packed)
    skip = int(said.get(b"byteskip", b"0"))
    kept = sorted(line for line in lines if _NEEDED_FIELD.match(line))  # dimension before sizes
    kept += [b"encoding: raw", b"byte skip: -1"] if skip == -1 else [b"encoding: raw"]
    text = b"\n".join([b"NRRD0004", *kept, b"", b""])
    return _read_with_itk(text + plain[max(skip, 0) :], "NrrdImageIO")


def _is_plain_stack(said: Mapping[bytes, bytes]) -> bool:
    """Whether the first two axes longer than one are of space, and not too many follow."""
    sizes = said.get(b"sizes", b"").split()
    kinds = said.get(b"kinds", b"").lower().split() or [b"domain"] * len(sizes)
    directions = re.findall(rb"none|\([^)]*\)", said.get(b"spacedirections", b"").lower())
    if len(directions) != len(sizes):
        directions = [b"()"] * len(sizes)
    long = [axis for axis, size in enumerate(sizes) if size != b"1"][:2]
    return len(sizes) <= _MOST_AXES and all(
        kinds[axis] in (b"domain", b"space") and directions[axis] != b"none" for axis in long
    )


def _read_with_itk(data: bytes, reader: str) -> list[Samples] | None:
    """Read a file in memory with SimpleITK."""
    import SimpleITK

    descriptor = os.memfd_create("medprotect")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        file_reader = SimpleITK.ImageFileReader()
        file_reader.SetImageIO(reader)
        file_reader.SetFileName(f"/proc/self/fd/{descriptor}")
        image = file_reader.Execute()
    finally:
        os.close(descriptor)
    return _planes(SimpleITK.GetArrayFromImage(image).T)


def _plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def _read_png(data: bytes) -> list[Samples] | None:
    from PIL import Image

    depth, colour = data[24], data[25]
    if depth == 16 and colour != 0:  # which Pillow cuts to 8 bits
        return None
    with Image.open(BytesIO(data), formats=["PNG"]) as image:
        return [np.array(image)]


def _read_tiff(data: bytes) -> list[Samples] | None:
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as file:
        # Pages of reduced resolution go, see the documentation.
        every: list[Any] = list(file.pages)
        pages = [page for page in every if not (page.is_reduced or page.subfiletype & 1)]
        if any(page.compression == tifffile.COMPRESSION.JPEG for page in pages):
            return None
        return [page.asarray() for page in pages]


def _read_jpeg(_data: bytes) -> None:
    return None
