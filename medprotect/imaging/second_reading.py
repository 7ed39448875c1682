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
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, BytesIO, RawIOBase
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import CorruptImageError
from medprotect.imaging.image import Content, Pair, Readable

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
_DEFLATED = "1.2.840.10008.1.2.1.99"
_NATIVE = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    _DEFLATED,
    "1.2.840.10008.1.2.2",
)


def read_again(source: Readable, name: str) -> Iterator[Samples] | None:
    """Yield the images of a file, as another library reads them.

    Parameters
    ----------
    source : binary file or Pair
        A whole file, within the limits; seekable, and read on as the images are. Others may read
        it in between. Or both of an image in two.
    name : str
        Its format, as in `medprotect.imaging.image.Traits`.

    Returns
    -------
    iterator of Samples, or None
        None where no second library reads it to the same values: lossily compressed images, whose
        decoders differ by rounding, values that do not lie in the lowest bits, colour PNG of 16
        bits, NRRD volumes whose planes lie across other than the first axes, volumes of many axes.

    Raises
    ------
    CorruptImageError
        The other library cannot read it; the iterator raises it, too.
    """
    readers: dict[str, Callable[[BinaryIO], Iterator[Samples] | list[Samples] | None]] = {
        "dicom": _read_dicom,
        "png": _read_png,
        "tiff": _read_tiff,
        "jpeg": _read_jpeg,
    }
    with _corrupt_errors():
        if isinstance(source, Pair):
            images = _read_volume(source, name)
        else:
            view = BufferedReader(_View(source))
            images = readers[name](view) if name in readers else _read_volume(view.read(), name)
    return None if images is None else _guarded(iter(images))


def _read_volume(data: Content, name: str) -> Iterator[Samples] | list[Samples] | None:
    readers: dict[str, Callable[[Any], list[Samples] | None]] = {
        "nifti": _read_nifti,
        "metaimage": _read_metaimage,
        "nrrd": _read_nrrd,
        "mgh": _read_mgh,
    }
    return readers[name](data)


class _View(RawIOBase):
    """A stream with a position of its own."""

    name = ""  # pydicom asks for one

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._position = stream, 0

    def readable(self) -> bool:
        """Return True: this is for reading."""
        return True

    def seekable(self) -> bool:
        """Return True: every stream here is."""
        return True

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Set the position, this view's own, and return it."""
        base = {SEEK_SET: 0, SEEK_CUR: self._position}
        end = self._stream.seek(0, SEEK_END) if whence == SEEK_END else 0
        self._position = base.get(whence, end) + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Read bytes into a buffer, and return how many."""
        self._stream.seek(self._position)
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _guarded(images: Iterator[Samples]) -> Iterator[Samples]:
    while True:
        with _corrupt_errors():
            image = next(images, None)
        if image is None:
            return
        yield image


@contextmanager
def _corrupt_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # they raise what they like
            raise CorruptImageError("another library cannot read it") from error


def _read_dicom(stream: BinaryIO) -> Iterator[Samples] | None:
    from pydicom import dcmread

    dataset = dcmread(stream, force=True, stop_before_pixels=True)  # where the stream then is
    is_implicit = _is_implicit(dataset)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) if dataset.file_meta else ""
    bits = int(dataset.get("BitsStored", dataset.BitsAllocated))
    if int(dataset.get("HighBit", bits - 1)) != bits - 1:
        return None
    if syntax == _DEFLATED:
        stream.seek(0)
        value: BinaryIO = BytesIO(dcmread(stream, force=True).PixelData)
    else:
        value = stream
        value.seek(8 if is_implicit else 12, SEEK_CUR)
    if syntax in _PYDICOM:
        return _decode_with_pydicom(dataset, syntax, value)
    if syntax == _JPEG_LS or syntax in _JPEG_LOSSLESS:
        return (_signed(frame, dataset, bits) for frame in _decode(dataset, syntax, value))
    return _read_native(dataset, bits, value) if syntax in _NATIVE else None


def _is_implicit(dataset: Any) -> bool:
    """Whether elements lie there without their VR, whatever the transfer syntax says.

    Only what is not looked at yet knows it: to be asked before any element is.
    """
    from pydicom.dataelem import RawDataElement

    raw = [each for each in dataset.values() if isinstance(each, RawDataElement)]
    return raw[0].is_implicit_VR if raw else bool(dataset.original_encoding[0])


def _codestreams(dataset: Any, value: BinaryIO) -> Iterator[bytes]:
    from pydicom.encaps import generate_frames

    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    yield from generate_frames(
        value,
        number_of_frames=int(dataset.get("NumberOfFrames", 1) or 1),
        extended_offsets=None if None in offsets else offsets,
    )


def _decode_with_pydicom(dataset: Any, syntax: str, value: BinaryIO) -> Iterator[Samples]:
    """Decode frames as files of one each, because pydicom would take all into memory."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(syntax)
    single = dataset.group_dataset(0x0028)
    single.file_meta = dataset.file_meta
    single.set_original_encoding(*dataset.original_encoding)
    single.NumberOfFrames = 1
    for codestream in _codestreams(dataset, value):
        single.PixelData = encapsulate([codestream])
        yield decoder.as_array(single, raw=True, decoding_plugin=_PYDICOM[syntax])[0].copy()


