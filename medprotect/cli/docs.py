"""`medprotect docs`: the documentation that came with the program, without network."""

import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

import typer

from medprotect.cli.ending import ending

PACKAGE = "medprotect.documentation"
FIRST = ("officers", "threat-model", "operations", "reference")
LAST = ("adr",)


def docs(
    page: Annotated[
        str, typer.Argument(help="Name of a page. Without it, all are listed.", show_default=False)
    ] = "",
) -> None:
    """Show a page of the documentation. It needs no network.

    On a terminal the page is formatted; in a pipe or file it is Markdown.
    """
    with ending():
        pages = find_pages()
        if not page:
            width = max(map(len, pages))
            for name, text in pages.items():
                print(f"{name:{width}}  {title_of(text)}")
            return
        _show(pages[choose(page, list(pages))])


def find_pages() -> dict[str, str]:
    """Return the text of each page, in Markdown, by its name: a path without ``.md``.

    Those for officers come first, decisions last.
    """
    found: dict[str, str] = {}
    _collect(files(PACKAGE), "", found)
    return dict(sorted(found.items(), key=lambda page: (_rank(page[0]), page[0])))


def _rank(name: str) -> int:
    """Return where the pages of a folder stand in the list; those that are not named, between."""
    folder = name.partition("/")[0]
    return FIRST.index(folder) if folder in FIRST else len(FIRST) + (folder in LAST)


def _collect(folder: Traversable, above: str, found: dict[str, str]) -> None:
    for item in folder.iterdir():
        name = above + item.name
        if item.is_dir():
            _collect(item, name + "/", found)
        elif name.endswith(".md"):
            found[name.removesuffix(".md").removesuffix("/README")] = item.read_text("utf-8")


def title_of(text: str) -> str:
    """Return the heading of a page."""
    return text.partition("\n")[0].removeprefix("# ").strip()


def choose(page: str, names: list[str]) -> str:
    """Return the page that is named: wholly, or by its last part where only one has it.

    Raises
    ------
    ConfigError
        There is none, or several.
    """
    from medprotect.errors import ConfigError

    wanted = page.strip("/").removesuffix(".md").removesuffix("/README")
    if wanted in names:
        return wanted
    ending_so = [name for name in names if name.endswith("/" + wanted)]
    if len(ending_so) == 1:
        return ending_so[0]
    raise ConfigError("There is no such page. `medprotect docs` lists them all.")


def _show(text: str) -> None:
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
