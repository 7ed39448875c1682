"""What a plan foresees is what a run does, down to what only pixels tell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medprotect import limits
from medprotect.plan.plan import MaskNames
from medprotect.protect.dry_run import look_ahead, plan_export
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Entry

from .test_engine import KEY, files, png, settings, slice_of, undecodable
from .test_worker import png as shade_of

NO_MASKS = MaskNames(images=("*",))
SERIES = {"1-0.dcm": "held", "1-1.dcm": "rejected", "1-2.dcm": "rejected", "1-3.dcm": "held"}
FORESEEN = {
    "flat.mhd": "rejected",
    "flat.png": "rejected",
    "flat.raw": "rejected",
    "good.png": "planned",
    "notes.txt": "left",
    **SERIES,
}


@pytest.fixture
def root(tmp_path: Path, pydicom_file: Callable[[str], Path]) -> Path:
    root = tmp_path / "export"
    root.mkdir()
    (root / "good.png").write_bytes(png())
    (root / "flat.png").write_bytes(shade_of(spread=1))
    (root / "notes.txt").write_text("nothing")
    volume = SimpleITK.GetImageFromArray(np.full((3, 20, 24), 7, np.int16))
    SimpleITK.WriteImage(volume, root / "flat.mhd")
    source = pydicom_file("J2K_pixelrep_mismatch.dcm")
    for number, made in enumerate((slice_of, undecodable, undecodable, slice_of)):
        (root / f"1-{number}.dcm").write_bytes(made(source, 1, number))
    return root


def words(entries: list[Entry]) -> dict[str, str]:
    return {entry.path: entry.outcome.value for entry in entries}


def reasons(entries: list[Entry]) -> dict[str, str]:
    return {entry.path: entry.row.reason for entry in entries}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_does_what_was_foreseen_however_many_work_at_it(root: Path, jobs: int) -> None:
    asked = settings(root, root.parent / "out", jobs=jobs, mask_names=NO_MASKS)
    before = files(root.parent)
    foreseen, unknown = look_ahead(asked, plan_export(asked))
    assert files(root.parent) == before
    assert unknown == 0
    assert words(foreseen) == FORESEEN
    done = protect_export(asked, KEY).entries
    assert words(done) == FORESEEN | {"good.png": "protected"}
    assert reasons(done) == reasons(foreseen)
    assert {entry.row.detail for entry in done} == {entry.row.detail for entry in foreseen}


def test_what_there_is_no_room_for_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PIXELS_LOOKED_AT", 2 * 24 * 24)
    asked = settings(root, root.parent / "out", mask_names=NO_MASKS)
    foreseen, unknown = look_ahead(asked, plan_export(asked))
    assert unknown == 5, "the smallest come first"
    assert words(foreseen) == FORESEEN | dict.fromkeys(SERIES, "planned") | {
        "flat.mhd": "planned",
        "flat.raw": "planned",
    }


def test_what_a_run_may_yet_take_is_not_rejected_before(root: Path) -> None:
    asked = settings(root, root.parent / "out", mask_names=NO_MASKS)
    planned = plan_export(asked)
    (root / "good.png").write_bytes(png(1))
    foreseen, unknown = look_ahead(asked, planned)
    assert (words(foreseen)["good.png"], unknown) == ("planned", 1)
