"""The scratch folder: never in or beside the export, and nothing is left of it."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from medprotect.errors import ConfigError
from medprotect.preview.scratch import protect_in_scratch, scratch_folder
from medprotect.protect.dry_run import plan_export
from medprotect.protect.engine import protect_export
from medprotect.protect.journal import Outcome
from medprotect.protect.summary import Progress

from .conftest import KEY, PATIENT, Make, make_settings


def test_what_is_shown_is_what_the_run_writes_to_the_byte(house: Path, tmp_path: Path) -> None:
    settings = make_settings(house / "export", tmp_path / "out")
    protect_export(settings, KEY)
    wanted = (f"{PATIENT}/{PATIENT}-2.dcm", "volume.nii", "pair.hdr", "pair.img", "large.png")
    with scratch_folder(house / "export", tmp_path / "scratch") as scratch:
        entries = [each for each in plan_export(settings) if each.path in wanted]
        summary = protect_in_scratch(settings, scratch, entries, KEY, Progress())
        assert summary.counts == {Outcome.PROTECTED: len(wanted)}
        for name in wanted:
            ahead = (scratch / "out" / name).read_bytes()
            assert ahead == (tmp_path / "out" / name).read_bytes()
            is_header = name == "pair.hdr"
            assert is_header or ahead != (house / "export" / name).read_bytes()


def test_nothing_of_it_is_left_and_the_export_is_as_it_was(
    preview: Make, house: Path, tmp_path: Path, untouched: object
) -> None:
    untouched(house)  # type: ignore[operator]
    preview()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert (tmp_path / "preview.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_of_it_is_left_when_the_command_is_stopped(tmp_path: Path, number: int) -> None:
    def stop() -> None:
        with scratch_folder(tmp_path / "export", tmp_path) as scratch:
            (scratch / "image").write_bytes(b"clean")
            os.kill(os.getpid(), number)

    # What is started in the background of a script has to ignore it; a terminal's does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            stop()
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "export", tmp_path / "scratch") as scratch:
        assert scratch.stat().st_mode & 0o777 == 0o700


def test_it_never_lies_in_the_export(house: Path) -> None:
    with (
        pytest.raises(ConfigError, match="is in EXPORT"),
        scratch_folder(house / "export", house / "export" / "scratch"),
    ):
        pass


def test_it_lies_beside_the_export_only_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "export"
    export.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    with pytest.raises(ConfigError, match="--scratch"), scratch_folder(export, None):
        pass
    with scratch_folder(export, tmp_path) as scratch:
        assert scratch.parent == tmp_path
