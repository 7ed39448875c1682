"""A run in a file: packed, read again, and refused where it is none."""

from pathlib import Path

import numpy as np
import pytest

from medprotect.bench.protection.record import Run, pack, read_runs, unpack
from medprotect.errors import ConfigError


def test_predictions_are_packed_and_come_back() -> None:
    told = np.random.default_rng(0).integers(256, size=5000)
    assert np.array_equal(unpack(pack(told)), told)
    assert len(pack(told % 8)) < 0.7 * len(told)
    assert unpack(pack(told[:0])).size == 0


@pytest.mark.parametrize("told", [[256], [-1, 3]])
def test_more_classes_than_a_byte_holds_are_refused(told: list[int]) -> None:
    with pytest.raises(ConfigError, match="256 classes"):
        pack(np.array(told))


def test_runs_of_two_folders_count_once(out: Path, runs: list[Run]) -> None:
    (one, *_) = out.rglob("*.json")
    assert len(read_runs([out, one])) == len(runs) == 5


@pytest.mark.parametrize("text", ["no", "[]", "{}", "{}\n", '{"schema_version": 2}'])
def test_a_file_that_is_no_run_is_named_and_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.json is not a run"):
        read_runs([tmp_path])


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs"):
        read_runs([tmp_path])
