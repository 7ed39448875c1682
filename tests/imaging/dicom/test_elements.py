"""Elements keep their bytes; what is replaced carries its lengths along."""

import io
import struct
from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement

from medprotect import limits
from medprotect.errors import CorruptImageError, ImageTooLargeError
from medprotect.imaging.dicom.dictionary import name_of, tag_of
from medprotect.imaging.dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    Encoding,
    encode_element,
    encode_item,
    find,
    put,
    walk,
    write_elements,
)
from medprotect.imaging.dicom.parse import TruncatedError, read_elements

ENCODINGS = [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG]


def data_set_bytes(encoding: Encoding, *, undefined: bool = False) -> bytes:
    """A data set of pydicom's writing, with sequences in sequences."""
    inner, middle, outer = Dataset(), Dataset(), Dataset()
    inner.CodeValue = "1"
    inner.CodeMeaning = "odd"
    middle.PurposeOfReferenceCodeSequence = [inner, inner]
    middle.ReferencedSOPInstanceUID = "1.2.3"
    outer.SOPInstanceUID = "1.2.3.4"
    outer.SourceImageSequence = [middle]
    outer.Rows = 5
    outer.add(DataElement(0x00091001, "OB", b"\1\2\3\4"))
    if undefined:
        outer["SourceImageSequence"].is_undefined_length = True
        middle.is_undefined_length_sequence_item = True
    buffer = io.BytesIO()
    outer.save_as(
        buffer,
        implicit_vr=encoding.implicit,
        little_endian=not encoding.big_endian,
        enforce_file_format=False,
    )
    return buffer.getvalue()


def read_back(data: bytes, encoding: Encoding) -> Dataset:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import read_dataset

    return read_dataset(DicomBytesIO(data), encoding.implicit, not encoding.big_endian)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("undefined", [False, True])
def test_what_is_not_replaced_is_written_as_it_was(encoding: Encoding, undefined: bool) -> None:
    data = data_set_bytes(encoding, undefined=undefined)
    data_set = read_elements(data, 0, encoding)
    assert data_set.end == len(data)
    assert write_elements(data, data_set.elements) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("undefined", [False, True])
def test_a_nested_element_of_another_length_is_read_back_by_pydicom(
    encoding: Encoding, undefined: bool
) -> None:
    data = data_set_bytes(encoding, undefined=undefined)
    data_set = read_elements(data, 0, encoding)
    (first, second) = [e for e in walk(data_set.elements) if e.tag == tag_of("CodeMeaning")]
    first.encoded = encode_element(first.tag, "LO", b"much longer than before", first.encoding)
    second.encoded = b""
    found = read_back(write_elements(data, data_set.elements), encoding)
    codes = found.SourceImageSequence[0].PurposeOfReferenceCodeSequence
    assert codes[0].CodeMeaning == "much longer than before"
    assert "CodeMeaning" not in codes[1]
    assert codes[1].CodeValue == "1"
    assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert found.Rows == 5
    assert found[0x00091001].value == b"\1\2\3\4"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_element_is_inserted_in_the_order_of_tags(encoding: Encoding) -> None:
    data = data_set_bytes(encoding)
    data_set = read_elements(data, 0, encoding)
    for keyword, vr, value in (
        ("ImageType", "CS", b"DERIVED"),
        ("DerivationDescription", "ST", b"x"),
        ("PixelData", "OW", b"\0\0"),
    ):
        tag = tag_of(keyword)
        put(data_set.elements, tag, encode_element(tag, vr, value, encoding), encoding)
    found = read_back(write_elements(data, data_set.elements), encoding)
    tags = [int(tag) for tag in found.keys()]  # noqa: SIM118
    assert tags == sorted(tags)
    assert len(tags) == 7
    assert found.ImageType == "DERIVED"
    assert found.DerivationDescription == "x"


def test_a_removed_element_is_not_found_and_can_be_put_again() -> None:
    data = data_set_bytes(EXPLICIT_LITTLE)
    data_set = read_elements(data, 0, EXPLICIT_LITTLE)
    rows = data_set.get("Rows")
    assert rows is not None
    rows.encoded = b""
    assert data_set.get("Rows") is None
    assert find(data_set.elements, 0x00280010) is None
    encoded = encode_element(0x00280010, "US", b"\7\0", EXPLICIT_LITTLE)
    put(data_set.elements, 0x00280010, encoded, EXPLICIT_LITTLE)
    assert read_back(write_elements(data, data_set.elements), EXPLICIT_LITTLE).Rows == 7


def group(length: int, *elements: bytes) -> bytes:
    return struct.pack("<HH2sHI", 8, 0, b"UL", 4, length) + b"".join(elements)


