"""The header of a derived image: every element that protection changes, and nothing else.

The rules are those of PS3.3 for derived images; `docs/reference/dicom.md` lists them one by one.
No clock is read: the same source and derivation give the same bytes.
"""

import struct
from collections.abc import Callable, Iterator

from medprotect.imaging.dicom.codecs import CODECS, photometric_written
from medprotect.imaging.dicom.dictionary import tag_of
from medprotect.imaging.dicom.document import Document
from medprotect.imaging.dicom.elements import (
    DataSet,
    Element,
    Encoding,
    Item,
    encode_element,
    encode_item,
    find,
    put,
    walk,
)
from medprotect.imaging.dicom.layout import PixelLayout
from medprotect.imaging.dicom.pictures import ICON_IMAGE_SEQUENCE, find_pictures
from medprotect.imaging.dicom.values import text
from medprotect.imaging.image import Derivation

_FRAME_TYPE = tag_of("FrameType")
_DERIVATION_IMAGE = tag_of("DerivationImageSequence")
_SIGNATURES = frozenset({tag_of("DigitalSignaturesSequence"), tag_of("MACParametersSequence")})
_STALE_RANGES = (
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
)
_LARGEST_RANGE = 65535
"""What a value of VR US or SS can state."""

_DESCRIPTION_LENGTH = 1024
"""Most characters of a value of VR ST (PS3.5 section 6.2)."""

_PIXEL_ADDITION = ("113042", "Pixel by pixel addition")  # CID 7203
_MODIFYING_EQUIPMENT = ("109103", "Modifying Equipment")  # CID 7005
_PROCESSED_SOURCE = ("121322", "Source image for image processing operation")  # CID 7202


def describe_derivation(derivation: Derivation) -> str:
    """Return the sentence that says what was done, in ASCII and without a backslash."""
    sentence = (
        f"Protected by medprotect {derivation.version}: imperceptible noise added to the pixels"
        f" (pipeline {derivation.pipeline}, strength {derivation.strength}, decoys"
        f" {'on' if derivation.decoys else 'off'})"
    )
    if derivation.decoys:
        sentence += "; not for AI-assisted diagnosis"
    return sentence.encode("ascii", "replace").decode().replace("\\", "/")


def remove_pictures(data_set: DataSet, layout: PixelLayout | None) -> list[str]:
    """Remove every picture besides the pixels; return the slugs of what went."""
    notes = set()
    for picture in find_pictures(data_set, layout):
        is_icon = picture.element.tag == ICON_IMAGE_SEQUENCE
        notes.add("icon_image_removed" if is_icon else "private_picture_removed")
        picture.element.encoded = b""
    return sorted(notes)


def remove_signatures(data_set: DataSet) -> list[str]:
    """Remove signatures, which no longer hold; return the slug if there were any."""
    signatures = [element for element in walk(data_set.elements) if element.tag in _SIGNATURES]
    for element in signatures:
        element.encoded = b""
    return ["signature_removed"] if signatures else []


def derive_header(document: Document, derivation: Derivation) -> None:
    """Mark a document as derived: image type, UIDs, description, equipment.

    Parameters
    ----------
    document : Document
        Changed in place; its pixels are not looked at.
    derivation : Derivation
        What the header says of the change.
    """
    data_set = document.data_set
    sop_class = text(data_set, data_set.get("SOPClassUID"))
    source_uid = text(data_set, data_set.get("SOPInstanceUID"))
    _set_image_type(data_set)
    _append_description(data_set, describe_derivation(derivation))
    _append_item(data_set.elements, data_set, "DerivationCodeSequence", _code(*_PIXEL_ADDITION))
    _append_item(
        data_set.elements, data_set, "ContributingEquipmentSequence", _equipment(derivation)
    )
    if derivation.source_reference and source_uid:
        reference = _source_image(sop_class, source_uid)
        _append_item(data_set.elements, data_set, "SourceImageSequence", reference)
    _derive_frames(data_set)
    if not derivation.keep_uids:
        _set_uids(document, derivation, source_uid)


Content = Callable[[Encoding], bytes]
"""Makes the value of an item in an encoding."""


