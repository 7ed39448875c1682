"""Which header elements differ between two files: read by pydicom, apart from how we write.

The writer in `medprotect.imaging.dicom.derive` copies bytes; this check parses both files anew with
another parser, so that a mistake of the one is seen by the other.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError
from medprotect.imaging.dicom.codecs import CODECS
from medprotect.imaging.dicom.dictionary import name_of
from medprotect.imaging.dicom.document import Document
from medprotect.imaging.dicom.elements import PIXEL_DATA
from medprotect.imaging.dicom.file import read_bounded, read_whole
from medprotect.imaging.dicom.header import read_layout
from medprotect.imaging.dicom.pictures import find_pictures
from medprotect.imaging.dicom.reference_check import (
    compare_offsets,
    compare_references,
    named_references,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DERIVED = {
    "ImageType",
    "SOPInstanceUID",
    "MediaStorageSOPInstanceUID",
    "SeriesInstanceUID",
    "DerivationDescription",
}
_APPENDED = {"DerivationCodeSequence", "SourceImageSequence", "ContributingEquipmentSequence"}
_RANGES = {
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
}
_COMPRESSION = {
    "TransferSyntaxUID",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
}
_SIGNATURES = {"DigitalSignaturesSequence", "MACParametersSequence"}
_LENGTHS = {"FileMetaInformationGroupLength", "GroupLength"}
_FRAMES = {"FrameType", "DerivationImageSequence"}
_PICTURES = {"IconImageSequence", "PrivatePicture"}

DOCUMENTED_CHANGES: frozenset[str] = frozenset(
    _DERIVED | _APPENDED | _RANGES | _COMPRESSION | _SIGNATURES | _LENGTHS | _FRAMES | _PICTURES
) | {"Preamble"}
"""Names of what a protected file may differ in, as in ``docs/reference/dicom.md``.

``GroupLength`` stands for any ``(gggg,0000)``, ``PrivatePicture`` for any element that holds a
picture besides the pixels.
"""

_INDEX = re.compile(r"\[\d+\]")
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True, slots=True)
class Difference:
    """One element, or one item of a sequence, in which two files differ.

    Attributes
    ----------
    path : str
        Such as ``SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0].FrameType``.
    kind : str
        ``added``, ``removed``, ``changed``; or ``derived``, where only value 1 of an image type
        changed, and is ``DERIVED`` now.
    """

    path: str
    kind: str


def changed_elements(original: bytes, protected: bytes) -> list[str]:
    """Name every header element in which the two files differ, documented or not.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.

    Returns
    -------
    list of str
        Paths of keywords, or of ``(gggg,eeee)`` where there is none; an item that only one file
        has is named by its sequence and index. Pixel Data is not named.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    files = (_as_file(data, read_whole(data)) for data in (original, protected))
    return [difference.path for difference in _compare_files(*files)[2]]


def undocumented_changes(
    original: bytes, protected: bytes, uids: Mapping[str, str] | None = None
) -> list[str]:
    """Name the elements of `changed_elements` that the documentation does not list.

    Parameters
    ----------
    original, protected : bytes
        Two whole files.
    uids : mapping of str to str, optional
        The new UIDs of all protected files of the export, by the names of the old: references to
        them have to be remapped, and no others.
    """
    document, other = read_bounded(original), read_bounded(protected)
    pictures = {picture.path for picture in find_pictures(document.data_set, read_layout(document))}
    codec = CODECS.get(document.transfer_syntax)
    syntax = codec.target if codec else document.transfer_syntax
    is_promoted = other.transfer_syntax == syntax
    before, after, differences = _compare_files(
        _as_file(original, document), _as_file(protected, other)
    )
    remapped, wrong = _references(before, after, uids or {})
    return wrong + [
        difference.path
        for difference in differences
        if difference.path not in remapped.union(wrong)
        and (
            not _is_documented(difference, pictures)
            or (difference.path == "TransferSyntaxUID" and not is_promoted)
        )
    ]


def undocumented_copy_changes(original: bytes, copy: bytes, uids: Mapping[str, str]) -> list[str]:
    """Name the elements in which the copy of an object that is no image differs, and may not.

    Its references to protected images are to be remapped, and pictures to be left out, which may
    cost it its signatures; the offsets in a DICOMDIR have to lead to the same records as before.
    Nothing else may differ.

    Parameters
    ----------
    original, copy : bytes
        Two whole files.
    uids : mapping of str to str
        As `undocumented_changes` takes it.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        One of the files cannot be read.
    """
    documents = [read_whole(data) for data in (original, copy)]
    files = map(_as_file, (original, copy), documents)
    before, after, differences = _compare_files(*files, whole=True)
    remapped, wrong = _references(before, after, uids)
    pictures = _picture_paths(documents[0])
    wrong += sorted(_picture_paths(documents[1]))
    if original == copy or not (remapped or pictures):
        return wrong if original == copy else wrong or ["the copy"]
    moved, lost = compare_offsets(before, after)
    wrong += lost
    if _pixel_bytes(before) != _pixel_bytes(after):
        wrong.append("PixelData")
    known = remapped.union(moved, wrong, pictures)
    return wrong + [
        difference.path
        for difference in differences
        if difference.path not in known and not _follows_from_references(difference)
    ]


def _picture_paths(document: Document) -> set[str]:
    return {picture.path for picture in find_pictures(document.data_set, None)}


