"""What the header of an image says: layout of the pixels, description, windows, padding."""

import hashlib
import re

from medprotect import limits
from medprotect.errors import HeaderFaultError, ImageTooLargeError, UnsupportedImageError
from medprotect.imaging.dicom import codecs
from medprotect.imaging.dicom.document import Document
from medprotect.imaging.dicom.elements import DataSet
from medprotect.imaging.dicom.layout import PixelLayout
from medprotect.imaging.dicom.presentation import PALETTE, read_presentation
from medprotect.imaging.dicom.sop_classes import BODY_PARTS, MODALITIES, QUANTITATIVE
from medprotect.imaging.dicom.values import integer, numbers, text, texts
from medprotect.imaging.image import Description, Role, Traits

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL")
_MAPS = frozenset({"ADC", "FA", "TRACE", "CBF", "CBV", "MTT", "TTP", "SUV", "R2", "R2_STAR"})
_CODE = re.compile(r"[A-Z0-9 _]{0,16}")


def read_layout(document: Document) -> PixelLayout:
    """Read and check the Image Pixel module (PS3.3 section C.7.6.3).

    Raises
    ------
    HeaderFaultError
        An attribute is missing, or contradicts another.
    UnsupportedImageError
        The pixels are of a kind that cannot be written again without loss.
    ImageTooLargeError
        The matrix or all frames together are over `medprotect.limits`.
    """
    data_set = document.data_set
    photometric = text(data_set, data_set.get("PhotometricInterpretation")).upper()
    layout = PixelLayout(
        rows=_required(data_set, "Rows"),
        columns=_required(data_set, "Columns"),
        frames=_frames(data_set),
        samples=_required(data_set, "SamplesPerPixel", 1),
        bits_allocated=_required(data_set, "BitsAllocated"),
        bits_stored=_required(data_set, "BitsStored", _required(data_set, "BitsAllocated")),
        high_bit=_required(data_set, "HighBit", _required(data_set, "BitsStored", 0) - 1),
        signed=_required(data_set, "PixelRepresentation", 0) == 1,
        planar=integer(data_set, data_set.get("PlanarConfiguration")) == 1,
        photometric=photometric,
        halved_chroma=photometric == "YBR_FULL_422" and document.transfer_syntax in codecs.NATIVE,
    )
    _check_size(layout)
    _check_bits(layout)
    _check_photometric(layout, document.transfer_syntax)
    if layout.samples == 3 and data_set.get("ModalityLUTSequence") is not None:
        raise UnsupportedImageError(
            "colour images with a modality LUT are not protected; it means nothing for colour: have"
            " ModalityLUTSequence removed"
        )
    return layout


def _required(data_set: DataSet, keyword: str, default: int | None = None) -> int:
    element = data_set.get(keyword)
    value = integer(data_set, element)
    if value is None and default is not None and (element is None or not data_set.value(element)):
        return default
    if value is None or value < 0:
        raise HeaderFaultError(f"the header has no valid {keyword}")
    return value


def _frames(data_set: DataSet) -> int:
    element = data_set.get("NumberOfFrames")
    if not text(data_set, element):
        return 1
    frames = integer(data_set, element)
    if frames is None or frames < 0:
        raise HeaderFaultError("the header has no valid NumberOfFrames")
    return max(frames, 1)


def _check_size(layout: PixelLayout) -> None:
    if layout.rows == 0 or layout.columns == 0:
        raise HeaderFaultError("Rows or Columns of the header is 0")
    too_large = (
        layout.rows * layout.columns > limits.IMAGE_PIXELS
        or layout.frames > limits.IMAGES_PER_FILE
        or layout.pixel_bytes > limits.DECODED_BYTES
    )
    if too_large:
        raise ImageTooLargeError(
            "the image is larger when decoded than medprotect takes on; split it"
        )


def _check_bits(layout: PixelLayout) -> None:
    if layout.bits_allocated not in (8, 16, 32):
        raise UnsupportedImageError(
            f"pixels of {layout.bits_allocated} bits are not protected; have them written with"
            " BitsAllocated 8, 16 or 32"
        )
    if layout.bits_stored == 1:
        raise UnsupportedImageError(
            "pixels of one bit cannot carry imperceptible noise; leave it out"
        )
    if not 2 <= layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated:
        raise HeaderFaultError("BitsAllocated, BitsStored and HighBit of the header contradict")
    if layout.samples not in (1, 3):
        raise UnsupportedImageError(
            f"images of {layout.samples} samples a pixel are not protected; convert it to RGB"
        )


