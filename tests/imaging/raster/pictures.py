"""Pictures and metadata to protect, made with the encoders that write real ones."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from skimage import data as shipped

Pixels = np.ndarray[Any, Any]

GREY: Pixels = shipped.camera()[100:137, 200:245]
COLOUR: Pixels = shipped.astronaut()[100:137, 200:245]


def jpeg(pixels: Pixels = COLOUR, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png(pixels: Pixels = GREY, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def tiff(pixels: Pixels = GREY, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(data: bytes, name: bytes, content: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG file with one more chunk before the first of another type."""
    at = data.index(before) - 4
    return data[:at] + chunk(name, content) + data[at:]


THUMBNAIL = jpeg(COLOUR[::2, ::2].copy())


def exif(thumbnail: bytes = THUMBNAIL, order: str = "<") -> bytes:
    """EXIF as cameras write it: two tags, an EXIF directory, and a thumbnail in IFD1."""

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        raw = struct.pack(order + "HHI", tag, kind, count)
        return raw + (
            struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        )

    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    first = [entry(0x0110, 2, 8, 100), entry(0x0112, 3, 1, 6), entry(0x8769, 4, 1, 120)]
    body = struct.pack(order + "H", 3) + b"".join(first)
    body += struct.pack(order + "I", 160 if thumbnail else 0)
    data = (head + body).ljust(100, b"\0") + b"Scanner\0".ljust(20, b"\0")
    inner = struct.pack(order + "H", 1) + entry(0x8827, 3, 1, 400) + bytes(4)
    data = (data + inner).ljust(160, b"\0")
    if not thumbnail:
        return data
    second = [
        entry(0x0103, 3, 1, 6),
        entry(0x0201, 4, 1, 210),
        entry(0x0202, 4, 1, len(thumbnail)),
    ]
    data += struct.pack(order + "H", 3) + b"".join(second) + bytes(4)
    return data.ljust(210, b"\0") + thumbnail


XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b"<xmp:CreatorTool>Scanner</xmp:CreatorTool>%s</x:xmpmeta><?xpacket end='w'?>"
)
XMP_PLAIN = XMP % b""
XMP_PICTURE = XMP % (
    b"<xmp:Thumbnails><xmpGImg:image>"
    + base64.b64encode(THUMBNAIL)
    + b"</xmpGImg:image></xmp:Thumbnails>"
)
