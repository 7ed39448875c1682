"""The slices that speed is measured on."""

from pathlib import Path

from pydicom import dcmread

from medprotect.bench.speed.export import build_series, find_slices


def test_slices_are_many_series_where_that_is_asked(tmp_path: Path) -> None:
    build_series(find_slices(None), tmp_path / "e", 5, side=16, length=2)
    datasets = [dcmread(path) for path in sorted((tmp_path / "e").iterdir())]
    assert len({each.SOPInstanceUID for each in datasets}) == 5
    series = [each.SeriesInstanceUID for each in datasets]
    assert [series.index(each) for each in series] == [0, 0, 2, 2, 4]


def test_a_tiny_slice_is_of_the_body_and_not_of_the_air_beside_it(tmp_path: Path) -> None:
    build_series(find_slices(None), tmp_path / "e", 1, side=16)
    pixels = dcmread(tmp_path / "e" / "000000.dcm").pixel_array
    assert pixels.shape == (16, 16)
    assert pixels.std() > 1
