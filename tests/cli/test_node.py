"""What `node`, `watch`, `report` and `push` take and answer, without a peer."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medprotect.cli import app
from medprotect.confounder.key import Key
from medprotect.confounder.measured import Measured
from medprotect.network.ledger import Fate, Ledger, Line

KNOWN = Measured(0.55, 0.2, 0.12, "grey")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """OUT of a node that has written three objects, forwarded one and rejected one."""
    (state := tmp_path / "out.medprotect").mkdir()
    with Ledger(state) as ledger:
        batch = ledger.begin(["a", "b", "c", "d"])
        ledger.decide(
            [
                Line("a", Fate.IN_OUT, "1.dcm", outcome="weak", measured=Measured(0.0)),
                Line("b", Fate.IN_OUT, "2.dcm", outcome="protected", measured=KNOWN),
                Line("c", Fate.IN_OUT, "3.dcm", outcome="copied"),
                Line("d", Fate.REJECTED, reason="protection_too_low"),
            ]
        )
        ledger.close(batch)
        ledger.mark("a", Fate.FORWARDED)
    return tmp_path / "out"


def medprotect(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(os.fspath, words)])


SENTENCE = (
    "A model still learns as much from 1 of 2 files as from the originals (protection 0.00); "
    "1 is protected (0.55)."
)
CAVEAT = (
    "Where this was measured, protection is only 0.20 against someone who has ten clean images of "
    "each class, and only 0.12 if the images are altered before training (grey)."
)


def test_status_says_what_the_objects_are_that_were_written(out: Path) -> None:
    shown = medprotect("node", out, "--status")
    assert shown.stdout.splitlines() == [
        "rejected: 1 protection_too_low",
        "4 in = 2 in OUT + 1 forwarded + 1 rejected",
        SENTENCE,
        CAVEAT,
        "3 written to OUT = 1 protected + 1 weak + 1 copied",
    ]


def test_status_says_it_to_programs_too(out: Path) -> None:
    found = json.loads(medprotect("node", out, "--status", "--json").stdout)
    fates = {name: found[name] for name in Fate}
    assert sum(fates.values()) == found["in"] == 4
    assert (fates["in_out"], fates["forwarded"], fates["rejected"]) == (2, 1, 1)
    assert found["states"] == {"protected": 1, "weak": 1, "copied": 1}
    assert (found["summary"], found["caveat"]) == (SENTENCE, CAVEAT)


@pytest.mark.parametrize("option", [["--export", "EXPORT"], ["--with-names"]])
def test_a_report_of_a_node_has_no_originals(out: Path, option: list[str], tmp_path: Path) -> None:
    Key.new().save(tmp_path / "owner.key")
    refused = medprotect("report", out, "--key", tmp_path / "owner.key", "--json", *option)
    assert refused.exit_code == 2
    assert "keeps neither the originals nor the names" in json.loads(refused.stdout)["message"]


@pytest.mark.parametrize("command", ["node", "watch"])
def test_the_protection_asked_for_lies_between_0_and_1(command: str, tmp_path: Path) -> None:
    folders = [tmp_path / "out"] if command == "node" else [tmp_path, tmp_path / "out"]
    assert medprotect(command, *folders, "--at-least", "1.5").exit_code == 2