@pytest.mark.parametrize(("off_by", "expected"), [(0, 2), (3, 0)])
def test_a_group_length_follows_where_it_was_right(off_by: int, expected: int) -> None:
    element = encode_element(0x00080008, "CS", b"ORIGINAL", EXPLICIT_LITTLE)
    data = group(len(element) + off_by, element)
    data_set = read_elements(data, 0, EXPLICIT_LITTLE)
    assert write_elements(data, data_set.elements) == data
    data_set.elements[1].encoded = encode_element(0x00080008, "CS", b"ORIGINAL\\A", EXPLICIT_LITTLE)
    written = write_elements(data, data_set.elements)
    (length,) = struct.unpack_from("<I", written, 8)
    assert length == len(element) + off_by + expected


def nest(depth: int, encoding: Encoding = EXPLICIT_LITTLE) -> bytes:
    value = b""
    for _ in range(depth):
        value = encode_element(0x00081140, "SQ", encode_item(value, encoding), encoding)
    return value


def test_sequences_nest_as_deep_as_the_limit_and_no_deeper() -> None:
    data = nest(limits.HEADER_DEPTH)
    data_set = read_elements(data, 0, EXPLICIT_LITTLE)
    assert sum(1 for _ in walk(data_set.elements)) == limits.HEADER_DEPTH
    assert write_elements(data, data_set.elements) == data
    for depth in (limits.HEADER_DEPTH + 1, 200, 10_000):
        with pytest.raises(CorruptImageError, match="too deep"):
            read_elements(nest(depth), 0, EXPLICIT_LITTLE)


def test_nesting_in_unknown_elements_is_limited_too() -> None:
    inner = nest(200, IMPLICIT_LITTLE)
    header = struct.pack("<HH2sHI", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF)
    data = header + encode_item(inner, IMPLICIT_LITTLE) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    with pytest.raises(CorruptImageError, match="too deep"):
        read_elements(data, 0, EXPLICIT_LITTLE)


def test_more_elements_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADER_ELEMENTS", 10)
    data = b"".join(encode_element(0x00090010 + i, "LO", b"", EXPLICIT_LITTLE) for i in range(11))
    with pytest.raises(ImageTooLargeError, match="too many elements"):
        read_elements(data, 0, EXPLICIT_LITTLE)


def test_an_unknown_element_of_undefined_length_holds_implicit_items() -> None:
    inner = encode_element(0x00080100, "SH", b"code", IMPLICIT_LITTLE)
    data = struct.pack("<HH2sHI", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF)
    data += encode_item(inner, IMPLICIT_LITTLE) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    data_set = read_elements(data, 0, EXPLICIT_LITTLE)
    (item,) = data_set.elements[0].items or []
    assert item.encoding == IMPLICIT_LITTLE
    assert data_set.value(item.elements[0]) == b"code"
    assert write_elements(data, data_set.elements) == data


def test_a_code_under_a_tag_of_a_sequence_is_no_sequence() -> None:
    data = encode_element(0x0040A170, "CS", b"NAMED TYPE", IMPLICIT_LITTLE)
    (element,) = read_elements(data, 0, IMPLICIT_LITTLE).elements
    assert element.items is None


def test_zeros_behind_the_data_set_are_no_elements() -> None:
    data = data_set_bytes(EXPLICIT_LITTLE)
    data_set = read_elements(data + b"\0" * 100, 0, EXPLICIT_LITTLE)
    assert data_set.end == len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08\x00\x05\x00ZZ\0\0", "without a known VR"),
        (b"\xfe\xff\x00\xe0\0\0\0\0", "in no sequence"),
        (encode_element(0x00080005, "CS", b"", EXPLICIT_LITTLE) * 2, "twice"),
        (encode_element(0x00081140, "SQ", b"\x08\0\5\0CS\0\0", EXPLICIT_LITTLE), "other than item"),
    ],
)
def test_what_is_no_data_set_is_corrupt(data: bytes, message: str) -> None:
    with pytest.raises(CorruptImageError, match=message):
        read_elements(data, 0, EXPLICIT_LITTLE)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("undefined", [False, True])
def test_a_data_set_that_ends_early_is_truncated(encoding: Encoding, undefined: bool) -> None:
    data = data_set_bytes(encoding, undefined=undefined)
    whole = {element.end for element in read_elements(data, 0, encoding).elements}
    for end in range(1, len(data)):
        if end in whole:
            read_elements(data[:end], 0, encoding)
        else:
            with pytest.raises(TruncatedError):
                read_elements(data[:end], 0, encoding)


def test_every_file_that_pydicom_ships_is_written_as_it_was(
    shipped: Callable[[str], bytes],
) -> None:
    from medprotect.imaging.dicom.document import read_document

    names = "CT_small MR_small_RLE rtstruct rtplan test-SR priv_SQ nested_priv_SQ reportsi"
    for name in names.split():
        data = shipped(f"{name}.dcm")
        assert read_document(data, 0).write()[128:] == data[128:], name


def test_names_are_keywords_or_tags() -> None:
    assert name_of(0x00080008) == "ImageType"
    assert name_of(0x00091001) == "(0009,1001)"
    assert tag_of("PixelData") == 0x7FE00010
    with pytest.raises(KeyError):
        tag_of("NoSuchKeyword")
