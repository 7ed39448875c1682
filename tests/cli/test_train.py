"""What a training shows while it runs."""

from importlib import import_module

import pytest

train = import_module("medprotect.cli.train")  # the package's own name is the command's


def test_it_says_where_it_is_and_how_long_the_stage_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((100.0, 130.0, 160.0, 0.0, 0.0))
    monkeypatch.setattr(train.time, "monotonic", lambda: next(clock))
    show = train._Show()
    for step in (20, 40, 60):
        show("generator", step, 60, {"told": 0.25})
    show("calibration", 1, 1, {})
    assert capsys.readouterr().err.splitlines() == [
        "generator 20/60  told 0.250",
        "generator 40/60  told 0.250  30 s left of this stage",
        "generator 60/60  told 0.250",
        "calibration 1/1",
    ]


def test_the_card_gets_the_command_without_places_on_this_machine() -> None:
    given = ["train", "/secret/place/blood images", "--out=/secret/mine", "--key", "/k/owner.key"]
    written = train._write_command([*given, "--modality", "SM", "--labels=a.csv"])
    assert written == (
        "medprotect train 'blood images' --out=mine --key owner.key --modality SM --labels=a.csv"
    )
