"""Hook of MkDocs: pages from outside docs/ join the site, and links among all of them hold.

On a code host, ``README.md`` links to ``docs/...`` and pages under ``docs/`` link to
``../../README.md``. In the site all pages stand in one tree, so those links are rewritten.
"""

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def joined(root: Path) -> dict[str, str]:
    """Return place in the site by place in the repository, of pages that lie outside docs/."""
    pages = {"README.md": "README.md"}
    pages |= {
        f"{name}.md": f"project/{name.lower()}.md"
        for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")
    }
    for readme in sorted(root.glob("pipelines/*/docs/README.md")):
        name = readme.parents[1].name
        pages[f"pipelines/{name}/docs/README.md"] = f"pipelines/{name}.md"
    return pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write out the folders that the navigation names."""
    root = Path(config.config_file_path).parent
    there = {path.relative_to(root / "docs").as_posix() for path in (root / "docs").rglob("*.md")}
    config.nav = expand(config.nav or [], there | set(joined(root).values()))
    return config


def expand(nav: list[Any], there: set[str]) -> list[Any]:
    """Return the navigation with every ``folder/`` replaced by the pages of that folder."""
    items: list[Any] = []
    for item in nav:
        if isinstance(item, dict):
            ((title, value),) = item.items()
            if isinstance(value, list):
                value = expand(value, there)
            elif value.endswith("/"):
                value = expand([value], there)
            items.append({title: value})
        elif item.endswith("/"):
            pages = [page for page in there if posixpath.dirname(page) + "/" == item]
            if not pages:
                raise PluginError(f"the navigation names {item}, where no page is")
            items += sorted(pages, key=lambda page: (not page.endswith("/README.md"), page))
        else:
            items.append(item)
    return items


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    root = Path(config.config_file_path).parent
    for source, target in joined(root).items():
        files.append(File.generated(config, target, abs_src_path=os.fspath(root / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site, outside code blocks."""
    pages = joined(Path(config.config_file_path).parent)
    here = page.file.src_uri
    source = {target: source for source, target in pages.items()}.get(here, f"docs/{here}")

    def rewrite(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        target = pages.get(target, target.removeprefix("docs/"))
        return link[1] + posixpath.relpath(target, posixpath.dirname(here) or ".") + link[3]

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)