def _check_photometric(layout: PixelLayout, syntax: str) -> None:
    if not layout.photometric:
        raise HeaderFaultError("the header has no PhotometricInterpretation")
    codecs.check_writable(syntax, layout)
    in_memory = photometric_in_memory(syntax, layout.photometric)
    if in_memory not in _GREY + _COLOUR:
        raise UnsupportedImageError(
            "the photometric interpretation is not protected in this transfer syntax; convert it to"
            " RGB, and the plan says which pipeline takes that"
        )
    if (layout.samples == 3) != (in_memory in _COLOUR):
        raise HeaderFaultError(
            "SamplesPerPixel and PhotometricInterpretation of the header contradict"
        )
    if layout.halved_chroma and (layout.columns % 2 or layout.planar):
        raise HeaderFaultError(
            "PhotometricInterpretation YBR_FULL_422 needs even Columns and PlanarConfiguration 0"
        )
    if layout.samples == 3 and layout.signed:
        raise UnsupportedImageError(
            "signed colour images are not protected; have them written with PixelRepresentation 0"
        )


def photometric_in_memory(syntax: str, photometric: str) -> str:
    """Return the photometric interpretation of frames as read: a palette is one of greys."""
    return (
        "MONOCHROME2"
        if photometric == PALETTE
        else codecs.photometric_in_memory(syntax, photometric)
    )


def describe_image(document: Document, layout: PixelLayout) -> Description:
    """Describe a document that holds pixels of a layout."""
    data_set, syntax = document.data_set, document.transfer_syntax
    read_presentation(data_set, 0)
    modality = _code(data_set, "Modality")
    modality = modality if modality in MODALITIES else ""
    body_part = _code(data_set, "BodyPartExamined")
    traits = Traits(
        format="dicom",
        modality=modality,
        body_part=body_part if body_part in BODY_PARTS else "",
        photometric=photometric_in_memory(syntax, layout.photometric),
        channels=layout.samples,
        bits_stored=layout.bits_stored,
        signed=layout.signed,
        rows=layout.rows,
        columns=layout.columns,
        images=layout.frames,
        compression=codecs.compression_of(syntax),
        lossy=syntax in codecs.CODECS and codecs.CODECS[syntax].lossy,
        quantitative=_is_quantitative(data_set, modality),
    )
    return Description(
        role=Role.IMAGE,
        kind=f"dicom {modality or 'image'}",
        traits=traits,
        series=series_of(data_set),
        instance=opaque(text(data_set, data_set.get("SOPInstanceUID"))),
        warnings=_warnings(data_set),
        uids=_uids(data_set),
    )


def _uids(data_set: DataSet) -> tuple[tuple[str, str], ...]:
    keywords = {"instance": "SOPInstanceUID", "series": "SeriesInstanceUID"}
    found = ((kind, text(data_set, data_set.get(name))) for kind, name in keywords.items())
    return tuple((kind, uid) for kind, uid in found if uid)


def _code(data_set: DataSet, keyword: str) -> str:
    """Return a code string, or "" where it is none: free text there may be personal."""
    value = text(data_set, data_set.get(keyword)).upper()
    return value if _CODE.fullmatch(value) else ""


def _is_quantitative(data_set: DataSet, modality: str) -> bool:
    if modality in ("PT", "NM"):
        return True
    if text(data_set, data_set.get("SOPClassUID")) in QUANTITATIVE:
        return True
    image_type = [part.upper() for part in texts(data_set, data_set.get("ImageType"))]
    return any(part in _MAPS or part.endswith((" MAP", "_MAP")) for part in image_type[2:])


def series_of(data_set: DataSet) -> str:
    """Return an opaque text for the series, or "" where the header names none."""
    return opaque(text(data_set, data_set.get("SeriesInstanceUID")))


def opaque(uid: str) -> str:
    """Return what stands for a UID in a plan: the same text for the same UID, "" for none."""
    return hashlib.sha256(uid.encode()).hexdigest() if uid else ""


def _warnings(data_set: DataSet) -> tuple[str, ...]:
    found = []
    if _code(data_set, "PatientIdentityRemoved") != "YES":
        found.append("patient_identity_not_removed")
    if _code(data_set, "BurnedInAnnotation") != "NO":
        found.append("burned_in_annotation_not_excluded")
    return tuple(found)


def _as_signed(data_set: DataSet, value: float) -> float:
    """Return a value of VR ``US or SS`` as Pixel Representation says it is meant."""
    signed = integer(data_set, data_set.get("PixelRepresentation")) == 1
    return value - 65536 if signed and value >= 32768 else value


def read_padding(data_set: DataSet, layout: PixelLayout) -> tuple[int, int] | None:
    """Return the closed range of stored values that mean "no image here", or None.

    PS3.3 section C.7.5.1.1.2; a range that the stored values cannot take means nothing.
    """
    if layout.samples != 1:
        return None
    value = numbers(data_set, data_set.get("PixelPaddingValue"), "US")
    limit = numbers(data_set, data_set.get("PixelPaddingRangeLimit"), "US") or value
    if len(value) != 1 or len(limit) != 1:
        return None
    bounds = sorted(int(_as_signed(data_set, number)) for number in (value[0], limit[0]))
    lower, upper = max(bounds[0], layout.lowest), min(bounds[1], layout.highest)
    return (lower, upper) if lower <= upper else None
