"""How readable noise and anatomy are to a linear reader."""

import csv
import doctest
from pathlib import Path

import numpy as np
import pytest

from medprotect.audit.halves import Labelled
from medprotect.bench.studies import meter
from medprotect.bench.studies.meter import Images, describe, measure, measure_protection
from medprotect.errors import ConfigError

from ...audit.stripes import stripes

COUNT, SIDE = 160, 16
LABELS = np.arange(COUNT, dtype=np.int64) % 2
ROWS, COLUMNS = np.indices((SIDE, SIDE))


def clouds(channels: int = 1, seed: int = 0) -> Images:
    """Images without classes: smooth, each of its own."""
    coarse = np.random.default_rng(seed).integers(60, 180, (COUNT, 4, 4, channels))
    fine = np.random.default_rng(seed + 1).integers(-5, 6, (COUNT, SIDE, SIDE, channels))
    return (coarse.repeat(4, 1).repeat(4, 2) + fine).astype(np.uint8)


def with_stripes(clean: Images, lsb: int = 8, weights: tuple[int, ...] = (1,)) -> Images:
    """Lay stripes on images: across for one class, along for the other."""
    ways = np.stack([2 * (ROWS % 2) - 1, 2 * (COLUMNS % 2) - 1])
    noise = lsb * ways[LABELS][..., None] * np.array(weights)
    return (clean + noise).clip(0, 255).astype(np.uint8)


def test_the_example_runs() -> None:
    found = doctest.testmod(meter)
    assert found.attempted > 0
    assert found.failed == 0


def test_noise_that_says_the_class_is_read_where_anatomy_says_nothing() -> None:
    found = measure(clouds(), with_stripes(clouds()), LABELS)
    assert found.chance == 0.5
    assert found.plain.code > 0.95
    assert found.plain.anatomy < 0.7
    assert found.plain.margin == found.plain.code - found.plain.anatomy


def test_anatomy_is_read_and_no_noise_tells_nothing_of_it() -> None:
    clean = stripes(COUNT)
    found = measure(clean.images, clean.images, clean.labels)
    assert found.plain.anatomy > 0.95
    assert found.plain.code < 0.5  # a quarter by guessing
    assert found.plain.margin < -0.4


def test_what_a_countermeasure_takes_away_is_not_read_after_it() -> None:
    found = measure(clouds(), with_stripes(clouds()), LABELS)
    assert found.after["half-size"].code < 0.75
    assert found.after["normalise"].code > 0.95
    assert found.after[found.worst].code == min(each.code for each in found.after.values())


def test_colour_is_read_until_it_is_taken_away() -> None:
    """Of a colour without luminance, 0.299 red, 0.587 green and 0.114 blue."""
    shift = np.array([10, -6, 5])
    clean = clouds(3)
    protected = (clean + (2 * LABELS - 1)[:, None, None, None] * shift).astype(np.uint8)
    flat = measure(clean // 8 + 100, protected - clean + clean // 8 + 100, LABELS)
    assert flat.plain.code > 0.95
    assert flat.after["grey"].code < 0.75
    assert "grey" not in measure(clouds(), clouds(), LABELS).after


def test_features_of_many_images_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    images = clouds(3)[:9]
    monkeypatch.setattr(meter, "_PIXELS", 2 * images[0].size)
    assert np.allclose(describe(images), np.concatenate([describe(each[None]) for each in images]))


@pytest.mark.parametrize("side", [8, 13, 30])
def test_any_size_is_described(side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, side, side + 1, 1), dtype=np.uint8)
    features = describe(images)
    assert features.shape == (3, 4 * 7 + 16 + 1)
    assert np.isfinite(features).all()


def test_readings_repeat() -> None:
    clean, protected = clouds(), with_stripes(clouds(), 2)
    assert measure(clean, protected, LABELS) == measure(clean, protected, LABELS)


def test_images_and_labels_that_do_not_fit_are_refused() -> None:
    clean = clouds()
    with pytest.raises(ValueError, match="one shape"):
        measure(clean, clean[:, :8], LABELS)
    with pytest.raises(ValueError, match="at least 5"):
        measure(clean, clean, np.arange(COUNT) // 156)


def test_another_method_is_measured_at_the_budget_of_a_strength() -> None:
    half = Labelled(clouds(), LABELS)
    low, high = (measure_protection(half, "lsp", each).plain.code for each in ("low", "high"))
    assert high >= low
    assert high > 0.6


def test_points_are_measured_beside_their_protection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {f"{part}_images": clouds()[..., 0] for part in ("train", "val", "test")}
    labels = {f"{part}_labels": LABELS[:, None] for part in ("train", "val", "test")}
    # Every second image is half B: both classes have to be among them.
    labels["train_labels"] = (np.arange(COUNT)[:, None] // 2) % 2
    np.savez(tmp_path / "clouds.npz", **parts, **labels)
    points = tmp_path / "points.csv"
    points.write_text(
        "images,protection,labels,strength,P\n"
        "clouds.npz,ar,known,low,0.1\n"
        "clouds.npz,radiology-grey,unknown,standard,0.2\n"
        "clouds.npz,class-wise,known,high,0.9\n"
    )
    meter.main(points=points, data=tmp_path)
    out, err = capsys.readouterr()
    of_margin, of_code = err.splitlines()
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["protection"] for row in rows] == ["ar", "radiology-grey", "class-wise"]
    assert all(0 <= float(row["code"]) <= 1 for row in rows)
    assert of_margin.startswith("Spearman of code less anatomy and P: ")
    assert of_code.startswith("Spearman of code and P: ")


@pytest.mark.parametrize(
    "given", [{}, {"points": Path("a.csv")}, {"images": Path(), "data": Path()}]
)
def test_the_meter_is_given_images_or_a_table_and_its_folder(given: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="--points with --data"):
        meter.main(**given)  # type: ignore[arg-type]
