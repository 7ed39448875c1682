"""What the second library is asked to read."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medprotect.imaging import formats
from medprotect.imaging.second_reading import read_again


def split(source: Path, syntax: str) -> tuple[bytes, bytes]:
    """A file in a transfer syntax: what lies before its data set, and its data set."""
    dataset = dcmread(source)
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    data = buffer.getvalue()
    end = 144 + int.from_bytes(data[140:144], "little")
    return data[:end], data[end:]


@pytest.mark.parametrize("said", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_data_set_is_read_as_it_lies_there_whatever_its_syntax_says(
    said: str, pydicom_file: Callable[[str], Path]
) -> None:
    source = pydicom_file("CT_small.dcm")
    syntaxes = {ImplicitVRLittleEndian, ExplicitVRLittleEndian}
    (other,) = syntaxes - {said}
    stream = io.BytesIO(split(source, said)[0] + split(source, other)[1])
    (seen,) = read_again(stream, "dicom") or ()
    assert np.array_equal(seen, dcmread(source).pixel_array)
    (image,) = formats.open_stream(stream).images()
    assert np.array_equal(seen, image.stored)
