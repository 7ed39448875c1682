"""`medprotect bench` as a user gives it."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medprotect.cli import app
from medprotect.cli.bench import protection

from ..waiting import HANG_SECONDS


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Squares darker and brighter than what is around them, as a MedMNIST file."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in {"train": 64, "val": 16, "test": 24}.items():
        labels = np.arange(count) // 2 % 2
        drawn = random.integers(90, 160, (count, 12, 12), dtype=np.uint8)
        drawn[:, 3:9, 3:9] = np.where(labels, 220, 30)[:, None, None]
        arrays |= {f"{part}_images": drawn, f"{part}_labels": labels[:, None].astype(np.uint8)}
    path = tmp_path / "in the house" / "squares.npz"
    path.parent.mkdir()
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def medprotect(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medprotect", *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )


def test_a_bench_runs_once_and_becomes_a_page(images: Path, tmp_path: Path) -> None:
    runs, page = tmp_path / "runs", tmp_path / "docs" / "page.md"
    command = [
        *("bench", "protection", "--dataset", "breastmnist", "--images", images, "--out", runs),
        *("--protections", "class-wise,ours-labels", "--victims", "vgg", "--steps", "2"),
        *("--countermeasures", "grey", "--seeds", "1", "--test", "20", "--k", "2"),
    ]
    first = medprotect(*command)
    assert first.returncode == 0, first.stderr
    assert "7 runs made, 0 were there" in first.stdout
    assert "7/7 ours-labels: vgg, grey, seed 1: " in first.stderr
    assert "1/7 no set: vgg, none, seed 1 0/26" in first.stderr  # 13 trainings of two steps
    again = CliRunner().invoke(app, list(map(os.fspath, command)))
    assert "0 runs made, 7 were there" in again.stdout
    shown = CliRunner().invoke(app, ["bench", "table", os.fspath(runs), "--out", os.fspath(page)])
    assert shown.exit_code == 0, shown.stderr
    text = page.read_text()
    assert "| ours-labels (labels-grey) |" in text
    assert "--images squares.npz --protections ours-labels,class-wise" in text
    assert sorted(each.name for each in page.with_suffix("").iterdir()) == [
        "breastmnist.csv",
        "breastmnist.svg",
    ]
    assert "(page/breastmnist.svg)" in text
    assert os.fspath(tmp_path) not in text
    found = [path.read_text() for path in runs.rglob("*.json")]
    assert not any(os.fspath(tmp_path) in text for text in found)
    assert {json.loads(text)["settings"]["attack"]["steps"] for text in found} == {2}


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--protections", "ours,magic", "choose from ours, ours-labels, class-wise"),
        ("--victims", "", "choose from resnet18"),
        ("--countermeasures", "none", "choose from blur-0.5"),
        ("--countermeasures", "inverse", "has no 'inverse'"),
        ("--budget", "0", "greater than or equal to 1"),
        ("--seeds", "one", "whole numbers"),
        ("--strength", "huge", "low, standard, high"),
        ("--dataset", "imagenet", "no data set card"),
        ("--dataset", "bloodmnist", "8 classes"),
        ("--pipeline", "nothing", "no pipeline"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_training(
    images: Path, option: str, value: str, told: str
) -> None:
    out = images.parent / "runs"
    place = ["--dataset", "breastmnist", "--images", os.fspath(images), "--out", os.fspath(out)]
    refused = CliRunner().invoke(app, ["bench", "protection", *place, option, value])
    assert refused.exit_code in (2, 7)
    assert told in refused.stderr
    assert not out.exists()


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    out = ["--out", os.fspath(tmp_path / "page.md")]
    refused = CliRunner().invoke(app, ["bench", "table", os.fspath(tmp_path), *out])
    assert refused.exit_code == 2
    assert "no runs" in refused.stderr


def test_by_default_all_protections_are_compared() -> None:
    from medprotect.audit.budgets import UNAIDED
    from medprotect.bench.protection.protection import PROTECTIONS

    given = {name: each.default for name, each in inspect.signature(protection).parameters.items()}
    assert given["protections"].split(",") == list(PROTECTIONS)
    assert set(given["countermeasures"].split(",")) < set(UNAIDED)


@pytest.mark.slow
def test_speed_is_measured_and_written(tmp_path: Path) -> None:
    out, figure, folder = (tmp_path / name for name in ("speed.json", "speed.svg", "disk"))
    folder.mkdir()
    few = ["--slices", "8", "--planned", "2", "--repeats", "1"]
    done = medprotect("bench", "speed", *few, "--folder", folder, "--out", out, "--figure", figure)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert [report[name] for name in ("slices", "planned", "repeats", "many")] == [8, 2, 1, 1000]
    assert {row["row"] for row in report["rows"]} == set("abcdefgh")
    assert "4 workers" in figure.read_text()
    for row in report["rows"]:
        assert row["lowest"] <= row["median"] <= row["highest"]
        assert f"| {row['row']} | {row['what']} |" in done.stdout
        if "torch" in row["what"]:
            assert row["holds"]
    assert list(folder.iterdir()) == []
    assert os.fspath(tmp_path) not in out.read_text()


@pytest.mark.slow
def test_a_profile_names_each_step_of_a_compressed_slice(tmp_path: Path) -> None:
    few = ["--slices", "1", "--syntax", "1.2.840.10008.1.2.4.80", "--folder", tmp_path]
    done = medprotect("bench", "profile", *few)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines()]
    assert {line[0]: line[1] for line in lines if line[0] in ("| decode", "| encode")} == {
        "| decode": "3",
        "| encode": "1",
    }
    assert list(tmp_path.iterdir()) == []


def test_a_profile_of_another_syntax_is_refused() -> None:
    refused = CliRunner().invoke(app, ["bench", "profile", "--syntax", "1.2.840.10008.1.2.4.50"])
    assert refused.exit_code == 2
    assert "choose from 1.2.840.10008.1.2.4.80" in refused.stderr


def test_speed_of_no_slices_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    refused = CliRunner().invoke(app, ["bench", "speed", os.fspath(tmp_path)])
    assert refused.exit_code == 3
    assert "no CT slice" in refused.stderr
