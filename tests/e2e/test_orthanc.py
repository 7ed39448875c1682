"""Protected files in a real archive, which is a process of its own in a network of its own."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Start
from .orthanc import ORTHANC, PLUGINS

pytestmark = [
    pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed"),
    pytest.mark.skipif(not PLUGINS.is_file(), reason="orthanc-dicomweb is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("pynetdicom") is None, reason="pynetdicom is not installed"
    ),
]

FILES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
)


def alone(command: list[str]) -> list[str]:
    """The command in a network that holds nothing but itself, where the kernel lets it."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return command
    inside = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    works = subprocess.run([*inside, "true"], capture_output=True, check=False).returncode == 0
    return [*inside, *command] if works else command


def test_what_an_archive_is_given_it_gives_back(
    export: Callable[..., Path], start: Start, tmp_path: Path, pydicom_file: Callable[[str], Path]
) -> None:
    root = export({name: pydicom_file(name) for name in FILES})
    out = tmp_path / "out"
    run = start(root, out)
    run.communicate()
    assert run.returncode == 0
    command = [sys.executable, "-m", "tests.e2e.orthanc", os.fspath(root), os.fspath(out)]
    place = Path(__file__).parents[2]
    done = subprocess.run(alone(command), cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\S+) and WADO-RS: (\d+) equal$", done.stdout, re.MULTILINE) == [
        ("C-STORE", str(len(FILES))),
        ("STOW-RS", str(len(FILES))),
    ], done.stdout
