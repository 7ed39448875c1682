"""Engines in place of the generator of a run."""

import importlib.util
from pathlib import Path

import pytest

from medprotect.bench.speed.engine import measure_engines
from medprotect.bench.speed.export import build_series, find_slices
from medprotect.confounder.key import Key


@pytest.mark.slow
def test_engines_that_are_installed_are_timed_and_their_pixels_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    absent = "openvino", "onnxruntime"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else find(name)
    )
    build_series(find_slices(None), tmp_path / "e", 1)
    rows = measure_engines("radiology-grey", Key.new(), tmp_path / "e", 1, lambda _line: None)
    eager, ratio, different = rows
    assert "as it runs" in eager.what
    assert ratio.unit == "x"
    assert "channels last / " in ratio.what
    assert different.values[0] < 100  # of a million; the same noise but for rounding
