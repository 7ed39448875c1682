"""Small files that ask for much: refused within bounds of memory, each in a process of its own.

``pytest -s tests/e2e/test_bombs.py`` prints what each took.
"""

import bz2
import gzip
import io
import json
import os
import re
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate

from medprotect.errors import InputError
from medprotect.imaging import formats

from ..imaging.protecting import DERIVATION
from ..imaging.raster.pictures import GREY, chunk, jpeg, png, tiff, with_chunk
from .seeds import MAKERS

MOST_BYTES = 256 * 1024**2
"""What reading may take beyond what the process had: the largest header, twice, and some."""

ZEROS = 300 * 1024**2


def squeezed(size: int, window: int = 15, head: bytes = b"") -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, window)
    parts = [deflater.compress(head)]
    parts += [deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(parts) + deflater.flush()


def deflated_dicom() -> bytes:
    """A data set that goes on for 300 MB behind its pixels."""
    data = MAKERS["dicom-deflated"]()
    start = data.index(b"1.2.840.10008.1.2.1.99") + 22
    at = start + 12 + (start % 2)
    while True:  # where the deflated part begins
        try:
            body = zlib.decompressobj(-15).decompress(data[at:])
            if body[:1] == b"\x08":
                break
        except zlib.error:
            pass
        at += 1
    padding = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, ZEROS)
    return data[:at] + squeezed(ZEROS, -15, body + padding)


def sequence_of_empty_items() -> bytes:
    data = MAKERS["dicom"]()
    at = data.rindex(b"\xe0\x7f\x10\x00")
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 1_500_000
    return data[:at] + struct.pack("<HH2sHI", 0x4FFF, 0x1001, b"SQ", 0, len(items)) + items


def nested(depth: int) -> Callable[[], bytes]:
    def make() -> bytes:
        data = MAKERS["dicom"]()
        at = data.rindex(b"\xe0\x7f\x10\x00")
        opening = struct.pack("<HH2sHI", 0x4FFF, 0x1001, b"SQ", 0, 0xFFFFFFFF)
        opening += b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        return data[:at] + opening * depth + closing * depth + data[at:]

    return make


def larger_codestream(kind: str, codestream: Callable[[np.ndarray], bytes]) -> Callable[[], bytes]:
    """A header of a small matrix over a codestream of a large one."""

    def make() -> bytes:
        dataset = dcmread(io.BytesIO(MAKERS[kind]()))
        dataset.PixelData = encapsulate([codestream(np.zeros((8000, 8000), np.uint8))])
        dataset["PixelData"].is_undefined_length = True
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        return buffer.getvalue()

    return make


def rle_run() -> bytes:
    """One plane of 64 MB in runs, where the header says 512 bytes."""
    dataset = dcmread(io.BytesIO(MAKERS["dicom-rle"]()))
    segment = b"\x81\0" * 512_000
    head = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13)
    dataset.PixelData = encapsulate([head + segment * 2])
    dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def nifti_followed_by_zeros() -> bytes:
    plain = MAKERS["nifti"]()
    return squeezed(3 * ZEROS, 31, plain)


def nifti_of_impossible_size() -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_shape((32767,) * 4)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return gzip.compress(header.binaryblock + bytes(5000))


def of_voxels(kind: str, packed: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """The header of a small volume over compressed data of 300 MB."""

    def make() -> bytes:
        data = MAKERS[kind]()
        end = data.index(b"LOCAL\n") + 6 if kind.startswith("meta") else data.index(b"\n\n") + 2
        body = packed(bytes(ZEROS))
        head = re.sub(rb"DataSize = \d+", b"DataSize = %d" % len(body), data[:end])
        return head + body

    return make


def with_sizes(kind: str, sizes: bytes) -> Callable[[], bytes]:
    """A volume whose header states that it is large."""

    def make() -> bytes:
        data = MAKERS[kind]()
        if kind.startswith("mgh"):
            plain = gzip.decompress(data)
            return gzip.compress(plain[:4] + struct.pack(">4i", *[1 << 23] * 4) + plain[20:])
        return data.replace(b"9 8 3", sizes)

    return make


def png_of(columns: int, rows: int, pixels: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff_with(compression: str, packed: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """A page of 16 x 16 over a strip that unpacks to 300 MB."""

    def make() -> bytes:
        data = tiff(GREY[:16, :16].copy(), compression=compression)
        strip = packed(bytes(ZEROS))
        changed = bytearray(data + strip)
        for tag, value in ((273, len(data)), (279, len(strip))):
            at = changed.index(struct.pack("<H", tag))
            struct.pack_into("<HII", changed, at + 2, 4, 1, value)
        return bytes(changed)

    return make


def lzw(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.lzw_encode(data))


def zstd(data: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_encode(data))


def tiff_of_pages_over_one_list() -> bytes:
    """A hundred pages that name the same 200,000 strips."""
    count, pages = 200_000, 100
    sizes_at, pixels_at = 8 + 4 * count, 8 + 8 * count
    data = bytearray(b"II*\0" + struct.pack("<I", pixels_at + count))
    data += struct.pack(f"<{count}I", *range(pixels_at, pixels_at + count))
    data += struct.pack(f"<{count}I", *[1] * count) + bytes(count)
    tags = [(256, 1, 1), (257, 1, count), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, count, 8)]
    tags += [(277, 1, 1), (278, 1, 1), (279, count, sizes_at)]
    for page in range(pages):
        entries = b"".join(struct.pack("<HHII", tag, 4, many, value) for tag, many, value in tags)
        link = len(data) + 2 + len(entries) + 4 if page < pages - 1 else 0
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", link)
    return bytes(data)


def jpeg_of(side: int) -> bytes:
    data = bytearray(jpeg(GREY))
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, side, side)
    return bytes(data)


def _jpeg_ls(pixels: np.ndarray) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegls_encode(pixels))


