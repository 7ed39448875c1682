"""Files with and without preamble, meta information and a right transfer syntax; deflated ones."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError, NotAnImageError
from medprotect.imaging import dicom
from medprotect.imaging.dicom.document import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    deflate,
    inflate,
    read_document,
    read_header,
)
from medprotect.imaging.dicom.elements import EXPLICIT_LITTLE, encode_element

from .conftest import protect, read, stored

Shipped = Callable[[str], bytes]


def without_meta(data: bytes) -> bytes:
    document = read_document(data, 0)
    return data[document.meta.end :]


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"]
)
def test_a_bare_data_set_is_read_and_stays_bare(shipped: Shipped, name: str) -> None:
    data = without_meta(shipped(name))
    assert dicom.is_dicom(data[:132])
    changed, encoded = protect(data)
    assert encoded.data[:4] == data[:4]
    assert (stored(encoded.data)[0] == changed[0]).all()
    assert dicom.undocumented_changes(data, encoded.data) == []


def test_meta_information_without_preamble_is_read_and_stays_so(shipped: Shipped) -> None:
    data = shipped("MR_small.dcm")[132:]
    assert dicom.is_dicom(data[:132])
    changed, encoded = protect(data)
    assert encoded.data[:2] == b"\x02\0"
    assert (stored(encoded.data)[0] == changed[0]).all()
    assert dicom.undocumented_changes(data, encoded.data) == []


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm"])
def test_the_word_of_the_prefix_may_stand_in_a_value(shipped: Shipped, name: str) -> None:
    body = without_meta(shipped(name))
    document = read_document(body, 0)
    kind = document.data_set.get("ImageType")
    assert kind is not None
    padding = 128 - kind.value
    value = (b"ORIGINAL\\PRIMARY".ljust(padding, b" ") + b"DICM").ljust(padding + 8, b" ")
    encoded = encode_element(kind.tag, "CS", value, kind.encoding)
    data = body[: kind.start] + encoded + body[kind.end :]
    assert data[128:132] == b"DICM"
    changed, protected = protect(data)
    assert protected.data[:4] == data[:4]
    assert (stored(protected.data)[0] == changed[0]).all()
    assert "ImageType" in dicom.changed_elements(data, protected.data)
    assert dicom.undocumented_changes(data, protected.data) == []


def without_transfer_syntax(data: bytes) -> bytes:
    document = read_document(data, 0)
    element = document.meta.get("TransferSyntaxUID")
    assert element is not None
    element.encoded = b""
    return document.write()


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"]
)
def test_native_pixels_need_no_transfer_syntax(shipped: Shipped, name: str) -> None:
    data = without_transfer_syntax(shipped(name))
    assert "TransferSyntaxUID" not in read(data).file_meta
    changed, encoded = protect(data)
    assert (stored(encoded.data)[0] == changed[0]).all()
    assert "TransferSyntaxUID" not in read(encoded.data).file_meta
    assert dicom.undocumented_changes(data, encoded.data) == []


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "image_dfl.dcm"])
def test_other_pixels_do(shipped: Shipped, name: str) -> None:
    with pytest.raises(CorruptImageError, match=r"encapsulated|TransferSyntaxUID"):
        list(dicom.open_file(without_transfer_syntax(shipped(name))).images())


@pytest.mark.parametrize("head", [b"", b"\0" * 200, b"\x89PNG\r\n\x1a\n" * 20, b"hello " * 30])
def test_what_is_no_dicom_file_is_told_apart(head: bytes) -> None:
    assert not dicom.is_dicom(head)
    with pytest.raises(NotAnImageError):
        dicom.describe(io.BytesIO(head))


def test_compressed_pixels_in_a_bare_data_set_are_refused(shipped: Shipped) -> None:
    data = without_meta(shipped("MR_small_RLE.dcm"))
    with pytest.raises(CorruptImageError, match="encapsulated pixel data in a native"):
        list(dicom.open_file(data).images())


def test_a_data_set_written_otherwise_than_declared_is_read_as_written(shipped: Shipped) -> None:
    data = shipped("MR_small_implicit.dcm")
    document = read_document(data, 0)
    meta = data[132 : document.meta.end].replace(
        struct.pack("<H", 18) + b"1.2.840.10008.1.2\0",
        struct.pack("<H", 20) + b"1.2.840.10008.1.2.1\0",
    )
    lying = data[:132] + meta + data[document.meta.end :]
    changed, encoded = protect(lying)
    assert (stored(encoded.data)[0] == changed[0]).all()
    assert dicom.undocumented_changes(lying, encoded.data) == []


def test_a_preamble_that_is_not_empty_is_cleared_and_that_is_said(shipped: Shipped) -> None:
    data = b"MZ" + b"\x90" * 126 + shipped("MR_small.dcm")[128:]
    _, encoded = protect(data)
    assert encoded.data[:132] == b"\0" * 128 + b"DICM"
    assert "preamble_cleared" in encoded.notes
    assert "Preamble" in dicom.changed_elements(data, encoded.data)
    _, encoded = protect(b"\0" * 128 + data[128:])
    assert "preamble_cleared" not in encoded.notes


def deflated(shipped: Shipped, body: bytes) -> bytes:
    data = shipped("image_dfl.dcm")
    return data[: read_header(io.BytesIO(data)).meta.end] + deflate(body)


def body_of(shipped: Shipped) -> bytes:
    data = shipped("image_dfl.dcm")
    return zlib.decompress(data[read_header(io.BytesIO(data)).meta.end :], -zlib.MAX_WBITS)


def test_a_deflated_file_stays_deflated(shipped: Shipped) -> None:
    data = shipped("image_dfl.dcm")
    changed, encoded = protect(data)
    dataset = read(encoded.data)
    assert dataset.file_meta.TransferSyntaxUID == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    assert (dataset.pixel_array == changed[0]).all()


def test_a_deflated_file_with_a_zlib_header_is_read(shipped: Shipped) -> None:
    data = shipped("image_dfl.dcm")
    meta_end = read_header(io.BytesIO(data)).meta.end
    assert stored(data[:meta_end] + zlib.compress(body_of(shipped)))[0].shape == (512, 512)


def test_a_damaged_or_short_deflated_stream_is_corrupt(shipped: Shipped) -> None:
    data = shipped("image_dfl.dcm")
    with pytest.raises(CorruptImageError, match="ends early"):
        dicom.open_file(data[:-1000])
    middle = len(data) // 2
    with pytest.raises(CorruptImageError):
        dicom.open_file(data[:400] + b"\xff" * 100 + data[500:middle])
    with pytest.raises(CorruptImageError, match="ends early"):
        inflate(deflate(b"abc")[:2], 10)


def test_a_header_that_inflates_over_the_limit_is_refused(shipped: Shipped) -> None:
    bomb = encode_element(0x00091001, "OB", b"\0" * (limits.HEADER_BYTES + 2), EXPLICIT_LITTLE)
    data = deflated(shipped, bomb + body_of(shipped))
    assert len(data) < 400_000
    with pytest.raises(ImageTooLargeError):
        dicom.describe(io.BytesIO(data))


def test_pixels_that_inflate_over_what_the_header_declares_are_refused(shipped: Shipped) -> None:
    body = body_of(shipped) + b"\0" * (limits.HEADER_BYTES + 1024)
    with pytest.raises(ImageTooLargeError, match="more than it declares"):
        dicom.open_file(deflated(shipped, body))


def test_a_deflate_bomb_takes_no_memory(shipped: Shipped, tmp_path: Path) -> None:
    element = encode_element(0x00091001, "OB", b"", EXPLICIT_LITTLE)[:-4]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    chunk = b"\0" * 2**20
    body = deflater.compress(element + struct.pack("<I", 2**31))
    body += b"".join(deflater.compress(chunk) for _ in range(1024)) + deflater.flush()
    data = shipped("image_dfl.dcm")
    data = data[: read_header(io.BytesIO(data)).meta.end] + body
    path = tmp_path / "bomb.dcm"
    path.write_bytes(data)
    program = """
import re, sys
from medprotect.errors import ImageTooLargeError
from medprotect.imaging import dicom
with open(sys.argv[1], "rb") as file:
    try:
        dicom.describe(file)
    except ImageTooLargeError:
        print(re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""
    result = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert 0 < int(result.stdout) < 300 * 1024, "KiB, of which Python and numpy take up to 100,000"


def test_only_the_header_of_a_large_file_is_read(shipped: Shipped) -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.bytes_read += len(data)
            return data

    stream = Counting(shipped("MR_small.dcm") + b"\0" * 10_000_000)
    dicom.describe(stream)
    assert stream.bytes_read < 1_000_000


def test_a_header_longer_than_the_first_read_is_read(shipped: Shipped) -> None:
    data = shipped("MR_small.dcm")
    header = read_document(data, 0)
    extra = encode_element(0x00091001, "OB", b"\1" * 2_000_000, EXPLICIT_LITTLE)
    at = next(e.start for e in header.data_set.elements if e.tag > 0x00091001)
    long = data[:at] + extra + data[at:]
    assert dicom.describe(io.BytesIO(long)).kind == "dicom MR"
