"""Bundles of others: their programs run only when allowed, and what they write is checked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medprotect.bundle.archive import Contents, pack
from medprotect.bundle.running import (
    INFERENCE,
    METADATA,
    ProgramRun,
    check_output,
    run_program,
    unpacked,
)
from medprotect.confounder.card import CARD, WEIGHTS, load_card
from medprotect.confounder.key import Key
from medprotect.confounder.measured import MEASURED
from medprotect.errors import (
    HashMismatchError,
    OutputError,
    PipelineError,
    VerificationError,
)
from medprotect.plan.selection import Candidate
from medprotect.protect.settings import Settings
from medprotect.protect.transforms import LoadProtectable, Protect, SaveProtected

from .conftest import NAME, with_file

KEY = Key(bytes(range(32)))


def with_program(contents: Contents, *expressions: str) -> Contents:
    """The bundle with something done after its own run."""
    config = json.loads(contents.files[INFERENCE])
    config["imports"] += ["$import pathlib", "$import shutil"]
    config["run"] += list(expressions)
    return with_file(contents, INFERENCE, json.dumps(config).encode())


class TestUnpacked:
    def test_of_a_bundle_that_is_not_allowed_only_four_files_touch_the_disk(
        self, exported: Contents
    ) -> None:
        with unpacked(exported, whole=False) as card:
            names = {p.relative_to(card.folder).as_posix() for p in card.folder.rglob("*.*")}
            assert names == {CARD, METADATA, MEASURED, card.weights.file}
            assert card.name == NAME
            folder = card.folder
        assert not folder.parent.exists()

    @pytest.mark.parametrize("name", [CARD, METADATA, WEIGHTS])
    def test_without_one_of_the_three_it_is_refused(self, name: str, exported: Contents) -> None:
        files = {each: data for each, data in exported.files.items() if each != name}
        with pytest.raises(PipelineError), unpacked(Contents(files), whole=False):
            pass

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "other"},
            {"version": "9.0.0"},
            {"network_data_format": {}},
            {"network_data_format": {"inputs": {"image": {"num_channels": 3}}}},
        ],
    )
    def test_metadata_of_another_pipeline_are_refused(
        self, change: dict[str, object], exported: Contents
    ) -> None:
        metadata = json.loads(exported.files[METADATA]) | change
        other = with_file(exported, METADATA, json.dumps(metadata).encode())
        with pytest.raises(PipelineError), unpacked(other, whole=False):
            pass

    def test_weights_of_another_pipeline_are_refused_when_they_are_read(
        self, exported: Contents
    ) -> None:
        from medprotect.confounder.noise import Confounder

        other = with_file(exported, WEIGHTS, b"\0" * 64)
        with unpacked(other, whole=False) as card, pytest.raises(HashMismatchError):
            Confounder(card, Key(bytes(32)))


@pytest.fixture
def settings(
    export: Callable[..., Path], pydicom_file: Callable[[str], Path], tmp_path: Path
) -> Settings:
    files = {"a/CT_small.dcm": pydicom_file("CT_small.dcm"), "notes.txt": b"no image"}
    return Settings(
        export=export(files),
        out=tmp_path / "out",
        state=tmp_path / "state",
        candidates=(Candidate(load_card(NAME), named=True),),
    )


class TestOutput:
    @pytest.fixture
    def protected(self, settings: Settings) -> Path:
        image = Protect(NAME, KEY)(LoadProtectable()(settings.export / "a" / "CT_small.dcm"))
        path = settings.out / "a" / "CT_small.dcm"
        path.parent.mkdir(parents=True)
        SaveProtected()(image, path)
        return path

    def test_what_was_written_is_compared_with_the_export(
        self, settings: Settings, protected: Path
    ) -> None:
        assert protected.exists()
        assert check_output(settings) == ProgramRun(files=2, checked=1, left=1)

    def test_an_image_that_is_missing_is_found_out(
        self, settings: Settings, protected: Path
    ) -> None:
        protected.unlink()
        with pytest.raises(VerificationError, match="1 images of the export are not in OUT"):
            check_output(settings)

    def test_a_file_too_many_is_found_out(self, settings: Settings, protected: Path) -> None:
        protected.with_name("other.dcm").write_bytes(b"")
        with pytest.raises(VerificationError, match="1 files in OUT are no image"):
            check_output(settings)

    def test_an_image_left_in_clear_is_found_out(self, settings: Settings, protected: Path) -> None:
        protected.write_bytes((settings.export / "a" / "CT_small.dcm").read_bytes())
        with pytest.raises(VerificationError, match="not protected"):
            check_output(settings)


def test_nothing_is_run_into_a_folder_that_holds_something(settings: Settings) -> None:
    settings.out.mkdir()
    (settings.out / "mine").write_bytes(b"")
    with pytest.raises(OutputError, match="not empty"):
        run_program(load_card(NAME), settings, Path("no.key"))


@pytest.mark.slow
def test_a_program_that_fails_is_named_by_its_error_and_no_more(
    exported: Contents, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ignite")
    KEY.save(tmp_path / "keys" / "owner.key")
    failing = with_program(exported, "$open('/patient/name')")
    with (
        unpacked(failing, whole=True) as card,
        pytest.raises(PipelineError, match="own program failed"),
    ):
        run_program(card, settings, tmp_path / "keys" / "owner.key")
    said = capfd.readouterr()
    assert "program failed: FileNotFoundError" in said.err
    assert "patient" not in said.out + said.err


def test_a_program_that_knows_no_independent_noise_is_not_asked_for_it(
    exported: Contents, settings: Settings, tmp_path: Path
) -> None:
    old = exported.files[INFERENCE].replace(b'"@along_z"', b'"coherent"')
    with (
        unpacked(with_file(exported, INFERENCE, old), whole=True) as card,
        pytest.raises(PipelineError, match="know nothing of --along-z independent"),
    ):
        run_program(card, replace(settings, along_z="independent"), tmp_path / "no.key")
    assert not settings.out.exists()


@pytest.mark.slow
def test_a_program_runs_only_when_its_bundle_is_on_the_list(
    exported: Contents,
    export: Callable[..., Path],
    pydicom_file: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    pytest.importorskip("ignite")
    mark = tmp_path / "it-ran"
    hostile = with_program(exported, f"$pathlib.Path('{mark}').write_bytes(b'')")
    bundle = tmp_path / "hostile.zip"
    bundle.write_bytes(pack(hostile.files, NAME))
    root = export({"CT_small.dcm": pydicom_file("CT_small.dcm")})
    environment = os.environ | {"XDG_CONFIG_HOME": os.fspath(tmp_path / "config")}

    def medprotect(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "medprotect", "bundle", *map(os.fspath, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    accept = "--accept-weak"
    said = medprotect("run", bundle, root, tmp_path / "a" / "out", "--jobs", "1", accept)
    assert "not allowed to run its own configs" in said
    assert "1 in OUT = 1 unmeasured" in said
    assert not mark.exists()
    assert hostile.sha256 in medprotect("allow", bundle)
    said = medprotect("run", bundle, root, tmp_path / "b" / "out", accept)
    assert "1 in = 1 in OUT + 0 left out" in said
    assert "1 in OUT, each compared with its original = 1 unmeasured" in said
    assert mark.exists()
    written = [(tmp_path / each / "out" / "CT_small.dcm").read_bytes() for each in ("a", "b")]
    assert written[0] == written[1]
