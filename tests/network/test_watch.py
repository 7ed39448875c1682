"""A watched folder, in a process of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_what_arrives_is_protected_once_it_has_settled(
    tmp_path: Path, pydicom_file: Callable[[str], Path]
) -> None:
    (folder := tmp_path / "in").mkdir()
    shutil.copy(pydicom_file("CT_small.dcm"), folder / "1.dcm")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "medprotect", "watch", str(folder), str(out), "--settle", "1"],
        env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config")},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_file(out / "1.dcm")
        shutil.copy(pydicom_file("MR_small.dcm"), folder / "2.dcm")
        wait_for_file(out / "2.dcm")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        process.kill()
        process.wait()
    assert len(list(out.iterdir())) == 2


def wait_for_file(path: Path) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.2)
