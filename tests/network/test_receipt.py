"""The receipt of a node: every object it ever took in, as its batch left it."""

import json
import sqlite3
from pathlib import Path

import pytest

from medprotect.errors import OutputError
from medprotect.network.ledger import Fate, Ledger
from medprotect.network.node import count_all
from medprotect.network.receipt import is_of_node, node_receipt
from medprotect.network.spool import Spool
from medprotect.report.statement import compare_with_out, make_statement, public_key, read_signed
from medprotect.report.write import write_report

from .conftest import KEY, Served


def test_it_counts_all_objects_by_what_they_are(served: Served) -> None:
    receipt = node_receipt(served.state)
    assert receipt["counts"] == {"in": 6, "weak": 3, "left": 1, "rejected": 2}
    assert receipt["finished"]
    assert receipt["forwarded"] == 0
    assert receipt["summary"] == (
        "A model still learns as much from 2 of 3 files as from the originals (protection 0.00); "
        "1 more is weak (0.37)."
    )
    assert [each["file"] for each in receipt["files"]] == [1, 2, 3, 4, 5, 6]
    reasons = sorted(each["reason"] for each in receipt["files"] if each["outcome"] == "rejected")
    assert reasons == ["corrupt", "protection_too_low"]
    assert receipt["warnings"]["patient_identity_not_removed"] == 3


def test_settings_that_changed_are_each_told(served: Served) -> None:
    receipt = node_receipt(served.state)
    assert receipt["strength"] == "standard and high"
    assert receipt["key"] == KEY.fingerprint
    told = [(each["name"], each["strength"], each["protection"]) for each in receipt["pipelines"]]
    assert told == [("ct", "standard", 0.0), ("ct", "high", 0.37)]


def test_it_says_what_status_says(served: Served) -> None:
    receipt, standing = node_receipt(served.state), count_all(served.out, served.state).as_json()
    assert standing["states"] == {"weak": 3}
    assert standing["summary"] == receipt["summary"]
    assert standing["in"] == receipt["counts"]["in"]
    assert standing["reasons"] == {"corrupt": 1, "protection_too_low": 1}


def test_what_waits_is_counted_and_is_no_file_yet(served: Served) -> None:
    with Ledger(served.state) as ledger:
        Spool(served.state, ledger).receive(b"head", memoryview(b"waits"))
    receipt = node_receipt(served.state)
    assert not receipt["finished"]
    assert receipt["counts"]["planned"] == 1
    assert receipt["counts"]["in"] == 7
    assert len(receipt["files"]) == 6


def test_a_statement_fits_out_and_goes_on_to_state_what_was_forwarded(served: Served) -> None:
    statement = make_statement(node_receipt(served.state), "2026-01-02")
    assert compare_with_out(statement, served.out) == []
    with Ledger(served.state) as ledger:
        gone = ledger.waiting()[0]
        ledger.mark(gone.name, Fate.FORWARDED)
    (served.out / gone.place).unlink()
    later = make_statement(node_receipt(served.state), "2026-01-02")
    assert later["forwarded"] == 1
    assert later["files"] == statement["files"]
    assert [each.slug for each in compare_with_out(later, served.out)] == ["missing"]


def test_neither_names_nor_identifiers_stand_in_a_statement(served: Served) -> None:
    statement = make_statement(node_receipt(served.state), "2026-01-02")
    with Ledger(served.state, reading=True) as ledger:
        lines = ledger.settled()
    text = json.dumps(statement)
    assert not any(line.name in text or (line.place and line.place in text) for line in lines)
    allowed = {"file", "outcome", "kind", "pipeline", "reason", "images", "share", "notes"}
    assert all(each.keys() <= allowed | {"sha256_out", "size_out"} for each in statement["files"])


def test_a_report_of_it_is_signed_and_says_where_it_is_weak(served: Served) -> None:
    written = write_report(served.out, served.state, KEY, receipt=node_receipt(served.state))
    stated = read_signed(written.statement, public_key(KEY))
    assert stated["counts"] == {"in": 6, "weak": 3, "left": 1, "rejected": 2}
    page = written.page.read_text()
    assert "6 files received by the node = 3 written to OUT + 1 left + 2 rejected." in page
    assert "3 written to OUT = 3 weak." in page
    assert "weak: 0.37 at strength high" in page
    assert "the patient&#x27;s identity was removed" in page
    assert "EXPORT" not in page


def test_a_receipt_that_is_lost_is_no_silent_gap(served: Served) -> None:
    receipt = served.state / "batches" / "000002" / "state" / "receipt.json"
    told = json.loads(receipt.read_text())
    receipt.write_text(json.dumps(told | {"files": told["files"][1:]}))
    with pytest.raises(OutputError, match="batch 2"):
        node_receipt(served.state)
    receipt.unlink()
    with pytest.raises(OutputError, match="batch 2"):
        node_receipt(served.state)


def test_a_node_that_has_protected_nothing_has_none(tmp_path: Path) -> None:
    Ledger(tmp_path).__exit__()
    assert is_of_node(tmp_path)
    with pytest.raises(OutputError, match="nothing yet"):
        node_receipt(tmp_path)


def test_what_an_earlier_version_protected_is_unmeasured(served: Served) -> None:
    connection = sqlite3.connect(served.state / "ledger.sqlite")
    connection.executescript(
        "ALTER TABLE objects DROP COLUMN outcome; ALTER TABLE objects DROP COLUMN protection;"
        "ALTER TABLE objects DROP COLUMN with_10_images; ALTER TABLE objects DROP COLUMN worst;"
        "ALTER TABLE objects DROP COLUMN worst_countermeasure;"
        "UPDATE objects SET fate='protected' WHERE fate='in_out';"
        "UPDATE objects SET state='protected' WHERE state='in_out'; PRAGMA user_version=1;"
    )
    connection.close()
    for path in served.state.glob("batches/*/state/receipt.json"):
        told = json.loads(path.read_text())
        told["format"] = 1
        told["counts"]["protected"] = told["counts"].pop("weak")
        del told["summary"]
        for each in told["files"]:
            each["outcome"] = each["outcome"].replace("weak", "protected")
        path.write_text(json.dumps(told))
    with Ledger(served.state):
        pass
    assert node_receipt(served.state)["counts"] == {
        **{"in": 6, "unmeasured": 3},
        **{"left": 1, "rejected": 2},
    }
    assert count_all(served.out, served.state).as_json()["states"] == {"unmeasured": 3}
