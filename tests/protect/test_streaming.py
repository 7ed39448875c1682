"""A file protected frame by frame is the one protected in memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medprotect.confounder.card import load_card
from medprotect.errors import BudgetBelowOneError, ConfigError, OutputError, StorageError
from medprotect.protect.atomic import _ScratchFile, scratch_file
from medprotect.protect.protectable import check_file
from medprotect.protect.streaming import protect_stream
from medprotect.protect.tasks import Setup, Task
from medprotect.protect.transforms import Protect
from medprotect.protect.worker import Worker
from medprotect.scan.walk import walk


@pytest.fixture
def frames(pydicom_file: Callable[[str], Path], tmp_path: Path) -> Path:
    """An export with one file of three CT frames."""
    dataset = dcmread(pydicom_file("CT_small.dcm"))
    first = dataset.pixel_array
    dataset.PixelData = np.stack([first, first[::-1], first.T]).tobytes()
    dataset.NumberOfFrames = 3
    (tmp_path / "export").mkdir()
    dataset.save_as(tmp_path / "export" / "a")
    return tmp_path / "export"


@pytest.fixture(scope="module")
def worker_of() -> Callable[[Path], Worker]:
    folder = str(load_card("radiology-grey").folder)

    def make(export: Path) -> Worker:
        return Worker(Setup(str(export), "00" * 32, {"radiology-grey": folder}, "standard"))

    return make


def test_what_a_worker_answers_and_writes_is_the_same_either_way(
    frames: Path, tmp_path: Path, worker_of: Callable[[Path], Worker]
) -> None:
    (found,) = walk(frames)
    worker = worker_of(frames)
    results = [
        worker.do(Task(found, str(tmp_path / str(streamed)), "radiology-grey", streamed=streamed))
        for streamed in (False, True)
    ]
    assert results[0] == results[1]
    assert (results[0].slug, results[0].images) == ("", 3)
    written = (tmp_path / "True").read_bytes()
    assert written == (tmp_path / "False").read_bytes()
    assert check_file((frames / "a").read_bytes(), written, "standard").share <= 1
    assert {path.name for path in tmp_path.iterdir()} == {"export", "False", "True"}


def test_a_file_that_cannot_be_protected_leaves_nothing(
    frames: Path, tmp_path: Path, worker_of: Callable[[Path], Worker]
) -> None:
    dataset = dcmread(frames / "a")
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(frames / "a")
    (found,) = walk(frames)
    task = Task(found, str(tmp_path / "staged"), "radiology-grey", streamed=True)
    assert worker_of(frames).do(task).slug == BudgetBelowOneError.slug
    assert {path.name for path in tmp_path.iterdir()} == {"export"}


def test_a_file_is_never_overwritten_and_a_label_has_to_be_known(
    frames: Path, tmp_path: Path, worker_of: Callable[[Path], Worker]
) -> None:
    protect: Protect = worker_of(frames)._protect["radiology-grey"].protect
    (tmp_path / "taken").write_bytes(b"another's")
    with (frames / "a").open("rb") as stream:
        with pytest.raises(ConfigError):
            protect_stream(stream, tmp_path / "new", protect, "no such class")
        with pytest.raises(OutputError):
            protect_stream(stream, tmp_path / "taken", protect)
    assert (tmp_path / "taken").read_bytes() == b"another's"
    assert {path.name for path in tmp_path.iterdir()} == {"export", "taken"}


def test_a_scratch_file_has_no_name_and_tells_of_a_full_disk(tmp_path: Path) -> None:
    with scratch_file(tmp_path) as file:
        file.write(b"frames")
        file.seek(0)
        assert file.read() == b"frames"
        assert list(tmp_path.iterdir()) == []
    full = _ScratchFile(Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    with pytest.raises(StorageError):
        full.write(bytes(1 << 20))
    full.write(b"too little to be written at once")
    with pytest.raises(StorageError):
        full.close()
    with pytest.raises(OutputError), scratch_file(tmp_path / "missing"):
        pass
