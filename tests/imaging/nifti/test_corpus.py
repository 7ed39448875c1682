"""Files of many makers: each is protected exactly, left out as labels, or refused for a reason."""

import gzip
import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medprotect.errors import InputError
from medprotect.imaging import formats
from medprotect.imaging.image import Role
from medprotect.scan.sniff import sniff

from ..protecting import protect, stored, undocumented

CORPUS = Path(__file__).parents[4] / "shared" / "data" / "corpora" / "nifti-dev.tar.xz"


@pytest.mark.shared
@pytest.mark.slow
def test_every_file_of_the_corpus_is_accounted_for(tmp_path: Path) -> None:
    if not CORPUS.is_file():
        pytest.skip(f"no corpus at {CORPUS}")
    with tarfile.open(CORPUS) as archive:
        archive.extractall(tmp_path, filter="data")
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    outcomes = Counter(outcome(path.read_bytes()) for path in sorted(paths))
    assert outcomes.total() == len(paths) > 100
    assert outcomes["protected"] >= 29
    assert outcomes["nifti label map"] >= 8
    assert outcomes["text"] <= 4  # licences and the index
    assert outcomes["corrupt"] == 0


def outcome(data: bytes) -> str:
    try:
        description = formats.describe(io.BytesIO(data))
        if description.role is Role.OTHER:
            return description.kind
        assert sniff(io.BytesIO(data)) == "nifti"
        changed, encoded = protect(data)
        for expected, found in zip(changed, stored(encoded.data), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert undocumented(data, encoded.data) == []
        assert header(encoded.data) == header(data)
    except InputError as error:
        return error.slug
    return "protected"


def header(data: bytes) -> bytes:
    raw = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    return raw[:352]
