"""Pictures in the report: PNG within the page."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medprotect.audit.pairs import Pairs

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SMALL = 200
"""Pixels of width below which single pixels are shown as squares."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with its caption, such as *before*.

    Attributes
    ----------
    caption : str
        Plain text.
    png : bytes
        The whole file.
    """

    caption: str
    png: bytes


def show_pair(pairs: Pairs, count: int = 8) -> list[Shown]:
    """Return the first images before and after, and the noise times 16 around grey, as strips."""
    before = pairs.clean.images[:count].astype(np.int16)
    after = pairs.protected[:count].astype(np.int16)
    noise = (128 + 16 * (after - before)).clip(0, 255)
    strips = {"before": before, "after": after, "noise x16": noise}
    return [Shown(caption, _strip(images)) for caption, images in strips.items()]


def _strip(images: NDArray[np.int16]) -> bytes:
    stream = BytesIO()
    line = np.concatenate(list(images.astype(np.uint8)), axis=1).squeeze()
    Picture.fromarray(line).save(stream, "PNG")
    return stream.getvalue()


def picture_section(pictures: Sequence[Shown]) -> str:
    """Return pictures as HTML, or nothing for none.

    Raises
    ------
    ValueError
        One is not a PNG.
    """
    if not pictures:
        return ""
    figures = "".join(_figure(each) for each in pictures)
    return (
        '<h3>Before and after</h3><p class="warning">This page shows clean images: '
        f'it must not leave the house.</p><div class="pictures">{figures}</div>'
    )


def _figure(shown: Shown) -> str:
    if not shown.png.startswith(_SIGNATURE) or len(shown.png) < 24:
        raise ValueError("a picture of the report is not a PNG")
    width, height = (int.from_bytes(shown.png[at : at + 4], "big") for at in (16, 20))
    small = ' class="small"' if width < _SMALL else ""
    caption = escape(shown.caption)
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f'<img{small} width="{width}" height="{height}" alt="{caption}" '
        f'src="data:image/png;base64,{b64encode(shown.png).decode()}"></figure>'
    )
