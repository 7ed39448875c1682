"""The page: everything in it is true, escaped, and nothing personal unless asked for."""

import json
import re
import shutil
from pathlib import Path

import pytest

from medprotect.errors import InputError, MedprotectError, OutputError
from medprotect.report.page import make_page
from medprotect.report.remedies import NAMES, OTHER, REMEDIES, find_remedy, name_reason

from ..audit.chromium import BINARY, browse
from ..audit.test_report import HOSTILE, Read
from ..confounder.measured_pipeline import CAVEAT, IN_LIST
from .conftest import PATIENT, Run


def read(path: Path) -> Read:
    return Read(path.read_text())


def test_it_says_what_became_of_every_file_and_what_to_do(run: Run) -> None:
    text = read(run.report().page).text
    assert "7 files in the export = 5 in OUT + 1 left + 1 rejected." in text
    assert "5 in OUT = 4 weak + 1 unmeasured." in text
    assert "Cannot be decoded in full" in text
    assert "Export it again from its source" in text
    assert "Not measured here" in text


def test_its_headline_is_what_a_model_still_learns(run: Run) -> None:
    page = run.report().page.read_text()
    sentence = "A model still learns as much from 4 of 5 files as from the originals"
    assert f"<h1>{sentence} (protection 0.00); 1 is unmeasured.</h1>" in page
    assert "weak: 0.00 at strength standard" in page
    assert "--at-least 0.5" in page


def test_next_it_says_to_what_protection_falls(measured_run: Run) -> None:
    page = measured_run.report().page.read_text()
    assert f'</h1>\n</header>\n<div class="lead"><p>{CAVEAT}</p>' in page
    assert f"protected: {IN_LIST.replace('standard', 'strength standard')}" in page


def test_where_nothing_lower_was_measured_it_says_nothing(run: Run) -> None:
    assert "clean images of each class" not in run.report().page.read_text()


def test_of_a_receipt_of_before_it_says_the_protection_alone(measured_run: Run) -> None:
    receipt = json.loads((measured_run.state / "receipt.json").read_text())
    del receipt["caveat"]
    for each in receipt["pipelines"]:
        del each["measured"]
    (measured_run.state / "receipt.json").write_text(json.dumps(receipt))
    page = measured_run.report().page.read_text()
    assert "protected: 0.66 at strength standard<" in page
    assert "clean images of each class" not in page


def test_of_a_receipt_of_0_1_0_it_claims_nothing_that_was_not_measured(run: Run) -> None:
    """It called every file with noise protected."""
    receipt = json.loads((run.state / "receipt.json").read_text())
    receipt["format"] = 1
    del receipt["summary"]
    noisy = receipt["counts"].pop("weak") + receipt["counts"].pop("unmeasured")
    receipt["counts"]["protected"] = noisy
    for line in (*receipt["files"], *receipt["pipelines"]):
        line.pop("protection", None)
        if line.get("outcome") in ("weak", "unmeasured"):
            line["outcome"] = "protected"
    (run.state / "receipt.json").write_text(json.dumps(receipt))
    page = run.report().page.read_text()
    assert "<h1>Nobody has measured what a model still learns from these files.</h1>" in page
    assert "5 in OUT = 5 unmeasured." in page


def test_paths_stand_in_it_only_where_asked_for(run: Run) -> None:
    assert PATIENT not in run.report().page.read_text()
    page = run.report(with_names=True).page.read_text()
    assert PATIENT in page
    assert "must not leave the house" in page


def test_with_the_export_it_says_how_much_changed(run: Run) -> None:
    page = read(run.report(export=run.export).page)
    assert "PSNR" in page.text
    assert "Not measured here" not in page.text
    assert page.tags.count("svg") == 2  # a histogram for each kind
    assert "img" not in page.tags


def test_pictures_stand_in_it_only_where_asked_for(run: Run) -> None:
    page = read(run.report(export=run.export, with_pictures=True).page)
    assert page.tags.count("img") == 2 * 3
    assert "must not leave the house" in page.text


def test_nothing_from_outside_becomes_markup(run: Run) -> None:
    statement = json.loads(run.report().statement.read_text())["statement"]
    statement["files"][0]["kind"] = statement["key"] = HOSTILE
    statement["pipelines"][0]["attribution"] = statement["pipelines"][0]["name"] = HOSTILE
    statement["warnings"] = {HOSTILE: 1}
    from medprotect.report.page import Report

    page = make_page(Report(statement=statement, entries=()))
    assert "script" not in Read(page).tags
    assert "img" not in Read(page).tags


def test_a_file_that_changed_since_is_told_and_not_measured(run: Run) -> None:
    (run.out / "volume.nii").write_bytes(b"")
    with pytest.raises(OutputError, match="no more as the run left it"):
        run.report(export=run.export)


def test_it_is_never_written_into_an_out(run: Run) -> None:
    with pytest.raises(OutputError, match="is in an OUT"):
        run.report(folder=run.out / "report", with_names=True)


def test_it_is_private(run: Run) -> None:
    for path in (run.report().page, run.report().statement):
        assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_run_there_is_no_report(run: Run) -> None:
    shutil.rmtree(run.state)
    run.state.mkdir()
    with pytest.raises(OutputError, match="holds no journal"):
        run.report()


def every_kind_of(error: type[MedprotectError]) -> list[type[MedprotectError]]:
    return [each for kind in error.__subclasses__() for each in (kind, *every_kind_of(kind))]


def test_every_reason_has_a_name_and_a_remedy() -> None:
    slugs = {kind.slug for kind in every_kind_of(InputError)}
    assert slugs <= NAMES.keys() == REMEDIES.keys()


def test_a_reason_that_is_not_known_is_still_told() -> None:
    assert name_reason("some_day") == "Some day"
    assert find_remedy("some_day") == OTHER


@pytest.mark.skipif(BINARY is None, reason="no chromium on PATH")
class TestBrowser:
    @pytest.mark.parametrize("width", [360, 390, 1200])
    def test_it_fits_complains_of_nothing_and_loads_nothing(
        self, run: Run, tmp_path: Path, width: int
    ) -> None:
        path = run.report(export=run.export, with_pictures=True, with_names=True).page
        with browse(tmp_path / "profile") as page:
            page.open(path, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(
                "[...document.querySelectorAll('.kinds td')].every(each => "
                "each.getBoundingClientRect().right <= innerWidth)"
            )
            assert page.evaluate("[...document.images].every(each => each.naturalWidth)")
            assert page.complaints() == []
            others = [url for url in page.requested() if not url.startswith("data:image/png")]
            assert others == [path.as_uri()]

    def test_it_prints_to_a4(self, run: Run, tmp_path: Path) -> None:
        path = run.report(export=run.export).page
        with browse(tmp_path / "profile") as page:
            page.open(path, 1000)
            width, height = map(
                float, re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page.print_pdf())[0]
            )
            assert (width, height) == pytest.approx((595, 842), abs=1)
