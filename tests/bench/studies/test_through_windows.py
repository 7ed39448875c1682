"""Victims that see images of 12 bits through a window of their own choice."""

import csv
from pathlib import Path

import numpy as np
import pytest

from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.pairs import read_pairs
from medprotect.bench.studies.through_windows import look_through, parse_window
from medprotect.errors import ConfigError
from medprotect.imaging.image import Window

from ...audit.bands import cover, linear, pairs
from ...audit.stripes import stripes
from .sixteen_bits import write_slice

SPLIT = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """CT of 12 bits that its own window shows as the stripes of 8 bits."""
    (tmp_path / "ct").mkdir()
    part = stripes(len(SPLIT))
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "split"])
        for number, (image, split) in enumerate(zip(part.images, SPLIT, strict=True)):
            write_slice(tmp_path / "ct" / f"{number}.dcm", image[..., 0], number, "CT", "ABDOMEN")
            rows.writerow([f"{number}.dcm", part.labels[number], split])
    return tmp_path


def read(series: Path, window: Window | None) -> np.ndarray:
    table = series / "labels.csv"
    return read_pairs(series / "ct", series / "ct", table, 16, window=window).clean.images


class TestReading:
    def test_the_header_window_shows_what_the_values_were_made_of(self, series: Path) -> None:
        assert np.array_equal(read(series, None), stripes(len(SPLIT)).images[:24])

    def test_another_window_shows_the_same_values_otherwise(self, series: Path) -> None:
        hounsfield = 40 + 400 * (stripes(len(SPLIT)).images[:24] / 255 - 0.5)
        for center, width in ((50, 150), (-500, 1500)):
            shown = (hounsfield - center) / width + 0.5
            expected = 255 * shown.clip(0, 1)
            found = read(series, Window(center, width, "LINEAR_EXACT"))
            assert np.abs(found - expected).max() <= 1.4  # whole HU, whole grey levels

    def test_a_narrow_window_leaves_black_and_white(self, series: Path) -> None:
        shown = read(series, Window(40, 2, "LINEAR_EXACT"))
        assert np.isin(shown, (0, 255)).mean() > 0.95


class TestWindows:
    def test_width_and_center(self) -> None:
        assert parse_window("1500/-500") == Window(-500, 1500)

    @pytest.mark.parametrize("text", ["400", "/40", "1/40", "-400/40", "lung", "nan/40"])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"window"):
            parse_window(text)


class TestVictims:
    @pytest.fixture(autouse=True)
    def without_chance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(VICTIMS, "resnet18", linear)

    def test_where_nothing_was_done_nothing_holds_and_nothing_is_read(self) -> None:
        found = look_through(pairs(count=512), "header", seeds=(1,), steps=40, noise_alone=True)
        assert found["measurable"]
        assert found["protection"] == 0
        assert found["most_shown"] == 0
        assert found["noise_read"] is not None
        assert found["noise_read"] < 0.5

    def test_where_only_the_class_is_left_all_holds(self) -> None:
        hidden = pairs(cover(pairs().clean.labels))
        found = look_through(hidden, "400/40", seeds=(1,), steps=40)
        assert found["window"] == "400/40"
        assert found["noise_read"] is None
        assert found["clean"] is not None
        assert found["clean"] > 0.9
        assert (found["protection"] or 0) > 0.7
        assert (
            found["most_shown"] == np.abs(hidden.protected.astype(int) - hidden.clean.images).max()
        )
