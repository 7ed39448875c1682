"""What `medprotect train` makes of what it is given."""

from importlib import import_module
from pathlib import Path

import pytest

from medprotect.errors import ConfigError

train = import_module("medprotect.cli.train")  # the package's own name is the command's


def test_the_card_gets_the_command_without_places_on_this_machine() -> None:
    given = ["train", "/secret/place/blood images", "--out=/secret/mine", "--key", "/k/owner.key"]
    written = train._write_command([*given, "--modality", "SM", "--labels=a.csv"])
    assert written == (
        "medprotect train 'blood images' --out=mine --key owner.key --modality SM --labels=a.csv"
    )


def test_stages_are_named_before_they_begin() -> None:
    assert train._name_stages(3, clustered=False) == (
        "stages: reading images; two classifiers of clean images; "
        "3 generators begun, each tried by victims; the best generator finished"
    )
    assert "finding clusters; " in train._name_stages(1, clustered=True)
    assert train._name_stages(1, clustered=False).endswith("; one generator")


def test_labels_are_asked_for_unless_their_table_lies_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--labels, .* split\.csv, .* clusters"):
        train._check(tmp_path, None, "labels", None, "off")
    train._check(tmp_path, None, "clusters", None, "off")
    (tmp_path / "split.csv").touch()
    train._check(tmp_path, None, "labels", None, "off")
