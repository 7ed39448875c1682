"""What a file is, by its content; never by its name."""

import codecs
import gzip
import re
import struct
import zlib
from typing import BinaryIO

FORMATS = ("dicom", "nifti", "metaimage", "nrrd", "mgh", "png", "tiff", "jpeg")
"""Words of `sniff` for what can be protected."""

_HEAD_BYTES = 4096
_CHUNK_BYTES = 1024 * 1024

_MAGIC: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("png", (b"\x89PNG\r\n\x1a\n",)),
    ("jpeg", (b"\xff\xd8\xff",)),
    ("nrrd", (b"NRRD0",)),
    ("tiff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (
        "archive",
        (
            *(b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"),
            *(b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"LZIP"),
            *(b"\x1f\x9d", b"MSCF\0\0\0\0", b"!<arch>\n", b"xar!"),
        ),
    ),
    (
        "other-image",
        (
            *(b"GIF87a", b"GIF89a", b"8BPS", b"v/1\x01", b"DDS ", b"FWS", b"CWS"),
            *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),  # JPEG 2000
            *(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),  # JPEG XL
            *(b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x02"),  # MINC and others
            *(b"mrtrix image", b"SIMPLE  =", b"!INTERFILE", b"MATRIX7"),
            *(b"\x1a\x45\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"FLV\x01", b"OggS"),  # films
            *(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\x93NUMPY"),
        ),
    ),
)

_METAIMAGE = re.compile(rb"\A(?:Comment[ \t]*=[^\n]*\n)?(?:ObjectType|NDims)[ \t]*=")
_BEGINNINGS = (b"ObjectType = Image", b"NDims = ", b"\x5c\x01\0\0")
"""What volumes begin with that are known by more than that."""

# Text that is the header of an image, or holds one.
_IMAGE_TEXT = re.compile(
    rb"\A/\* XPM"
    rb"|^[ \t]*(?:ObjectType|ElementType|ElementDataFile)[ \t]*="  # MetaImage
    rb"|\A# === DATA DESCRIPTION FILE"  # Philips PAR
    rb"|^type[ \t]*=[ \t]*(?:string|integer|float)-attribute"  # AFNI HEAD
    rb"|\A(?:mrtrix image|!INTERFILE)",
    re.MULTILINE,
)
_SVG = re.compile(rb"<(?:\w+:)?svg\b")
_PNM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s|P7\nWIDTH|P[Ff]\n\d+ \d+\n")
_EMBEDDED_IMAGE = b"data:image/"
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x7f]")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1b")) + b"\x7f"
_FIRST_GROUPS = frozenset({0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028})


def sniff(stream: BinaryIO) -> str:
    """Return a word for what a file is, from its content alone.

    Parameters
    ----------
    stream : binary file
        Seekable; read from its beginning. Text is read to its end, to be sure that it is text;
        of a gzip file a few kilobytes are inflated.

    Returns
    -------
    str
        One of `FORMATS`: may be protected. ``text``, ``pdf``: nothing to protect. The others are
        to be rejected: ``archive``, ``compressed`` (of one file that is neither text nor of a known
        format), ``other-image`` (images and films of formats that are not protected), ``empty``,
        ``unknown``.
    """
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    if not head:
        return "empty"
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x1f\x8b"):
        return _sniff_gzip(stream)
    word = _sniff_head(head)
    if word:
        return word
    if _is_iso9660(stream):
        return "archive"
    return _sniff_text(stream)


def _sniff_head(head: bytes) -> str:
    """Return a word for a file from its first bytes; "" where they do not tell."""
    word = next((word for word, magics in _MAGIC if head.startswith(magics)), "")
    # Checked in this order: a NIfTI-2 header begins like no other, NIfTI-1 and DICOM without
    # preamble are known by less, so that they come last.
    return (
        word
        or ("metaimage" if _METAIMAGE.match(head) else "")
        or _sniff_volume(head)
        or _sniff_container(head)
        or ("dicom" if _begins_data_set(head) else "")
    )


