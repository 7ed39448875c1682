"""A watched folder, in a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medprotect.confounder.key import Key
from medprotect.network.push import push
from medprotect.report.statement import compare_with_out
from medprotect.report.write import write_report

from ..confounder.measured_pipeline import make_pipeline
from ..waiting import HANG_SECONDS, wait_for
from .conftest import Taking


@contextmanager
def watching(folder: Path, out: Path, *options: str) -> Iterator[Path]:
    """Watch until the block ends; yields the log."""
    log = folder.with_name("watch.log")
    command = [sys.executable, "-m", "medprotect", "watch", str(folder), str(out)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--settle", "1", *options],
            env=os.environ | {"XDG_CONFIG_HOME": str(folder.with_name("config"))},
            stderr=stream,
        )
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_SECONDS) == 143
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def pipelines(tmp_path: Path) -> list[str]:
    """Options: of CT a weak one, and of MR one that was not measured."""
    ct = make_pipeline(tmp_path / "ct", "ct", standard=0.0, high=0.37)
    return ["--pipeline", str(ct), "--pipeline", str(make_pipeline(tmp_path / "mr", "mr"))]


@pytest.mark.slow
def test_what_arrives_is_protected_once_it_has_settled(
    tmp_path: Path, pydicom_file: Callable[[str], Path], pipelines: list[str]
) -> None:
    (folder := tmp_path / "in").mkdir()
    out = tmp_path / "out"

    def put(source: str, name: str) -> None:
        # At once: half a file that does not grow for a second would have settled.
        shutil.copy(pydicom_file(source), tmp_path / name)
        (tmp_path / name).rename(folder / name)

    put("CT_small.dcm", "1.dcm")
    with watching(folder, out, *pipelines) as log:
        wait_for(lambda: (out / "1.dcm").exists(), "1.dcm did not come")
        put("MR_small.dcm", "2.dcm")
        wait_for(lambda: "2 in = 2 in OUT" in log.read_text(), "the second was not told of")
    assert len(list(out.iterdir())) == 2
    said = log.read_text()
    assert "weak: ct, protection 0.00 at standard, 0.37 at high" in said
    assert (
        "warning: the header of 2 files does not say that the patient's identity was removed"
        in said
    )
    assert "2 in OUT = 1 weak + 1 unmeasured" in said


@pytest.mark.slow
def test_what_it_wrote_is_stated_and_pushed_as_that_of_a_run(
    tmp_path: Path, pydicom_file: Callable[[str], Path], pipelines: list[str]
) -> None:
    (folder := tmp_path / "in").mkdir()
    shutil.copy(pydicom_file("CT_small.dcm"), folder / "1.dcm")
    shutil.copy(pydicom_file("MR_small.dcm"), folder / "2.dcm")
    out, state = tmp_path / "out", tmp_path / "out.medprotect"
    asked = ["--strength", "high", "--at-least", "0.3", *pipelines]
    with watching(folder, out, *asked) as log:
        wait_for(lambda: "1 in OUT = 1 weak" in log.read_text(), "it was not protected")
        written = write_report(out, state, Key.load(tmp_path / "config/medprotect/owner.key"))
    said = log.read_text()
    assert "unmeasured: mr, not measured at high; its images are rejected" in said
    assert "rejected: 1 protection_too_low" in said
    stated = json.loads(written.statement.read_text())["statement"]
    assert stated["counts"] == {"in": 2, "weak": 1, "rejected": 1}
    assert compare_with_out(stated, out) == []
    assert push(out, state, peer := Taking()).sent.states == {"weak": 1}
    assert peer.taken == [out / "1.dcm"]
