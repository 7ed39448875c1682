"""UIDs by which one object names another: protected images get new ones, and are named by those.

Of the data dictionary's UIDs those count that name a composite instance, wherever they are, and
Series Instance UID within sequences. An object's own UIDs, at the top, are none of them.
"""

import struct
from collections.abc import Iterator, Mapping

from medprotect.imaging.dicom.derive import remove_pictures, remove_signatures
from medprotect.imaging.dicom.dictionary import tag_of
from medprotect.imaging.dicom.document import Document, deflate
from medprotect.imaging.dicom.elements import (
    DataSet,
    Element,
    encode_element,
    encode_parts,
    join_parts,
    walk,
    write_item,
)
from medprotect.imaging.dicom.file import read_whole
from medprotect.imaging.dicom.values import integer, text

_OWN = {tag_of("SOPInstanceUID"): "instance", tag_of("SeriesInstanceUID"): "series"}
REFERENCES = {
    **_OWN,
    tag_of("ReferencedSOPInstanceUID"): "instance",
    tag_of("ReferencedSOPInstanceUIDInFile"): "instance",
    tag_of("MultiFrameSourceSOPInstanceUID"): "instance",
    tag_of("SOPInstanceUIDOfConcatenationSource"): "instance",
}
"""What kind of object an element names, by tag; those of an object itself only in sequences."""

_OFFSETS = tuple(
    map(
        tag_of,
        (
            "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity",
            "OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity",
            "OffsetOfTheNextDirectoryRecord",
            "OffsetOfReferencedLowerLevelDirectoryEntity",
        ),
    )
)


def name_uid(kind: str, uid: str) -> str:
    """Return the name of a UID in journals and receipts: ``instance 1.2.3`` or ``series 1.2``."""
    return f"{kind} {uid}"


def names_reference(tag: int, *, nested: bool) -> bool:
    """Whether an element names another object."""
    return tag in REFERENCES and (nested or tag not in _OWN)


def find_references(data: bytes) -> tuple[str, ...]:
    """Return the names of all UIDs that a file refers to, each once, in the order of the file.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        It is no DICOM file, a damaged one, or too large.
    """
    data_set = read_whole(data).data_set
    names = (_name(data_set, element) for element in _references(data_set))
    return tuple(dict.fromkeys(name for name in names if not name.endswith(" ")))


def find_new_uids(original: bytes, protected: bytes) -> dict[str, str]:
    """Return the new UIDs of a protected file, by the names of those of its original."""
    before, after = (read_whole(data).data_set for data in (original, protected))
    found = {}
    for tag, kind in _OWN.items():
        old, new = (_own(data_set, tag) for data_set in (before, after))
        if old and new and old != new:
            found[name_uid(kind, old)] = new
    return found


def leave_out_pictures(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return an object that is no image without the pictures in it, and slugs of what was done.

    A report or a DICOMDIR may hold a small copy of an image in clear (Icon Image Sequence, PS3.3
    section F.5.4). Signatures go with them; every other byte stays.

    Raises
    ------
    NotAnImageError, CorruptImageError, ImageTooLargeError
        It is no DICOM file, a damaged one, or too large.
    """
    document = read_whole(data)
    notes = remove_pictures(document.data_set, None)
    if not notes:
        return data, ()
    notes += remove_signatures(document.data_set)
    _move_records(document.data_set)
    return _write(document), tuple(notes)


def remap(data: bytes, uids: Mapping[str, str]) -> tuple[bytes, tuple[str, ...]]:
    """Return a file with other UIDs in its references, and every other byte as it was.

    Signatures go, which no longer hold; in a DICOMDIR the offsets of the records that moved
    follow them (PS3.3 section F.3.2.2).

    Parameters
    ----------
    data : bytes
        The whole file.
    uids : mapping of str to str
        New UIDs by the names of the old.

    Returns
    -------
    bytes and tuple of str
        The file, and slugs of what was done.
    """
    document = read_whole(data)
    data_set = document.data_set
    changed = False
    for element in _references(data_set):
        new = uids.get(_name(data_set, element))
        if new is not None:
            vr = element.vr
            element.encoded = encode_element(element.tag, vr, new.encode(), element.encoding)
            changed = True
    if not changed:
        return data, ()
    notes = ["references_remapped", *remove_signatures(data_set)]
    _move_records(data_set)
    return _write(document), tuple(notes)


def _write(document: Document) -> bytes:
    """Return the file as bytes; its preamble stays, unlike that of a derived image."""
    meta = encode_parts(document.meta.data, document.meta.elements)
    body = encode_parts(document.data_set.data, document.data_set.elements)
    body.append(memoryview(document.data_set.data)[document.data_set.end :])
    if document.is_deflated:
        body = [deflate(join_parts(body))]
    return join_parts([document.preamble, *meta, *body])


def _own(data_set: DataSet, tag: int) -> str:
    element = next((each for each in data_set.elements if each.tag == tag), None)
    return text(data_set, element)


def _references(data_set: DataSet) -> Iterator[Element]:
    for element in data_set.elements:
        if names_reference(element.tag, nested=False):
            yield element
        for item in element.items or ():
            for inner in walk(item.elements):
                if names_reference(inner.tag, nested=True):
                    yield inner


def _name(data_set: DataSet, element: Element) -> str:
    return name_uid(REFERENCES[element.tag], text(data_set, element))


def _move_records(data_set: DataSet) -> None:
    """Let the offsets of a DICOMDIR lead to its records where they come to lie."""
    sequence = data_set.get("DirectoryRecordSequence")
    if sequence is None or not sequence.items:
        return
    moved, start = {0: 0}, sequence.value
    for item in sequence.items:
        moved[item.start] = start
        start += len(write_item(memoryview(data_set.data), item))
    levels = [data_set.elements, *(item.elements for item in sequence.items)]
    for element in (each for level in levels for each in level if each.tag in _OFFSETS):
        offset = integer(data_set, element)
        new = moved.get(offset) if offset is not None else None
        if new is not None and new != offset:
            raw = struct.pack(element.encoding.order + "I", new)
            element.encoded = encode_element(element.tag, "UL", raw, element.encoding)