def _pixel_bytes(dataset: "Dataset") -> Any:
    return dataset.get_item(PIXEL_DATA).value if PIXEL_DATA in dataset else None


def references_of(data: bytes) -> set[str]:
    """Return the names of all UIDs that a file refers to, as pydicom reads them.

    Raises
    ------
    CorruptImageError
        It cannot be read.
    """
    with _as_corrupt():
        return set(named_references(_read(_as_file(data, read_whole(data)))).values())


def _follows_from_references(difference: Difference) -> bool:
    last = difference.path.rpartition(".")[2]
    if difference.kind == "removed":
        return last in _SIGNATURES
    return difference.kind == "changed" and last.endswith(",0000)")


def _references(
    before: "Dataset", after: "Dataset", uids: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    with _as_corrupt():
        return compare_references(before, after, uids)


def _is_documented(difference: Difference, pictures: set[str]) -> bool:
    path, kind = difference.path, difference.kind
    first, last = path.partition("[")[0], _INDEX.sub("", path).rpartition(".")[2]
    if kind == "removed":
        return path in pictures or last in _SIGNATURES or path in _RANGES | _COMPRESSION
    if first in _FUNCTIONAL_GROUPS:
        return (last, kind) in (("FrameType", "derived"), ("DerivationImageSequence", "added"))
    if last.endswith(",0000)") or path in ("FileMetaInformationGroupLength", "Preamble"):
        return kind == "changed"
    if first in _APPENDED:
        return kind == "added" and "." not in path
    if path == "ImageType":
        return kind in ("derived", "added")
    return path in _DERIVED | _RANGES | _COMPRESSION


def _compare_files(
    original: bytes, protected: bytes, *, whole: bool = False
) -> tuple["Dataset", "Dataset", list[Difference]]:
    with _as_corrupt():
        before, after = _read(original, whole=whole), _read(protected, whole=whole)
        found = list(_compare(before.file_meta, after.file_meta, ""))
        found += _compare(before, after, "")
    if before.preamble != after.preamble:
        found.append(Difference("Preamble", "changed"))
    return before, after, found


@contextmanager
def _as_corrupt() -> Iterator[None]:
    """Turn what pydicom raises on odd headers, which is anything; its warnings quote values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImageTooLargeError:
            raise
        except Exception as error:
            raise CorruptImageError("the DICOM header cannot be read") from error


def _read(data: bytes, *, whole: bool = False) -> "Dataset":
    """Read a file but for the value of its pixels, which would lie in memory twice."""
    from pydicom import dcmread
    from pydicom.dataelem import RawDataElement

    if whole:
        return dcmread(BytesIO(data), force=True)
    dataset = dcmread(BytesIO(data), force=True, defer_size=limits.HEADER_BYTES)
    for element in dataset.values():
        if not isinstance(element, RawDataElement) or element.value is not None:
            continue
        if element.tag != PIXEL_DATA and element.length:
            raise ImageTooLargeError("an element beside the pixels is larger than medprotect reads")
    return dataset


def _as_file(data: bytes, document: Document) -> bytes:
    """Return a file as pydicom reads it: it takes ``DICM`` within a value for the prefix."""
    lacks_prefix = not document.preamble and data[128:132] == b"DICM"
    return bytes(128) + b"DICM" + data if lacks_prefix else data


def _compare(before: "Dataset", after: "Dataset", path: str) -> Iterator[Difference]:
    for tag in sorted(set(before.keys()) | set(after.keys())):
        if not path and tag == PIXEL_DATA:
            continue
        name = path + name_of(int(tag))
        if tag not in after:
            yield Difference(name, "removed")
        elif tag not in before:
            yield Difference(name, "added")
        else:
            yield from _compare_element(before, after, tag, name)


def _compare_element(
    before: "Dataset", after: "Dataset", tag: Any, name: str
) -> Iterator[Difference]:
    one, other = before.get_item(tag), after.get_item(tag)
    if one.VR == other.VR and one.value == other.value and type(one) is type(other):
        return
    if name.endswith(("ImageType", "FrameType")) and _is_derived(one.value, other.value):
        yield Difference(name, "derived")
        return
    # Reading may have converted one of them already, so raw values differ where these do not.
    same_form = type(one) is type(other)
    one, other = before[tag], after[tag]
    if one.VR != "SQ" or other.VR != "SQ":
        if same_form or (one.VR, one.value) != (other.VR, other.value):
            yield Difference(name, "changed")
        return
    if one.is_undefined_length != other.is_undefined_length:
        yield Difference(name, "changed")
    shared = min(len(one.value), len(other.value))
    for index in range(shared):
        yield from _compare(one.value[index], other.value[index], f"{name}[{index}].")
    for index in range(shared, len(one.value)):
        yield Difference(f"{name}[{index}]", "removed")
    for index in range(shared, len(other.value)):
        yield Difference(f"{name}[{index}]", "added")


def _is_derived(before: Any, after: Any) -> bool:
    """Whether an image type differs in its first value only, which is ``DERIVED`` now."""
    return _texts(after) == ["DERIVED", *_texts(before)[1:]]


def _texts(value: Any) -> list[str]:
    """Return the values of a text that pydicom has converted, or has not yet."""
    if isinstance(value, bytes):
        value = value.decode("latin-1").rstrip(" \0").split("\\")
    return [value] if isinstance(value, str) else [str(part) for part in value or ()]
