"""Workers, as real processes on real files."""

import os
import shutil
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.encaps import encapsulate

from medprotect.confounder.card import shipped_cards
from medprotect.errors import HashMismatchError, MedprotectError, PipelineError, StorageError
from medprotect.imaging import formats
from medprotect.protect.confinement import decoding_bytes
from medprotect.protect.pool import Pool, error_of
from medprotect.protect.tasks import Result, Setup, Task
from medprotect.scan.walk import open_found, walk

from ..waiting import HANG_SECONDS


def png(seed: int, size: int = 24) -> bytes:
    stream = BytesIO()
    shade = np.random.default_rng(seed).integers(20, 220, (size, size), dtype=np.uint8)
    Picture.fromarray(shade).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "export"
    root.mkdir()
    for number in range(5):
        (root / f"{number}.png").write_bytes(png(number))
    (tmp_path / "staging").mkdir()
    return root


def setup_of(root: Path) -> Setup:
    pipelines = {card.name: str(card.folder) for card in shipped_cards()}
    return Setup(str(root), "00" * 32, pipelines, "standard")


def tasks_of(root: Path) -> Iterator[Task]:
    for found in walk(root):
        with open_found(root, found) as stream:
            needed = decoding_bytes(found.size, formats.describe(stream).traits)
        staged = str(root.parent / "staging" / found.path)
        yield Task(found, staged, "radiology-grey", decoding_bytes=needed)


