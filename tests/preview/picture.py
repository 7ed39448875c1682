"""Draws the pictures of the preview that the documentation shows.

Of the demonstration export, in a real browser: ``python -m tests.preview.picture docs/images``.
"""

import base64
import sys
import tempfile
from pathlib import Path

from medprotect import demo

from ..audit.chromium import Page, browse
from .conftest import make_preview
from .test_page import settle

WIDTH = 1200
SERIES = "MR, series 1"

FIND = f"""(() => {{
  const found = [...document.querySelectorAll('.series')]
    .find((each) => each.querySelector('h2').textContent === '{SERIES}');
  window.found = found;
  const place = found.getBoundingClientRect();
  return [place.top + scrollY, place.height];
}})()"""


def draw(folder: Path) -> None:
    """Write the page and the large view, as they look at first."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        demo.build(root / "demo" / "export")
        made = make_preview(root / "demo" / "export", root / "preview.html", root / "scratch")
        with browse(root / "profile") as page:
            page.open(made.page, WIDTH)
            top, height = page.evaluate(FIND)
            _capture(page, folder / "preview.png", top, height)
            page.evaluate("window.found.querySelector('.compare').click()")
            page.evaluate("document.querySelector('#viewer [data-face=\"1\"]').click()")
            settle(page)
            _capture(page, folder / "preview-large.png", page.evaluate("scrollY"), 800)


def _capture(page: Page, path: Path, top: float, height: float) -> None:
    clip = {"x": 0, "y": top, "width": WIDTH, "height": height, "scale": 1}
    taken = page.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    path.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
