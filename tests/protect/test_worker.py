"""One worker process, spoken to as a run does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from medprotect.confounder.card import load_card
from medprotect.errors import PipelineError
from medprotect.protect.pool import Pool
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.scan.walk import walk

SECRET = bytes(range(32)).hex()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pool, Path]]:
    root = tmp_path_factory.mktemp("export")
    pipelines = {"radiology-grey": os.fspath(load_card("radiology-grey").folder)}
    with Pool(1, Setup(os.fspath(root), SECRET, pipelines, "standard")) as pool:
        yield pool, root


@pytest.fixture
def do(work: tuple[Pool, Path], tmp_path: Path) -> Callable[..., tuple[Result, Path]]:
    """`do(content, **fields)` is what becomes of a file with that content."""
    pool, root = work

    def give(content: bytes, change: bytes | None = None, **fields: Any) -> tuple[Result, Path]:
        path = root / "file"
        path.write_bytes(content)
        (found,) = walk(root)
        if change is not None:
            path.write_bytes(change)
        staged = tmp_path / "staged"
        task = Task(found, os.fspath(staged), **{"pipeline": "radiology-grey"} | fields)
        ((_, result),) = pool.results(iter([task]))
        return result, staged

    return give


class TestResults:
    def test_a_protected_file_is_staged_with_its_hashes(
        self, do: Callable[..., tuple[Result, Path]], pydicom_file: Callable[[str], Path]
    ) -> None:
        result, staged = do(pydicom_file("CT_small.dcm").read_bytes())
        assert result.slug == ""
        assert result.images == 1
        assert 0 < result.share <= 1
        assert result.size_out == staged.stat().st_size
        assert result.sha256_in != result.sha256_out

    def test_a_file_without_pipeline_is_copied(
        self, do: Callable[..., tuple[Result, Path]]
    ) -> None:
        result, staged = do(b"words", pipeline="")
        assert staged.read_bytes() == b"words"
        assert result.sha256_in == result.sha256_out

    def test_a_damaged_image_is_a_rejection_with_its_reason(
        self, do: Callable[..., tuple[Result, Path]], pydicom_file: Callable[[str], Path]
    ) -> None:
        result, staged = do(pydicom_file("MR_truncated.dcm").read_bytes())
        assert result.slug == "corrupt"
        assert not result.stops_run
        assert not staged.exists()

    def test_a_flat_image_is_a_rejection_through_monai_too(
        self, do: Callable[..., tuple[Result, Path]]
    ) -> None:
        from io import BytesIO

        from PIL import Image as Picture

        stream = BytesIO()
        Picture.new("L", (20, 20), 7).save(stream, "PNG")
        result, _ = do(stream.getvalue())
        assert result.slug == "budget_below_one"

    def test_a_file_changed_since_the_plan_is_rejected(
        self, do: Callable[..., tuple[Result, Path]], pydicom_file: Callable[[str], Path]
    ) -> None:
        content = pydicom_file("CT_small.dcm").read_bytes()
        result, _ = do(content, change=content + b"more")
        assert result.slug == "changed"

    def test_a_bug_is_told_by_kind_and_place_alone(
        self, do: Callable[..., tuple[Result, Path]], pydicom_file: Callable[[str], Path]
    ) -> None:
        result, _ = do(pydicom_file("CT_small.dcm").read_bytes(), pipeline="unknown to it")
        assert result.slug == "error"
        assert result.detail.startswith("unexpected: KeyError at worker.py:")
        assert "unknown to it" not in result.detail

    def test_an_unknown_class_stops_the_run(
        self, do: Callable[..., tuple[Result, Path]], pydicom_file: Callable[[str], Path]
    ) -> None:
        result, _ = do(pydicom_file("CT_small.dcm").read_bytes(), label="unheard of")
        assert result.slug == PipelineError.slug
        assert result.stops_run


class TestStart:
    def test_the_backend_names_what_bytes_depend_on(self, work: tuple[Pool, Path]) -> None:
        backend = work[0].backend
        assert {"torch", "cpu_capability", "threads", "numpy", "imagecodecs", "zlib"} <= set(
            backend
        )
        assert backend["threads"] == "1"

    def test_a_missing_pipeline_is_said_before_any_file(self, tmp_path: Path) -> None:
        setup = Setup(os.fspath(tmp_path), SECRET, {"x": os.fspath(tmp_path / "x")}, "low")
        with pytest.raises(PipelineError, match="There is no pipeline"):
            Pool(1, setup)


def test_a_worker_ends_when_its_run_is_killed(tmp_path: Path) -> None:
    setup = Setup(os.fspath(tmp_path), SECRET, {}, "standard")
    script = (
        "import json, os, sys\n"
        "from medprotect.protect.pool import Pool\n"
        "from medprotect.protect.tasks import Setup\n"
        "if __name__ == '__main__':\n"
        "    pool = Pool(1, Setup(**json.loads(sys.argv[1])))\n"
        "    (worker,) = pool._workers.values()\n"
        "    print(worker.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "run.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, os.fspath(path), json.dumps(asdict(setup))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    worker = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker outlived its run")