def _jpeg_2000(pixels: np.ndarray) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True))


def _jpeg_lossless(pixels: np.ndarray) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=8))


BOMBS: dict[str, Callable[[], bytes]] = {
    "deflated DICOM": deflated_dicom,
    "DICOM of empty items": sequence_of_empty_items,
    "DICOM nested 65 deep": nested(65),
    "DICOM nested 200 deep": nested(200),
    "DICOM nested 10,000 deep": nested(10_000),
    "JPEG-LS in DICOM": larger_codestream("dicom-jpeg-ls", _jpeg_ls),
    "JPEG 2000 in DICOM": larger_codestream("dicom-jpeg-2000", _jpeg_2000),
    "JPEG Lossless in DICOM": larger_codestream("dicom-jpeg-lossless", _jpeg_lossless),
    "JPEG in DICOM": larger_codestream("dicom-jpeg", jpeg),
    "RLE in DICOM": rle_run,
    "gzipped NIfTI": nifti_followed_by_zeros,
    "NIfTI of 32767 to the fourth": nifti_of_impossible_size,
    "zlib in MetaImage": of_voxels("metaimage-zlib", zlib.compress),
    "gzip in NRRD": of_voxels("nrrd-gzip", gzip.compress),
    "bzip2 in NRRD": of_voxels("nrrd-bzip2", bz2.compress),
    "gzipped MGH": lambda: squeezed(ZEROS, 31, MAKERS["mgh"]()),
    "MetaImage of 10 million cubed": with_sizes("metaimage", b" ".join([b"10000000"] * 3)),
    "MetaImage of a gigabyte in zlib": with_sizes("metaimage-zlib", b"1000 1000 500"),
    "NRRD of 10 million cubed": with_sizes("nrrd-gzip", b" ".join([b"10000000"] * 3)),
    "NRRD of a gigabyte in bzip2": with_sizes("nrrd-bzip2", b"1000 1000 500"),
    "MGH of eight million to the fourth": with_sizes("mgh-gzip", b""),
    "MetaImage of endless header": lambda: b"ObjectType = Image\n" + b"A = 1\n" * 20_000_000,
    "NRRD of endless header": lambda: b"NRRD0004\n" + b"#" * 100_000_000,
    "PNG pixels": lambda: png_of(10, 10, squeezed(ZEROS)),
    "PNG of 100,000 x 100,000": lambda: png_of(100_000, 100_000, b""),
    "PNG text": lambda: with_chunk(png(GREY), b"zTXt", b"Comment\0\0" + squeezed(ZEROS)),
    "PNG international text": lambda: with_chunk(
        png(GREY), b"iTXt", b"Comment\0\1\0\0\0" + squeezed(ZEROS)
    ),
    "deflated TIFF": tiff_with("zlib", lambda data: squeezed(len(data))),
    "LZW TIFF": tiff_with("lzw", lzw),
    "Zstandard TIFF": tiff_with("zstd", zstd),
    "TIFF of pages over one list": tiff_of_pages_over_one_list,
    "JPEG of 65,500 x 65,500": lambda: jpeg_of(65_500),
}


def weigh(data: bytes) -> dict[str, object]:
    """Read a file in a process of its own; return how it ended, and what it took."""
    formats.load_format("dicom")
    pipe, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(pipe)
        try:
            _be_weighed(data, end)
        finally:
            os._exit(1)
    os.close(end)
    with os.fdopen(pipe) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), f"ended by signal {os.WTERMSIG(status)}"
    answer: dict[str, object] = json.loads(text)
    return answer


def kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _be_weighed(data: bytes, end: int) -> None:
    # What the parent had, the child has: only what comes on top counts.
    before = kibibytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the largest is what comes from now on
    began = time.monotonic()
    try:
        formats.describe(io.BytesIO(data))
        file = formats.open_file(data)
        changed = [image.stored for image in file.images()]
        file.encode(changed, DERIVATION)
        found = "read"
    except InputError as error:
        found = error.slug
    except BaseException as error:
        found = type(error).__name__
    answer = {
        "found": found,
        "bytes": 1024 * (kibibytes("VmHWM") - before),
        "seconds": round(time.monotonic() - began, 2),
    }
    os.write(end, json.dumps(answer).encode())
    os._exit(0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_bounds(name: str) -> None:
    data = BOMBS[name]()
    found = weigh(data)
    print(f"\n{name}: {len(data):,} bytes, {found}")
    assert found["found"] in ("corrupt", "too_large", "unsupported", "read")
    assert isinstance(found["bytes"], int)
    assert found["bytes"] < MOST_BYTES + 4 * len(data)
