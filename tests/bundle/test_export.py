"""Bundles that leave the house: whole, hashed, the same each time, and no secret by accident."""

import json
import shutil
import stat
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medprotect.bundle.archive import SUMS, Contents, read_bundle
from medprotect.bundle.export import bundle_contents, bundle_name, export_bundle, is_public
from medprotect.bundle.layout import bundle_files
from medprotect.bundle.model_pt import MODEL
from medprotect.confounder.card import CARD, Card, load_card
from medprotect.confounder.measured import MEASURED
from medprotect.errors import ConfigError, HashMismatchError, OutputError

from ..confounder.measured_pipeline import FIGURES, make_measured
from .conftest import NAME


@pytest.fixture
def own(tmp_path: Path) -> Card:
    """A pipeline that no other has."""
    folder = shutil.copytree(load_card(NAME).folder, tmp_path / "own")
    text = (folder / CARD).read_text().replace(f'name = "{NAME}"', 'name = "own"')
    (folder / CARD).write_text(text)
    return load_card(folder)


def test_the_same_pipeline_gives_the_same_bytes(exported: Contents, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        export_bundle(NAME, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert read_bundle(tmp_path / "a.zip").files == exported.files


def test_it_holds_what_the_model_zoo_asks_for(exported: Contents) -> None:
    names = set(exported.files)
    assert names >= {"LICENSE", "configs/metadata.json", "configs/inference.json", MODEL}
    assert names >= {"docs/README.md", "docs/data_license.txt", CARD, SUMS}
    metadata = json.loads(exported.files["configs/metadata.json"])
    assert metadata["version"] in metadata["changelog"]
    assert bundle_name(load_card(NAME)) == f"{NAME}_v{metadata['version']}.zip"
    listed = {line.split("  ")[1] for line in exported.files[SUMS].decode().splitlines()}
    assert listed == names - {SUMS}


def test_its_metadata_says_what_was_measured_and_no_more(own: Card, tmp_path: Path) -> None:
    folder = make_measured(tmp_path / "measured", NAME)
    metadata = json.loads(bundle_contents(load_card(folder)).files["configs/metadata.json"])
    assert metadata["eval_metrics"]["measured"] == {
        "standard": asdict(FIGURES),
        "high": {"protection": 0.85},
    }
    (own.folder / MEASURED).unlink()
    assert "measured" not in json.loads(bundle_files(own)["configs/metadata.json"])["eval_metrics"]


def test_model_pt_holds_the_weights_of_the_card_and_nothing_else(
    exported: Contents, tmp_path: Path
) -> None:
    exported.write(tmp_path / "b")
    read = torch.load(tmp_path / "b" / MODEL, weights_only=True)
    kept = load_file(load_card(NAME).weights_path)
    assert read.keys() == kept.keys()
    for name, tensor in read.items():
        assert torch.equal(tensor, kept[name].to(tensor.dtype))


def test_an_own_pipeline_goes_out_only_when_that_is_said(own: Card, tmp_path: Path) -> None:
    assert is_public(load_card(NAME))
    assert not is_public(own)
    out = tmp_path / "own.zip"
    with pytest.raises(ConfigError, match="--i-share-my-secret"):
        export_bundle(str(own.folder), out)
    assert not out.exists()
    export_bundle(str(own.folder), out, share_secret=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"mine")
    with pytest.raises(OutputError, match="never overwritten"):
        export_bundle(NAME, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"mine"


def test_damaged_weights_go_nowhere(own: Card, tmp_path: Path) -> None:
    data = bytearray(own.weights_path.read_bytes())
    data[-1] ^= 1
    own.weights_path.write_bytes(data)
    with pytest.raises(HashMismatchError):
        export_bundle(str(own.folder), tmp_path / "own.zip", share_secret=True)
    assert not (tmp_path / "own.zip").exists()
