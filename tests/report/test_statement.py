"""A statement: nothing personal in it, and whoever has OUT finds any change to either."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, KeyFileError, VerificationError
from medprotect.report.statement import compare_with_out, public_key, read_signed, sign

from ..confounder.measured_pipeline import CAVEAT, FIGURES
from .conftest import KEY, PATIENT, Run


def differences(run: Run, statement: Path) -> list[str]:
    return [
        each.slug for each in compare_with_out(read_signed(statement, public_key(KEY)), run.out)
    ]


def test_out_as_it_was_written_is_what_was_signed(run: Run) -> None:
    written = run.report()
    assert written.public_key == public_key(KEY)
    assert differences(run, written.statement) == []


def test_it_counts_every_file_and_tells_no_path_and_no_hash_of_a_clean_file(run: Run) -> None:
    text = run.report(with_names=True).statement.read_text()
    statement = json.loads(text)["statement"]
    assert statement["counts"]["in"] == len(statement["files"]) == 7
    assert statement["counts"]["weak"] == 4
    assert "sha256_in" not in text
    assert statement["summary"].endswith("originals (protection 0.00); 1 is unmeasured.")
    for name in (PATIENT, "volume.nii", str(run.out)):
        assert name not in text


def test_it_holds_what_was_measured(measured_run: Run) -> None:
    statement = read_signed(measured_run.report().statement, public_key(KEY))
    assert statement["caveat"] == CAVEAT
    (pipeline,) = statement["pipelines"]
    assert pipeline["protection"] == FIGURES.protection
    assert pipeline["measured"] == asdict(FIGURES)


def test_one_of_before_is_read_and_says_nothing_beside_protection(run: Run) -> None:
    path = run.report().statement
    statement = json.loads(path.read_text())["statement"]
    del statement["caveat"]
    for each in statement["pipelines"]:
        del each["measured"]
    path.write_text(json.dumps(sign(statement, KEY)))
    assert differences(run, path) == []


def test_a_changed_a_strange_and_a_missing_file_are_told(run: Run) -> None:
    statement = run.report().statement
    (run.out / "more.png").write_bytes(b"strange")
    assert differences(run, statement) == ["not_stated"]
    (run.out / "more.png").unlink()
    volume = run.out / "volume.nii"
    volume.write_bytes(volume.read_bytes()[:-1] + b"!")
    assert differences(run, statement) == ["not_stated", "missing"]
    volume.unlink()
    assert differences(run, statement) == ["missing"]
    volume.symlink_to(run.export / "volume.nii")
    assert differences(run, statement) == ["unsafe", "missing"]


def test_a_second_copy_of_a_file_is_one_too_many(run: Run) -> None:
    statement = run.report().statement
    (run.out / "again.nii").write_bytes((run.out / "volume.nii").read_bytes())
    assert differences(run, statement) == ["not_stated"]


def test_a_statement_that_was_edited_is_not_believed(run: Run) -> None:
    path = run.report().statement
    signed = json.loads(path.read_text())
    signed["statement"]["counts"]["weak"] -= 1
    path.write_text(json.dumps(signed))
    with pytest.raises(VerificationError, match="changed since"):
        read_signed(path, public_key(KEY))


def test_a_statement_of_another_owner_is_not_believed(run: Run) -> None:
    path = run.report().statement
    with pytest.raises(VerificationError, match="not signed with this key"):
        read_signed(path, public_key(Key(b"o" * 32)))


@pytest.mark.parametrize("public", ["", "zz", "ab" * 31, "ab" * 33])
def test_what_is_no_public_key_is_refused(run: Run, public: str) -> None:
    with pytest.raises(ConfigError, match="64 hex digits"):
        read_signed(run.report().statement, public)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"statement": {}, "signature": 3}', "\xff"),
        '{"statement": {"schema_version": NaN}, "signature": "00"}',
        '{"statement": ' + "[" * 100_000 + "]" * 100_000 + ', "signature": "00"}',
    ],
)
def test_what_is_no_statement_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "statement.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="not a signed statement"):
        read_signed(path, public_key(KEY))


def test_a_run_is_signed_with_the_key_it_had_and_no_other(run: Run) -> None:
    from medprotect.report.write import write_report

    with pytest.raises(KeyFileError, match="Name the key"):
        write_report(run.out, run.state, Key(b"o" * 32))


def test_the_key_that_signs_is_not_the_secret_and_the_same_every_time() -> None:
    assert public_key(KEY) == public_key(Key(KEY.secret)) != public_key(Key(b"o" * 32))
    assert KEY.secret.hex() not in public_key(KEY)
