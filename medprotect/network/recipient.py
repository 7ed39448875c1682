"""Who gets images: a DICOM node, or a DICOMweb service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from medprotect.errors import ConfigError
from medprotect.network.peer import Peer
from medprotect.network.tls import Tls
from medprotect.network.web_peer import SCHEMES, WebPeer


class Recipient(Protocol):
    """Who gets images."""

    def send(self, files: list[Path]) -> Iterator[tuple[Path, str]]:
        """Send files, and yield each as it is answered, with "" or why it is not taken."""


def parse_recipient(
    text: str, own_title: str, tls: Tls, *, with_tls: bool, login: Path | None
) -> Recipient:
    """Read ``TITLE@HOST:PORT``, or the address of a DICOMweb service.

    Parameters
    ----------
    text : str
        The name.
    own_title : str
        Our AE title, which DICOM alone has.
    tls : Tls
        Who we are and whom we trust.
    with_tls : bool
        Whether a DICOM node is spoken to by TLS; an address says so itself.
    login : Path or None
        File with what lets us in, which the web alone has.

    Raises
    ------
    ConfigError
        It is neither, or an option is of the other.
    """
    if text.startswith(SCHEMES):
        return WebPeer.parse(text, login, tls=tls)
    if login is not None:
        raise ConfigError("--login is only for a service at https://HOST/PATH.")
    return Peer.parse(text, own_title, tls=tls if with_tls else None)
