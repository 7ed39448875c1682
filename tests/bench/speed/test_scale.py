"""Runs of ever more tiny files."""

from pathlib import Path

import pytest

from medprotect.bench.speed.export import make_null_pipeline
from medprotect.bench.speed.scale import list_sizes, measure_scale
from medprotect.confounder.key import Key


@pytest.mark.parametrize(
    ("many", "sizes"),
    [(1000, [100, 1000]), (10_000, [100, 1000, 10_000]), (2500, [100, 1000, 2500])],
)
def test_each_run_is_ten_times_as_large_up_to_the_largest(many: int, sizes: list[int]) -> None:
    assert list_sizes(many) == sizes


@pytest.mark.slow
def test_every_size_has_its_time_and_the_largest_its_memory(tmp_path: Path) -> None:
    make_null_pipeline(tmp_path / "null")
    rows = measure_scale(tmp_path, Key.new(), 120, 2, lambda _line: None)
    named = {row.what: row for row in rows}
    assert len(named["run of 120 tiny files / of 100, time of a file"].values) == 2
    growth = [row for row in rows if "after a tenth" in row.what]
    assert len(growth) == 2
    assert all(value >= 1 for row in growth for value in row.values)
    assert not (tmp_path / "out").exists()
