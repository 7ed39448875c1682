"""The documentation that comes with the program."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from medprotect.cli import app
from medprotect.cli.docs import choose, find_pages
from medprotect.errors import ConfigError

ROOT = Path(__file__).parents[2]

runner = CliRunner()


def test_every_page_is_there_and_has_a_title() -> None:
    pages = find_pages()
    there = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert {name.removesuffix(".md").removesuffix("/README") for name in there} == set(pages)
    listed = runner.invoke(app, ["docs"]).output.splitlines()
    assert len(listed) == len(pages)
    assert all(len(line.split(maxsplit=1)) == 2 for line in listed)


def test_a_page_is_shown_as_it_was_written() -> None:
    shown = runner.invoke(app, ["docs", "officers/key"])
    assert shown.exit_code == 0
    assert shown.output == (ROOT / "docs/officers/key.md").read_text()


def test_officers_pages_are_listed_first_and_decisions_last() -> None:
    folders = list(dict.fromkeys(name.partition("/")[0] for name in find_pages()))
    assert folders[:3] == ["officers", "threat-model", "operations"]
    assert folders[-1] == "adr"


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("officers/key", "officers/key"),
        ("docs/officers", None),
        ("key.md", "officers/key"),
        ("officers/README.md", "officers"),
        ("a", None),
        ("../README", None),
        ("ey", None),
    ],
)
def test_a_page_is_found_by_its_name(asked: str, page: str | None) -> None:
    names = ["officers", "officers/key", "one/a", "two/a"]
    if page is None:
        with pytest.raises(ConfigError):
            choose(asked, names)
    else:
        assert choose(asked, names) == page
