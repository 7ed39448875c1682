"""Bundles of others: their programs run only when allowed, and what they write is checked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medprotect.bundle.archive import Contents, pack
from medprotect.bundle.running import INFERENCE, METADATA, ProgramRun, run_program, unpacked
from medprotect.confounder.card import CARD, WEIGHTS
from medprotect.confounder.key import Key
from medprotect.errors import (
    HashMismatchError,
    OutputError,
    PipelineError,
    VerificationError,
)
from medprotect.plan.selection import Candidate
from medprotect.protect.settings import Settings

from .conftest import NAME, with_file


def with_program(contents: Contents, *expressions: str) -> Contents:
    """The bundle with something done after its own run."""
    config = json.loads(contents.files[INFERENCE])
    config["imports"] += ["$import pathlib", "$import shutil"]
    config["run"] += list(expressions)
    return with_file(contents, INFERENCE, json.dumps(config).encode())


class TestUnpacked:
    def test_of_a_bundle_that_is_not_allowed_only_three_files_touch_the_disk(
        self, exported: Contents
    ) -> None:
        with unpacked(exported, whole=False) as card:
            names = {p.relative_to(card.folder).as_posix() for p in card.folder.rglob("*.*")}
            assert names == {CARD, METADATA, card.weights.file}
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


@pytest.mark.slow
class TestProgram:
    @pytest.fixture
    def go(
        self, export: Callable[..., Path], pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> Callable[[Contents], ProgramRun]:
        pytest.importorskip("ignite")
        Key(bytes(range(32))).save(tmp_path / "keys" / "owner.key")
        files = {"a/CT_small.dcm": pydicom_file("CT_small.dcm"), "notes.txt": b"no image"}
        root = export(files)

        def run(contents: Contents) -> ProgramRun:
            with unpacked(contents, whole=True) as card:
                settings = Settings(
                    export=root,
                    out=tmp_path / "out",
                    state=tmp_path / "state",
                    candidates=(Candidate(card, named=True),),
                )
                return run_program(card, settings, tmp_path / "keys" / "owner.key")

        return run

    def test_what_it_wrote_was_compared_with_the_export(
        self, go: Callable[[Contents], ProgramRun], exported: Contents, tmp_path: Path
    ) -> None:
        assert go(exported) == ProgramRun(files=2, checked=1, left=1)
        assert [p.name for p in (tmp_path / "out" / "a").iterdir()] == ["CT_small.dcm"]
        with pytest.raises(OutputError, match="not empty"):
            go(exported)

    @pytest.mark.parametrize(
        ("expression", "said"),
        [
            ("$shutil.rmtree(@output_dir)", "1 images of the export are not in OUT"),
            ("$pathlib.Path(@output_dir, 'b.dcm').write_bytes(b'')", "1 files in OUT are no image"),
            (
                "$shutil.copy(@dataset_dir + '/a/CT_small.dcm', @output_dir + '/a/CT_small.dcm')",
                "not protected",
            ),
        ],
    )
    def test_a_program_that_leaves_something_clear_is_found_out(
        self,
        expression: str,
        said: str,
        go: Callable[[Contents], ProgramRun],
        exported: Contents,
    ) -> None:
        with pytest.raises(VerificationError, match=said):
            go(with_program(exported, expression))

    def test_a_program_that_fails_is_named_by_its_error_and_no_more(
        self, go: Callable[[Contents], ProgramRun], exported: Contents
    ) -> None:
        with pytest.raises(PipelineError) as caught:
            go(with_program(exported, "$open('/patient/name')"))
        assert "patient" not in str(caught.value)


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

    said = medprotect("run", bundle, root, tmp_path / "a" / "out", "--jobs", "1")
    assert "not allowed to run its own configs" in said
    assert "1 in = 1 protected" in said
    assert not mark.exists()
    assert hostile.sha256 in medprotect("allow", bundle)
    said = medprotect("run", bundle, root, tmp_path / "b" / "out")
    assert "1 in = 1 protected and checked" in said
    assert mark.exists()
    written = [(tmp_path / each / "out" / "CT_small.dcm").read_bytes() for each in ("a", "b")]
    assert written[0] == written[1]