def _elements(*parts: tuple[str, str, str | Content]) -> Content:
    """Return what makes an item of elements (keyword, VR, text or sequence with one item)."""

    def encode(encoding: Encoding) -> bytes:
        encoded = []
        for keyword, vr, value in parts:
            raw = (
                value.encode() if isinstance(value, str) else encode_item(value(encoding), encoding)
            )
            encoded.append(encode_element(tag_of(keyword), vr, raw, encoding))
        return b"".join(encoded)

    return encode


def _code(value: str, meaning: str) -> Content:
    return _elements(
        ("CodeValue", "SH", value),
        ("CodingSchemeDesignator", "SH", "DCM"),
        ("CodeMeaning", "LO", meaning),
    )


def _equipment(derivation: Derivation) -> Content:
    return _elements(
        ("Manufacturer", "LO", "medprotect"),
        ("SoftwareVersions", "LO", derivation.version),
        ("ContributionDescription", "ST", describe_derivation(derivation)),
        ("PurposeOfReferenceCodeSequence", "SQ", _code(*_MODIFYING_EQUIPMENT)),
    )


def _source_image(sop_class: str, uid: str) -> Content:
    return _elements(
        ("ReferencedSOPClassUID", "UI", sop_class),
        ("ReferencedSOPInstanceUID", "UI", uid),
        ("PurposeOfReferenceCodeSequence", "SQ", _code(*_PROCESSED_SOURCE)),
    )


def _append_item(
    elements: list[Element], data_set: DataSet, keyword: str, content: Content
) -> None:
    """Append an item to a sequence, which is made where there is none."""
    tag = tag_of(keyword)
    sequence = find(elements, tag)
    if sequence is not None and sequence.items:
        encoding = sequence.items[0].encoding
        encoded = encode_item(content(encoding), encoding)
        sequence.items.append(Item(0, 0, 0, 0, encoding, encoded=encoded))
        return
    encoding = elements[0].encoding if elements else data_set.encoding
    value = encode_item(content(encoding), encoding)
    put(elements, tag, encode_element(tag, "SQ", value, encoding), encoding)


def _set(data_set: DataSet, keyword: str, vr: str, value: bytes) -> None:
    tag = tag_of(keyword)
    encoded = encode_element(tag, vr, value, data_set.encoding)
    put(data_set.elements, tag, encoded, data_set.encoding)


def _derived(image_type: bytes) -> bytes:
    """Return an image type with DERIVED as its first value (PS3.3 section C.7.6.1.1.2)."""
    _, backslash, rest = image_type.rstrip(b" \0").partition(b"\\")
    return b"DERIVED" + backslash + rest


def _set_image_type(data_set: DataSet) -> None:
    element = data_set.get("ImageType")
    image_type = data_set.value(element) if element is not None else b""
    _set(data_set, "ImageType", "CS", _derived(image_type or b"DERIVED\\SECONDARY"))


def _append_description(data_set: DataSet, sentence: str) -> None:
    """Append to Derivation Description; where both do not fit, the older text is cut."""
    element = data_set.get("DerivationDescription")
    before = data_set.value(element).rstrip(b" \0") if element is not None else b""
    room = _DESCRIPTION_LENGTH - len(sentence) - 2
    if len(before) > room:
        # Cut at a blank, so that no character of several bytes is cut in two.
        before = before[:room].rpartition(b" ")[0]
    value = before + b"; " * bool(before) + sentence.encode()
    _set(data_set, "DerivationDescription", "ST", value)


def _functional_groups(data_set: DataSet, keyword: str) -> list[Item]:
    sequence = data_set.get(keyword)
    return (sequence.items if sequence is not None else None) or []


