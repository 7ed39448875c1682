"""Whom images are sent to over the web: STOW-RS (PS3.18 section 10.5), each file as it is."""

import base64
import http.client
import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import SplitResult, urlsplit

from medprotect.confounder.private_file import read_private
from medprotect.errors import ConfigError, PeerError
from medprotect.network.tls import Tls

SCHEMES = ("http://", "https://")

_SECONDS = 60
_LARGEST_ANSWER = 1024**2
_PIECE = 1024**2
_STORED, _STORED_WITH_REMARKS = 200, 202
_REFERENCED_SOP_SEQUENCE, _FAILED_SOP_SEQUENCE = "00081199", "00081198"
_FAILURE_REASON = "00081197"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class WebPeer:
    """A DICOMweb service that takes images.

    Attributes
    ----------
    url : str
        Of the service; ``/studies`` comes after it.
    authorization : str
        Value of the header of that name; none where it is empty.
    tls : Tls
        How to speak TLS to it.
    """

    url: str
    authorization: str = field(default="", repr=False)
    tls: Tls = field(default_factory=Tls, kw_only=True)

    @classmethod
    def parse(cls, url: str, login: Path | None = None, *, tls: Tls | None = None) -> Self:
        """Read an address, and the file with what lets us in.

        Raises
        ------
        ConfigError
            The address is none, holds a password, or would have one sent unencrypted.
        KeyFileError
            The file is missing, or others can read it.
        """
        parts = _split(url)
        if parts.username is not None or parts.query or parts.fragment:
            raise ConfigError(
                "Name the service as https://HOST/PATH, and put USER:PASSWORD into a file (--login "
                "FILE)."
            )
        authorization = read_login(login) if login else ""
        if authorization and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                "A password is sent only by https. Name the service as https://HOST/PATH."
            )
        return cls(url.rstrip("/"), authorization, tls=tls or Tls())

    def send(self, files: list[Path]) -> Iterator[tuple[Path, str]]:
        """Send files, and yield each as the service answers, with "" or why it does not take it.

        Parameters
        ----------
        files : list of Path
            DICOM files.

        Raises
        ------
        PeerError
            The service is away or lets us not in; the files not yielded were not taken.
        """
        if not files:
            return
        with closing(self._connect()) as connection:
            for file in files:
                yield file, self._store(connection, file)

    def _connect(self) -> http.client.HTTPConnection:
        parts = _split(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
        context = self.tls.client()
        return http.client.HTTPSConnection(host, parts.port, timeout=_SECONDS, context=context)

    def _store(self, connection: http.client.HTTPConnection, file: Path) -> str:
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        if self.authorization:
            headers["Authorization"] = self.authorization
        path = _split(self.url).path + "/studies"
        try:
            with file.open("rb") as stream:
                size = file.stat().st_size
                headers["Content-Length"] = str(len(head) + size + len(tail))
                connection.request("POST", path, _parts(head, stream, tail), headers)
            answer = connection.getresponse()
            body = answer.read(_LARGEST_ANSWER)
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise PeerError(f"the service cannot be reached ({type(error).__name__})") from None
        if not answer.isclosed():  # longer than any such answer: the rest is not waited for
            connection.close()
        return read_answer(answer.status, body)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        named = False
    if not named or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("Name the service as https://HOST/PATH.")
    return parts


def _parts(head: bytes, stream: BinaryIO, tail: bytes) -> Iterator[bytes]:
    yield head
    while piece := stream.read(_PIECE):
        yield piece
    yield tail


def read_login(path: Path) -> str:
    """Return the header that says who we are, from a file that only its owner can read.

    ``USER:PASSWORD`` (RFC 7617), or a token (RFC 6750).

    Raises
    ------
    KeyFileError
        The file is missing, or others can read it.
    ConfigError
        It holds nothing, or more than a line.
    """
    text = read_private(path, "a text editor").strip()
    if not text or not text.isprintable():
        raise ConfigError("The login file must hold one line: USER:PASSWORD, or a token.")
    if ":" in text:
        return "Basic " + base64.b64encode(text.encode()).decode()
    return f"Bearer {text}"


def read_answer(status: int, body: bytes) -> str:
    """Return "" where a service has stored an object, else a word for why not.

    Parameters
    ----------
    status : int
        Of HTTP.
    body : bytes
        The response, DICOM JSON; what is none says nothing.

    Raises
    ------
    PeerError
        It is not about this object: we are not let in, or the service is out of order.
    """
    if status in (401, 403, 407):
        raise PeerError(f"the service refuses access (HTTP {status}); check the login")
    if status >= 500 or status == 429:
        raise PeerError(f"the service reports an error of its own (HTTP {status}); try again later")
    if 300 <= status < 400 or status == 404:
        raise PeerError(
            f"there is no DICOMweb service at the address (HTTP {status}); check the address"
        )
    told = _read_json(body)
    reason = _failure_reason(told)
    if reason:
        return reason
    named = _REFERENCED_SOP_SEQUENCE in told
    if status == _STORED or (status == _STORED_WITH_REMARKS and named):
        return ""
    return f"http_{status}"


def _read_json(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _failure_reason(told: dict[str, object]) -> str:
    failed = told.get(_FAILED_SOP_SEQUENCE)
    items = failed.get("Value") if isinstance(failed, dict) else None
    if not items:
        return ""
    try:
        return f"status_{int(items[0][_FAILURE_REASON]['Value'][0]):04x}"
    except (KeyError, IndexError, TypeError, ValueError):
        return "refused"
