"""What may be asked of an archive."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from medprotect.cli import app
from medprotect.errors import ConfigError
from medprotect.network.pull import Query

runner = CliRunner()


class TestQuery:
    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"patient": "*"},
            {"accession": "A?"},
            {"study": "1.2.3\\1.2.4"},
            {"study": "one"},
            {"study": "1." * 40},
            {"dates": "-"},
            {"dates": "2024"},
            {"dates": "20240101-2024"},
        ],
    )
    def test_an_archive_is_not_asked_for_all_it_has(self, asked: dict[str, str]) -> None:
        with pytest.raises(ConfigError):
            Query(**asked)

    @pytest.mark.parametrize("dates", ["20240101", "20240101-20240131", "-20240131", "20240101-"])
    def test_days_and_spans_of_them(self, dates: str) -> None:
        identifier = Query(dates=dates, modality="CT").identifier()
        assert identifier.StudyDate == dates
        assert identifier.ModalitiesInStudy == "CT"
        assert identifier.StudyInstanceUID == ""


@pytest.mark.parametrize("content", [None, "", "\n\n", "1.2.3\nwrong\n"])
def test_a_file_of_studies_that_is_none(tmp_path: Path, content: str | None) -> None:
    studies = tmp_path / "studies.txt"
    if content is not None:
        studies.write_text(content)
    found = runner.invoke(app, ["pull", "ARCHIVE@127.0.0.1:9", "--studies", str(studies)])
    assert found.exit_code == 2
    assert "1.2.3" not in found.output