def pids(pool: Pool) -> list[int]:
    return [process.pid or 0 for process in pool._workers.values()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def work_and_send(root: Path, number: int, **fields: int) -> dict[str, Result]:
    """Work all files off; the worker of the first gets a signal while it has the file."""
    with Pool(2, setup_of(root)) as pool:
        victim = pids(pool)[0]

        def tasks() -> Iterator[Task]:
            for at, task in enumerate(tasks_of(root)):
                if at == 0:
                    os.kill(victim, signal.SIGSTOP)  # it gets the file and does not begin
                if at == 1:
                    os.kill(victim, number)
                    os.kill(victim, signal.SIGCONT)
                yield replace(task, **fields)

        return {task.found.path: result for task, result in pool.results(tasks())}


class TestPool:
    def test_every_task_gets_its_result_and_no_worker_outlives_it(self, root: Path) -> None:
        with Pool(2, setup_of(root)) as pool:
            workers = pids(pool)
            assert pool.backend["torch"]
            results = {task.found.path: result for task, result in pool.results(tasks_of(root))}
        assert sorted(results) == [f"{number}.png" for number in range(5)]
        assert {result.slug for result in results.values()} == {""}
        assert not any(map(is_alive, workers))

    @pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
    def test_a_decoder_that_crashes_costs_its_file_and_no_other(
        self, root: Path, number: int
    ) -> None:
        results = work_and_send(root, number)
        assert results.pop("0.png").slug == "corrupt"
        assert {result.slug for result in results.values()} == {""}

    def test_a_worker_ended_from_outside_is_no_fault_of_the_file(self, root: Path) -> None:
        results = work_and_send(root, signal.SIGKILL)
        assert results.pop("0.png").slug == "too_large"  # which the next run tries again
        assert {result.slug for result in results.values()} == {""}

    def test_a_decoder_that_hangs_costs_its_file_and_no_other(self, root: Path) -> None:
        with Pool(2, setup_of(root)) as pool:
            victim = pids(pool)[0]

            def tasks() -> Iterator[Task]:
                for at, task in enumerate(tasks_of(root)):
                    if at == 0:
                        os.kill(victim, signal.SIGSTOP)  # it gets the file and never answers
                    yield replace(task, seconds=1.0 if at == 0 else HANG_SECONDS)

            results = {task.found.path: result for task, result in pool.results(tasks())}
            assert victim not in pids(pool)
        assert not is_alive(victim)
        hung = results.pop("0.png")
        assert hung.slug == "too_large"  # which the next run tries again
        assert "longer than 1 seconds" in hung.detail
        assert {result.slug for result in results.values()} == {""}

    def test_time_in_which_the_run_itself_was_stopped_counts_for_a_second(self, root: Path) -> None:
        with Pool(1, setup_of(root)) as pool:
            (connection,) = pool._workers
            pool._busy[connection] = next(tasks_of(root))
            pool._spent[connection] = 0
            assert list(pool._end_overdue(1e6)) == []
            assert pool._spent[connection] <= 1
            del pool._busy[connection]

    def test_a_file_that_unpacks_to_more_than_a_worker_may_take_costs_itself_alone(
        self, root: Path
    ) -> None:
        from ..imaging.raster.pictures import chunk

        side = 9_000
        head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        squeezed = zlib.compressobj(9)
        body = b"".join(squeezed.compress(bytes(side + 1)) for _ in range(side)) + squeezed.flush()
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body)
        (root / "0.png").write_bytes(bomb + chunk(b"IEND", b""))
        assert len(bomb) < 100_000
        with Pool(1, replace(setup_of(root), memory_bytes=700 << 20)) as pool:
            results = {task.found.path: result for task, result in pool.results(tasks_of(root))}
        assert results.pop("0.png").slug == "too_large"
        assert {result.slug for result in results.values()} == {""}

    def test_a_decoder_that_gets_no_memory_is_told_from_one_that_meets_damage(
        self, root: Path, pydicom_file: Callable[[str], Path]
    ) -> None:
        """OpenJPEG says of both that it cannot decode."""
        shade = np.add.outer(np.arange(6000), np.arange(6000)) >> 6
        dataset = dcmread(pydicom_file("MR_small_jp2klossless.dcm"))
        dataset.Rows, dataset.Columns = shade.shape
        codestream = imagecodecs.jpeg2k_encode(
            shade.astype("i2"), level=0, codecformat="j2k", reversible=True, bitspersample=16
        )
        dataset.PixelData = encapsulate([bytes(codestream)])
        dataset.save_as(root / "0.png")
        small = pydicom_file("MR_small_jp2klossless.dcm").read_bytes()
        (root / "1.png").write_bytes(small.replace(b"\xff\x93", b"\xff\x52"))
        with Pool(1, replace(setup_of(root), memory_bytes=480 << 20)) as pool:
            results = {task.found.path: result for task, result in pool.results(tasks_of(root))}
        assert results.pop("0.png").slug == "too_large"
        assert results.pop("1.png").slug == "corrupt"
        assert {result.slug for result in results.values()} == {""}

    def test_a_crash_is_laid_on_memory_where_there_may_have_been_too_little(
        self, root: Path
    ) -> None:
        needed = setup_of(root).memory_bytes
        results = work_and_send(root, signal.SIGABRT, decoding_bytes=needed)
        assert results.pop("0.png").slug == "too_large"
        assert {result.slug for result in results.values()} == {""}

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_to_the_whole_group_costs_no_file(self, root: Path, number: int) -> None:
        results = work_and_send(root, number)
        assert {result.slug for result in results.values()} == {""}

    def test_stopping_finishes_what_is_under_way_and_begins_nothing(self, root: Path) -> None:
        with Pool(1, setup_of(root)) as pool:
            done = []
            for task, _ in pool.results(tasks_of(root)):
                done.append(task.found.path)
                pool.stopping = True
        assert done == ["0.png", "1.png"]

    def test_a_worker_has_its_next_file_before_the_run_takes_its_last(self, root: Path) -> None:
        drawn = []

        def tasks() -> Iterator[Task]:
            for task in tasks_of(root):
                drawn.append(task.found.path)
                yield task

        with Pool(1, setup_of(root)) as pool:
            ahead = [len(drawn) for _ in pool.results(tasks())]
        assert ahead == [2, 3, 4, 5, 5]

    def test_an_error_ends_the_workers_at_once(self, root: Path) -> None:
        with pytest.raises(StorageError), Pool(2, setup_of(root)) as pool:  # noqa: PT012
            workers = pids(pool)
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)  # they would never end by themselves
            raise StorageError("full")
        assert not any(map(is_alive, workers))

    def test_a_damaged_pipeline_is_the_error_of_the_pool(self, root: Path, tmp_path: Path) -> None:
        setup = setup_of(root)
        own = shutil.copytree(setup.pipelines["radiology-grey"], tmp_path / "own")
        weights = own / "models" / "generator.safetensors"
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
        with pytest.raises(HashMismatchError):
            Pool(2, replace(setup, pipelines={"own": str(own)}))
        with pytest.raises(PipelineError):
            Pool(1, replace(setup, pipelines={"own": str(tmp_path / "none")}))

    def test_a_full_disk_is_the_error_of_the_run_and_not_of_a_file(
        self, root: Path, mounted: Callable[..., Path]
    ) -> None:
        disk = mounted(root.parent / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
        with Pool(1, setup_of(root)) as pool:
            tasks = (replace(task, staged=str(disk / "a")) for task in tasks_of(root))
            _, result = next(iter(pool.results(tasks)))
        assert (result.slug, result.stops_run) == ("storage", True)
        assert list(disk.iterdir()) == []


class TestErrorOf:
    def test_an_error_comes_back_as_what_it_was(self) -> None:
        error = error_of("storage", "make room")
        assert isinstance(error, StorageError)
        assert str(error) == "make room"

    def test_one_that_is_unknown_is_the_common_one(self) -> None:
        assert type(error_of("from another time", "")) is MedprotectError
