"""Files of many makers: each is protected exactly, left out as labels, or refused for a reason."""

import gzip
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medprotect.errors import InputError
from medprotect.imaging import formats
from medprotect.imaging.image import Content, Pair, Role, Stored
from medprotect.imaging.pairs import read_content

from ..contents import describe, undocumented
from ..protecting import DERIVATION, add_noise

CORPUS = Path(__file__).parents[4] / "shared" / "data" / "corpora" / "nifti-dev.tar.xz"


@pytest.mark.shared
@pytest.mark.slow
def test_every_file_of_the_corpus_is_accounted_for(tmp_path: Path) -> None:
    if not CORPUS.is_file():
        pytest.skip(f"no corpus at {CORPUS}")
    with tarfile.open(CORPUS) as archive:
        archive.extractall(tmp_path, filter="data")
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    outcomes = Counter(outcome(path) for path in sorted(paths))
    assert outcomes.total() == len(paths) > 100
    assert outcomes["nifti"] >= 30  # one of them a pair
    assert outcomes["nrrd"] >= 1
    assert outcomes["mgh"] >= 3
    assert outcomes["nifti label map"] >= 8
    assert outcomes["nrrd label map"] >= 3
    assert outcomes["text"] <= 4  # licences and the index
    assert outcomes["corrupt"] <= 6  # headers without their voxels, and at impossible places


def outcome(path: Path) -> str:
    """Return the format of a file that was protected, else what it is, or why it was not."""
    try:
        data = read_content(path)
        description = describe(data)
        if description.role is Role.OTHER:
            return description.kind
        assert description.traits is not None
        changed, found = protect(data)
        for expected, image in zip(changed, formats.open_file(found).images(), strict=True):
            np.testing.assert_array_equal(image.stored, expected)
        assert undocumented(data, found) == []
        assert head(found) == head(data)
    except InputError as error:
        return error.slug
    return description.traits.format


def protect(data: Content) -> tuple[list[Stored], Content]:
    file = formats.open_file(data)
    changed = [add_noise(image, seed) for seed, image in enumerate(file.images())]
    return changed, file.encode(changed, DERIVATION).data


def head(data: Content) -> bytes:
    """The bytes that lie before the voxels of any of these files."""
    if isinstance(data, Pair):
        return data.header
    raw = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    return raw[:284]