def _sniff_volume(head: bytes) -> str:
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    if head[:4] == b"\0\0\0\x01" and len(head) >= 284:
        *sizes, kind = struct.unpack_from(">5i", head, 4)
        return "mgh" if all(0 < size < 1 << 24 for size in sizes) and kind < 16 else "other-image"
    is_analyze = head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c")
    return "other-image" if is_analyze else ""


def _sniff_container(head: bytes) -> str:
    if head[4:8] == b"ftyp":  # MP4, MOV, HEIC, AVIF
        return "other-image"
    if head[:4] in (b"RIFF", b"RIFX") and head[8:12] in (b"AVI ", b"WEBP"):
        return "other-image"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and 26 <= _little(head[10:14]) < 65536:
        return "other-image"
    if head[:4] in (b"\0\0\x01\0", b"\0\0\x02\0") and 0 < _little(head[4:6]) < 256:  # ICO, CUR
        return "other-image"
    if _PNM.match(head):
        return "other-image"
    if b"%PDF-" in head[:1024]:
        return "pdf"
    return "archive" if _is_tar(head) else ""


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _is_tar(head: bytes) -> bool:
    if head[257:262] == b"ustar":
        return True
    try:
        stated = int(head[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return len(head) >= 512 and stated == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def _begins_data_set(head: bytes) -> bool:
    """Whether the bytes begin with an element that a DICOM data set may begin with.

    Files of old writers lack preamble and prefix. Their first element has a VR, or a small length
    (PS3.5 section 7.1).
    """
    if len(head) < 16:
        return False
    little, number, length = struct.unpack_from("<HHI", head)
    (big,) = struct.unpack_from(">H", head)
    if head[4:6].isalpha() and head[4:6].isupper():
        return little in _FIRST_GROUPS or big in _FIRST_GROUPS
    return little in _FIRST_GROUPS and number < 0x1000 and length < 64 * 1024


def _sniff_gzip(stream: BinaryIO) -> str:
    stream.seek(0)
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        head = _inflate_head(stream)
    word = _sniff_head(head)
    if word in ("nifti", "mgh", "other-image"):
        return word
    if word in ("metaimage", "nrrd"):  # which are compressed within, by those who write them
        return "other-image"
    # Of what else may lie in it only voxels, which are no text, are no archive.
    return "compressed" if not word and head and _CONTROL.search(head) else "archive"


def _inflate_head(stream: BinaryIO) -> bytes:
    """Return what can be inflated of a damaged gzip file's beginning."""
    stream.seek(0)
    inflater = zlib.decompressobj(wbits=31)
    head = b""
    try:
        while len(head) < _HEAD_BYTES and (piece := stream.read(16)):
            head += inflater.decompress(piece, _HEAD_BYTES)
    except zlib.error:
        pass
    return head


def _is_iso9660(stream: BinaryIO) -> bool:
    stream.seek(32769)
    return stream.read(5) == b"CD001"


def _sniff_text(stream: BinaryIO) -> str:
    """Tell text from all else by reading the whole file, and text that is an image from text."""
    stream.seek(0)
    first = chunk = stream.read(_CHUNK_BYTES)
    magics = (*_BEGINNINGS, *(magic for _, magics in _MAGIC for magic in magics))
    if any(magic.startswith(first) for magic in magics):
        return "unknown"  # an image cut to its first bytes
    encoding = _encoding_of(first)
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    overlap = b""
    while chunk:
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError:
            return "unknown"
        encoded = text.encode("utf-8", "surrogatepass")
        if len(encoded.translate(None, _CONTROLS)) != len(encoded):
            return "unknown"
        if _EMBEDDED_IMAGE in overlap + encoded:
            return "other-image"
        overlap = encoded[-len(_EMBEDDED_IMAGE) :]
        chunk = stream.read(_CHUNK_BYTES)
    start = first[: 64 * 1024].lstrip()
    is_image = _IMAGE_TEXT.search(start) or (start[:1] == b"<" and _SVG.search(start[:1024]))
    return "other-image" if is_image else "text"


def _encoding_of(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        # Western single-byte text is mostly ASCII; pixels are not.
        high = len(head) - len(head.translate(None, bytes(range(128, 256))))
        return "latin-1" if high * 4 < len(head) else "utf-8"
    return "utf-8"