def _decode(dataset: Any, syntax: str, value: BinaryIO) -> Iterator[Samples]:
    import imagecodecs

    decode = imagecodecs.jpegls_decode if syntax == _JPEG_LS else imagecodecs.jpegsof3_decode
    for codestream in _codestreams(dataset, value):
        yield decode(codestream)


def _signed(frame: Samples, dataset: Any, bits: int) -> Samples:
    """Return the lowest bits of unsigned samples as Pixel Representation says they are meant."""
    width = int(dataset.BitsAllocated)
    wide = frame.astype(np.int64) & ((1 << bits) - 1)
    if dataset.PixelRepresentation == 1:
        wide -= (wide >> bits - 1 & 1) << bits
    kind = "i" if dataset.PixelRepresentation == 1 else "u"
    return wide.astype(f"{kind}{width // 8}")


def _read_native(dataset: Any, bits: int, value: BinaryIO) -> Iterator[Samples]:
    rows, columns, samples = dataset.Rows, dataset.Columns, int(dataset.get("SamplesPerPixel", 1))
    width = int(dataset.BitsAllocated) // 8
    order = "<" if dataset.original_encoding[1] else ">"
    is_halved = dataset.PhotometricInterpretation == "YBR_FULL_422"
    size = rows * columns * (2 if is_halved else samples) * width
    is_swapped = order == ">" and width == 1 and _vr_before(value) == b"OW"
    start = value.tell()
    for index in range(int(dataset.get("NumberOfFrames", 1) or 1)):
        value.seek(start + index * size - index * size % 2)
        words = value.read(size + 2)
        if is_swapped:
            words = words[: len(words) // 2 * 2]
            words = np.frombuffer(words, "u1").reshape(-1, 2)[:, ::-1].tobytes()
        raw = words[index * size % 2 :][:size]
        cells = np.frombuffer(_expanded(raw, width) if is_halved else raw, f"{order}u{width}")
        if samples == 1:
            cells = cells.reshape(rows, columns)
        elif dataset.get("PlanarConfiguration", 0) == 1:
            cells = cells.reshape(samples, rows, columns).transpose(1, 2, 0)
        else:
            cells = cells.reshape(rows, columns, samples)
        yield _signed(cells, dataset, bits)


def _expanded(raw: bytes, width: int) -> bytes:
    from pydicom.pixels.utils import expand_ybr422

    return expand_ybr422(raw, 8 * width)


def _vr_before(value: BinaryIO) -> bytes:
    value.seek(-8, SEEK_CUR)
    vr = value.read(2)
    value.seek(6, SEEK_CUR)
    return vr


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


def _read_png(stream: BinaryIO) -> list[Samples] | None:
    from PIL import Image

    data = stream.read()
    depth, colour = data[24], data[25]
    if depth == 16 and colour != 0:  # which Pillow cuts to 8 bits
        return None
    with Image.open(BytesIO(data), formats=["PNG"]) as image:
        return [np.array(image)]


def _read_tiff(stream: BinaryIO) -> list[Samples] | None:
    import tifffile

    with tifffile.TiffFile(stream) as file:
        # Pages of reduced resolution go, see the documentation.
        every: list[Any] = list(file.pages)
        pages = [page for page in every if not (page.is_reduced or page.subfiletype & 1)]
        if any(page.compression == tifffile.COMPRESSION.JPEG for page in pages):
            return None
        return [page.asarray() for page in pages]


def _read_jpeg(_stream: BinaryIO) -> None:
    return None
