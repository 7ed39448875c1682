"""`medprotect audit` as a user gives it."""

import json
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from ..waiting import HANG_SECONDS

SHADES = ("dark", "light")


def audit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medprotect", "audit", *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Squares brighter or darker than what is around them, and the same, black all over."""
    random = np.random.default_rng(0)
    clean, out, table = tmp_path / "clean", tmp_path / "out", tmp_path / "labels.csv"
    clean.mkdir()
    out.mkdir()
    lines = ["file,label"]
    for index in range(40):
        image = random.integers(90, 160, (12, 12), dtype=np.uint8)
        image[3:9, 3:9] = 30 if index % 2 else 220
        Picture.fromarray(image).save(clean / f"{index}.png")
        Picture.fromarray(np.zeros_like(image)).save(out / f"{index}.png")
        lines.append(f"{index}.png,{SHADES[index % 2]}")
    table.write_text("\n".join(lines) + "\n")
    return clean, out, table


@pytest.mark.slow
def test_an_audit_prints_protection_first_and_writes_its_page(
    folders: tuple[Path, Path, Path],
) -> None:
    clean, out, table = folders
    page = clean.parent / "audit.html"
    shown = audit(clean, out, "--labels", table, "--size", "12", "--json", "--report", page)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["schema_version"] == 2
    assert found["accuracy"]["clean"] > 0.7
    reached = found["matrix"][0]["attacker_best"]
    learned, chance = found["accuracy"]["clean"], found["accuracy"]["chance"]
    # By itself it may be anything: what black images teach is chance, on eight of two classes.
    plain = 1 - max(0, reached - chance) / (learned - chance)
    assert found["protection"]["plain"] == pytest.approx(plain, abs=1e-5)
    assert [row["countermeasure"] for row in found["matrix"]] == [
        "none",
        "jpeg-10",
        "blur-1",
    ]
    assert "segmentation" in " ".join(found["not_tried"])
    text = page.read_text()
    assert os.fspath(clean) not in text
    assert "data:image/png" not in text


def test_it_says_where_it_is_before_its_first_training_ends(
    folders: tuple[Path, Path, Path],
) -> None:
    clean, out, table = folders
    with subprocess.Popen(
        [sys.executable, "-m", "medprotect", "audit", clean, out, "--labels", table],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = list(takewhile(lambda line: "training 1 of 4" not in line, process.stderr))
        process.kill()
    stages = ["loading numpy 0/4", "loading torch 2/4", "reading images 1/"]
    assert all(any(stage in line for line in told) for stage in stages)
    assert not any("on clean images" in line for line in told)
    assert (out.parent / "out.medprotect" / "audit").stat().st_mode & 0o777 == 0o700


def test_where_nothing_can_be_kept_it_says_so_and_goes_on(
    folders: tuple[Path, Path, Path],
) -> None:
    clean, out, table = folders
    (out.parent / "out.medprotect").touch()
    shown = audit(clean, out, "--labels", table, "--leaked", "48")
    assert "nothing is kept" in shown.stderr
    assert "leak fewer" in shown.stderr


def test_a_table_is_asked_for_unless_it_lies_in_the_folder(
    folders: tuple[Path, Path, Path],
) -> None:
    clean, out, table = folders
    refused = audit(clean, out)
    assert refused.returncode == 2
    assert "--labels" in refused.stderr
    assert "split.csv" in refused.stderr
    table.rename(clean / "split.csv")
    found = audit(clean, out, "--leaked", "48")  # which is told after the images are read
    assert "leak fewer" in found.stderr


def test_a_wrong_budget_is_a_wrong_argument(folders: tuple[Path, Path, Path]) -> None:
    clean, out, table = folders
    refused = audit(clean, out, "--labels", table, "--budget", "endless")
    assert refused.returncode == 2
    assert "quick" in refused.stderr


def test_a_protected_image_that_is_missing_stops_the_audit(
    folders: tuple[Path, Path, Path],
) -> None:
    clean, out, table = folders
    for path in out.iterdir():
        path.unlink()
    refused = audit(clean, out, "--labels", table)
    assert refused.returncode == 2
    assert "not among the protected" in refused.stderr


def test_what_attackers_cannot_have_is_a_wrong_argument(folders: tuple[Path, Path, Path]) -> None:
    clean, out, table = folders
    refused = audit(clean, out, "--labels", table, "--leaked", "24")
    assert refused.returncode == 2
    assert "leak fewer" in refused.stderr
    refused = audit(clean, out, "--labels", table, "--leaked", "24", "--leaked-per-class")
    assert refused.returncode == 2
    assert "leak fewer" in refused.stderr
    refused = audit(clean, out, "--labels", table, "--other", out.parent / "nowhere")
    assert refused.returncode == 2
    assert "other images" in refused.stderr
