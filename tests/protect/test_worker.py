"""One worker, in this process: what it makes of tasks, and of errors."""

import errno
import os
import re
import resource
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect import limits
from medprotect.confounder.card import load_card
from medprotect.errors import PipelineError
from medprotect.protect.protectable import check_file
from medprotect.protect.serving import result_of
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.protect.worker import Worker
from medprotect.scan.walk import walk


def png(seed: int = 0, size: int = 24, spread: int = 200) -> bytes:
    stream = BytesIO()
    shade = np.random.default_rng(seed).integers(20, 20 + spread, (size, size), dtype=np.uint8)
    Picture.fromarray(shade).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    (tmp_path / "staging").mkdir()
    return tmp_path / "staging"


@pytest.fixture
def do(tmp_path: Path, staging: Path) -> Callable[..., Result]:
    """`do(data)` is what the worker answers to a file of these bytes, staged as ``staged``."""
    root = tmp_path / "export"
    root.mkdir()
    folder = str(load_card("radiology-grey").folder)
    worker = Worker(Setup(str(root), "00" * 32, {"radiology-grey": folder}, "standard"))

    def task(data: bytes, pipeline: str = "radiology-grey", label: str = "") -> Result:
        (root / "a").write_bytes(data)
        (found,) = walk(root)
        return worker.do(Task(found, str(staging / "staged"), pipeline, label))

    return task


class TestWorker:
    def test_a_protected_file_is_staged_with_what_was_found_of_it(
        self, do: Callable[..., Result], staging: Path
    ) -> None:
        result = do(png())
        assert result.slug == ""
        assert [path.name for path in staging.iterdir()] == ["staged"]
        written = (staging / "staged").read_bytes()
        assert (result.images, result.size_out) == (1, len(written))
        assert check_file(png(), written, "standard").share == result.share > 0

    def test_a_copy_is_byte_for_byte(self, do: Callable[..., Result], staging: Path) -> None:
        result = do(b"file,label\n", pipeline="")
        assert (staging / "staged").read_bytes() == b"file,label\n"
        assert result.sha256_in == result.sha256_out

    def test_a_label_says_what_the_noise_says(
        self, do: Callable[..., Result], staging: Path
    ) -> None:
        made = []
        for label in ("Hand", "CXR", "Hand"):
            do(png(), label=label)
            made.append((staging / "staged").read_bytes())
            (staging / "staged").unlink()
        assert made[0] == made[2] != made[1]

    @pytest.mark.parametrize(
        ("data", "slug"),
        [
            (png()[:-40], "corrupt"),
            (b"no picture", "not_an_image"),
            (b"", "not_an_image"),
            (png(spread=1), "budget_below_one"),
        ],
        ids=["torn", "text", "empty", "flat"],
    )
    def test_an_error_of_the_file_is_its_result_and_leaves_nothing(
        self, do: Callable[..., Result], staging: Path, data: bytes, slug: str
    ) -> None:
        result = do(data)
        assert (result.slug, result.stops_run) == (slug, False)
        assert result.detail
        assert list(staging.iterdir()) == []

    def test_a_file_that_changed_since_the_plan_is_not_read(
        self, tmp_path: Path, do: Callable[..., Result], staging: Path
    ) -> None:
        do(png())
        root = tmp_path / "export"
        (found,) = walk(root)
        os.utime(root / "a", ns=(1, 1))
        worker = Worker(Setup(str(root), "00" * 32, {}, "standard"))
        result = worker.do(Task(found, str(staging / "other")))
        assert result.slug == "changed"
        assert not (staging / "other").exists()

    def test_a_place_that_is_taken_stops_the_run(
        self, do: Callable[..., Result], staging: Path
    ) -> None:
        (staging / "staged").write_bytes(b"another's")
        result = do(png())
        assert (result.slug, result.stops_run) == ("output", True)
        assert [path.read_bytes() for path in staging.iterdir()] == [b"another's"]

    def test_an_error_nobody_thought_of_is_told_by_kind_and_place_alone(
        self, tmp_path: Path, do: Callable[..., Result]
    ) -> None:
        do(png())
        root = tmp_path / "export"
        (found,) = walk(root)
        worker = Worker(Setup(str(root), "00" * 32, {}, "standard"))
        result = worker.do(Task(found, str(tmp_path / "CANARY^Jane\0")))
        assert result.slug == "error"
        assert re.match(r"unexpected: ValueError at \w+\.py:\d+; please", result.detail)
        assert not result.stops_run

    def test_too_little_memory_is_a_reason(self, do: Callable[..., Result], staging: Path) -> None:
        stream = BytesIO()
        Picture.fromarray(np.zeros((9000, 9000), np.uint8)).save(stream, "PNG")
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 1024**2, hard))
        try:
            result = do(stream.getvalue())
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        assert (result.slug, result.stops_run) == ("too_large", False)
        assert list(staging.iterdir()) == []

    def test_a_file_too_large_for_memory_is_refused_before_it_is_read(
        self, tmp_path: Path, do: Callable[..., Result], staging: Path
    ) -> None:
        do(png())
        (staging / "staged").unlink()
        os.truncate(tmp_path / "export" / "a", limits.FILE_BYTES + 1)  # takes no place on the disk
        (found,) = walk(tmp_path / "export")
        worker = Worker(Setup(str(tmp_path / "export"), "00" * 32, {}, "standard"))
        result = worker.do(Task(found, str(staging / "staged"), "radiology-grey"))
        assert (result.slug, result.detail) == (
            "too_large",
            "the file is larger than 4 GiB; split it",
        )
        assert list(staging.iterdir()) == []

    @pytest.mark.parametrize(("number", "slug"), [(errno.EIO, "storage"), (errno.EROFS, "output")])
    def test_a_disk_of_out_that_fails_stops_the_run_and_is_no_fault_of_the_file(
        self, number: int, slug: str
    ) -> None:
        result = result_of(OSError(number, "reads its own file again"))
        assert (result.slug, result.stops_run) == (slug, True)

    def test_its_backend_names_all_that_the_bytes_depend_on(
        self, tmp_path: Path, do: Callable[..., Result]
    ) -> None:
        folder = str(load_card("radiology-grey").folder)
        worker = Worker(Setup(str(tmp_path), "00" * 32, {"radiology-grey": folder}, "standard"))
        names = {"torch", "numpy", "zlib", "machine", "cpu_capability", "imagecodecs", "threads"}
        assert names <= set(worker.backend())

    def test_a_pipeline_that_is_missing_is_told_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(PipelineError):
            Worker(Setup(str(tmp_path), "00" * 32, {"x": str(tmp_path / "x")}, "standard"))
