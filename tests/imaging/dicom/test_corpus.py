"""Files of many makers: each is protected exactly, left out, or refused for a reason."""

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medprotect.errors import InputError
from medprotect.imaging import dicom
from medprotect.imaging.image import Role

from .conftest import protect, stored

CORPUS = Path(__file__).parents[4] / "shared" / "data" / "corpora" / "dicom-dev.tar.xz"


@pytest.mark.shared
@pytest.mark.slow
def test_every_file_of_the_corpus_is_accounted_for(tmp_path: Path) -> None:
    if not CORPUS.is_file():
        pytest.skip(f"no corpus at {CORPUS}")
    with tarfile.open(CORPUS) as archive:
        archive.extractall(tmp_path, filter="data")
    paths = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".csv"]
    outcomes = Counter(outcome(path.read_bytes()) for path in sorted(paths))
    assert outcomes.total() == len(paths) > 300
    assert outcomes["protected"] >= 215
    assert outcomes["other"] >= 55
    assert outcomes["unsupported"] <= 16


def outcome(data: bytes) -> str:
    try:
        if dicom.describe(io.BytesIO(data)).role is Role.OTHER:
            return "other"
        changed, encoded = protect(data)
        for expected, found in zip(changed, stored(encoded.data), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert dicom.undocumented_changes(data, encoded.data) == []
    except InputError as error:
        return error.slug
    return "protected"
