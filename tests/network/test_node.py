"""A node among real programs: dcmtk's senders, and Orthanc as the peer."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.orthanc import ORTHANC
from tests.e2e.test_orthanc import alone
from tests.network.flood import STORESCU

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed"),
    pytest.mark.skipif(STORESCU is None, reason="dcmtk is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("pynetdicom") is None, reason="pynetdicom is not installed"
    ),
]


def program(*arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    place = Path(__file__).parents[2]
    done = subprocess.run(alone(command), cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_as_many_come_out_as_went_in_though_all_are_killed_or_away() -> None:
    found = json.loads(program("tests.network.flood", "101"))
    counts = found["node"]
    assert counts["in"] == 101
    assert (counts["forwarded"], counts["rejected"]) == (100, 1)
    assert found["in_the_archive"] == found["different_uids"] == 100
    assert found["originals_in_the_archive"] == 0
    assert found["rejected_on_disk"] == 1
    assert found["left_in_out"] == 0
    assert found["waited_for_the_peer"] > found["waited_when_it_was_killed"]
    assert found["exit_code"] == 143


@pytest.mark.parametrize(
    "case", ["titles", "tls", "batches", "pushing", "stating", "web", "pulling"]
)
def test_among_its_neighbours(case: str, tmp_path: Path) -> None:
    program("tests.network.talk", case, os.fspath(tmp_path))
