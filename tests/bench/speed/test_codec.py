"""What a run does with the codestream of a slice, which the bench counts on."""

from pathlib import Path

import pytest

from medprotect.bench.speed.codec import DECODED, ENCODED, SYNTAXES, compress_series
from medprotect.bench.speed.export import build_series, find_slices
from medprotect.bench.speed.profile import profile_slice


@pytest.mark.slow
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_slice_is_decoded_and_encoded_as_often_as_is_said(syntax: str, tmp_path: Path) -> None:
    for spent in profile_slice(None, tmp_path, 1, syntax).values():
        assert (spent["decode"].calls, spent["encode"].calls) == (DECODED, ENCODED)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_compressed_slices_are_the_native_ones(syntax: str, tmp_path: Path) -> None:
    from pydicom import dcmread

    build_series(find_slices(None), tmp_path / "native", 2, side=32)
    compress_series(tmp_path / "native", tmp_path / "compressed", syntax)
    for path in (tmp_path / "native").iterdir():
        before, after = dcmread(path), dcmread(tmp_path / "compressed" / path.name)
        assert after.file_meta.TransferSyntaxUID == syntax
        assert after.SOPInstanceUID == before.SOPInstanceUID
        assert (after.pixel_array == before.pixel_array).all()