def _derive_frames(data_set: DataSet) -> None:
    """Mark the frames of an enhanced image as derived (PS3.3 section C.8.16.1.1)."""
    shared = _functional_groups(data_set, "SharedFunctionalGroupsSequence")
    frames = _functional_groups(data_set, "PerFrameFunctionalGroupsSequence")
    for element in _frame_types(shared + frames):
        value = _derived(data_set.value(element))
        element.encoded = encode_element(_FRAME_TYPE, "CS", value, element.encoding)
    if shared and not any(find(item.elements, _DERIVATION_IMAGE) for item in shared + frames):
        # Type 2, without items: an item would have to name the source image (C.7.6.16.2.6).
        encoding = shared[0].encoding
        encoded = encode_element(_DERIVATION_IMAGE, "SQ", b"", encoding)
        put(shared[0].elements, _DERIVATION_IMAGE, encoded, encoding)


def _frame_types(groups: list[Item]) -> Iterator[Element]:
    for item in groups:
        for element in walk(item.elements):
            if element.tag == _FRAME_TYPE:
                yield element


def _set_uids(document: Document, derivation: Derivation, source_uid: str) -> None:
    data_set = document.data_set
    if source_uid:
        uid = derivation.new_uid("instance", source_uid).encode()
        _set(data_set, "SOPInstanceUID", "UI", uid)
        if document.meta.get("MediaStorageSOPInstanceUID") is not None:
            _set(document.meta, "MediaStorageSOPInstanceUID", "UI", uid)
    series_uid = text(data_set, data_set.get("SeriesInstanceUID"))
    if series_uid:
        uid = derivation.new_uid("series", series_uid).encode()
        _set(data_set, "SeriesInstanceUID", "UI", uid)


def set_pixel_range(data_set: DataSet, lowest: int, highest: int) -> None:
    """State the range of the new stored values where the header states one (C.7.6.3)."""
    for keyword, value in (
        ("SmallestImagePixelValue", lowest),
        ("LargestImagePixelValue", highest),
    ):
        element = data_set.get(keyword)
        if element is not None and highest - min(lowest, 0) > _LARGEST_RANGE:
            element.encoded = b""
        elif element is not None and element.value_end > element.value:
            packed = struct.pack(element.encoding.order + "H", value & 0xFFFF)
            vr = element.vr if element.vr in ("US", "SS") else "SS" if lowest < 0 else "US"
            _set(data_set, keyword, vr, packed)
    for keyword in _STALE_RANGES:
        element = data_set.get(keyword)
        if element is not None:
            element.encoded = b""


def set_compression(
    document: Document, layout: PixelLayout, size: int, *, lossy: bool
) -> list[str]:
    """State the transfer syntax that is written, and that loss once happened (C.7.6.1.1.5).

    Parameters
    ----------
    document : Document
        Changed in place.
    layout : PixelLayout
        Of its pixels.
    size : int
        Bytes of the compressed source.
    lossy : bool
        Whether the source was compressed with loss.

    Returns
    -------
    list of str
        ``promoted_to_lossless`` where the syntax changes.
    """
    data_set, syntax = document.data_set, document.transfer_syntax
    codec = CODECS.get(syntax)
    if codec is None:
        return []
    photometric = photometric_written(syntax, layout.photometric)
    if photometric != layout.photometric:
        _set(data_set, "PhotometricInterpretation", "CS", photometric.encode())
    if lossy and text(data_set, data_set.get("LossyImageCompression")) != "01":
        _set(data_set, "LossyImageCompression", "CS", b"01")
        ratio = f"{layout.pixel_bytes / size:.2f}"
        _set(data_set, "LossyImageCompressionRatio", "DS", ratio.encode())
        _set(data_set, "LossyImageCompressionMethod", "CS", codec.method.encode())
    if codec.target == syntax:
        return []
    _set(document.meta, "TransferSyntaxUID", "UI", codec.target.encode())
    if layout.planar:
        planar = struct.pack(data_set.encoding.order + "H", 0)
        _set(data_set, "PlanarConfiguration", "US", planar)
    return ["promoted_to_lossless"]


def set_extended_offsets(data_set: DataSet, tables: tuple[bytes, bytes] | None) -> None:
    """Write the Extended Offset Table of the new frames where they need one (C.7.6.3.1.8)."""
    for keyword, value in zip(
        ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"), tables or (None, None), strict=True
    ):
        element = data_set.get(keyword)
        if value is not None:
            _set(data_set, keyword, "OV", value)
        elif element is not None:
            element.encoded = b""
