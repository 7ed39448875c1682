"""A run killed at any moment goes on to the same bytes.

``MEDPROTECT_KILLS`` and ``MEDPROTECT_KILLED_FILES`` set how many times and with how many files; the
figure in SECURITY.md is for 200 and 24.
"""

import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmread

from ..waiting import HANG_SECONDS, wait_for
from .conftest import Start, files_in, held
from .seeds import nifti_pair

KILLS = int(os.environ.get("MEDPROTECT_KILLS", "3"))
FILES = int(os.environ.get("MEDPROTECT_KILLED_FILES", "40"))


def contents(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def slices(source: Path, count: int) -> dict[str, Path | bytes]:
    """Series of DICOM slices, and for every tenth file a PNG, or a NIfTI pair for two of twenty."""
    files: dict[str, Path | bytes] = {}
    dataset = dcmread(source)
    for number in range(count):
        series, place = divmod(number, 10)
        if series % 2 and place >= 8:
            name = ("volume.hdr", "volume.img")[place - 8]
            files[f"{series:02}/{name}"] = nifti_pair(series)[place - 8]
            continue
        if place == 9:
            stream = BytesIO()
            shade = np.random.default_rng(number).integers(0, 200, (40, 40), dtype=np.uint8)
            Picture.fromarray(shade).save(stream, "PNG")
            files[f"{series:02}/picture.png"] = stream.getvalue()
            continue
        dataset.SeriesInstanceUID = f"1.2.3.{series}"
        dataset.SOPInstanceUID = f"1.2.3.{series}.{place}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        stream = BytesIO()
        dataset.save_as(stream)
        files[f"{series:02}/{place}.dcm"] = stream.getvalue()
    return files


def state_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.medprotect")


def wait_until_it_has(count: int, out: Path, process: "subprocess.Popen[str]") -> None:
    """Wait for so many files in OUT, for none until there is a state; or for the end of the run."""
    wait_for(
        lambda: process.poll() is not None or (state_of(out).is_dir() and files_in(out) >= count),
        "the run did not come that far",
    )


class TestKill:
    def test_every_resumed_run_ends_with_the_bytes_of_the_whole_one(
        self,
        tmp_path: Path,
        export: Callable[..., Path],
        pydicom_file: Callable[[str], Path],
        start: Start,
    ) -> None:
        root = export(slices(pydicom_file("CT_small.dcm"), FILES))
        shown, _ = (whole := start(root, tmp_path / "whole")).communicate(timeout=HANG_SECONDS)
        assert whole.returncode == 0, shown
        expected = contents(tmp_path / "whole")
        assert len(expected) == FILES
        chance = random.Random(FILES + KILLS)  # noqa: S311 - moments, no secrets
        cut_short = rounds = 0
        while cut_short < KILLS:  # a run that was done before its moment came was not killed
            rounds += 1
            assert rounds < 10 * KILLS, "runs end before anybody sees what they have written"
            out = tmp_path / f"out-{rounds}"
            process = start(root, out)
            wait_until_it_has(chance.randrange(FILES * 2 // 3), out, process)
            time.sleep(chance.uniform(0, 0.1))  # whatever it does then
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                cut_short += 1
            process.communicate(timeout=HANG_SECONDS)
            there = contents(out) if out.exists() else {}
            assert there.items() <= expected.items(), "a killed run leaves whole files only"
            headers = [path for path in there if path.endswith(".hdr")]
            assert all(path.replace(".hdr", ".img") in there for path in headers)
            shown, _ = (resumed := start(root, out)).communicate(timeout=HANG_SECONDS)
            assert resumed.returncode == 0, shown
            assert contents(out) == expected
            assert list((state_of(out) / "staging").iterdir()) == []
        print(f"{cut_short} of {rounds} runs were cut short, all ended with the same bytes")


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
    )
    def test_a_run_that_is_told_to_stop_leaves_whole_files_and_can_go_on(
        self,
        tmp_path: Path,
        export: Callable[..., Path],
        pydicom_file: Callable[[str], Path],
        start: Start,
        number: int,
        code: int,
    ) -> None:
        root = export(slices(pydicom_file("CT_small.dcm"), 100))
        out = tmp_path / "out"
        process = start(root, out)
        with held(process, out):
            second = start(root, out)
            shown, _ = second.communicate(timeout=HANG_SECONDS)
            assert second.returncode == 5, shown
            assert f"process {process.pid}" in shown
            process.send_signal(number)
        shown, _ = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == code, shown
        assert any(line.endswith(" to come") for line in shown.splitlines())
        assert "Traceback" not in shown
        stopped = contents(out)
        assert 0 < len(stopped) < 100
        shown, _ = (resumed := start(root, out)).communicate(timeout=HANG_SECONDS)
        assert resumed.returncode == 0, shown
        finished = contents(out)
        assert len(finished) == 100
        assert stopped.items() <= finished.items()
