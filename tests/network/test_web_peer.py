"""A DICOMweb service: how it is named, what lets us in, and what its answers mean."""

import json
from pathlib import Path

import pytest

from medprotect.errors import ConfigError, KeyFileError, PeerError
from medprotect.network.peer import Peer
from medprotect.network.recipient import parse_recipient
from medprotect.network.tls import Tls
from medprotect.network.web_peer import WebPeer, read_answer, read_login

STORED = json.dumps({"00081199": {"vr": "SQ", "Value": [{}]}}).encode()
REFUSED = json.dumps(
    {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}
).encode()


@pytest.fixture
def login(tmp_path: Path) -> Path:
    path = tmp_path / "login"
    path.write_text("officer:pass:word\n")
    path.chmod(0o600)
    return path


class TestNaming:
    def test_an_address_and_a_title_are_told_apart(self) -> None:
        for text, kind in (
            ("https://pacs.example/dicom-web", WebPeer),
            ("http://127.0.0.1:8042/dicom-web/", WebPeer),
            ("ORTHANC@127.0.0.1:4242", Peer),
        ):
            found = parse_recipient(text, "MEDPROTECT", Tls(), with_tls=False, login=None)
            assert isinstance(found, kind)

    @pytest.mark.parametrize(
        "url",
        [
            "https://",
            "https://host:port/",
            "https://host:99999/",
            "https://officer:secret@host/dicom-web",
            "https://host/dicom-web?token=secret",
            "https://host/dicom web",
            "https://host/a\r\nHost: other",
            "ftp://host/dicom-web",
        ],
    )
    def test_what_is_no_address_is_refused_without_quoting_it(self, url: str) -> None:
        with pytest.raises(ConfigError) as refused:
            WebPeer.parse(url)
        assert "secret" not in str(refused.value)

    def test_a_dicom_node_takes_no_login(self, login: Path) -> None:
        with pytest.raises(ConfigError):
            parse_recipient("ARCHIVE@host:104", "ME", Tls(), with_tls=False, login=login)


class TestLogin:
    def test_a_name_with_its_password_and_a_token_are_two_kinds(self, login: Path) -> None:
        assert read_login(login) == "Basic b2ZmaWNlcjpwYXNzOndvcmQ="
        login.write_text("abc.def\n")
        assert read_login(login) == "Bearer abc.def"

    def test_others_may_not_read_it(self, login: Path) -> None:
        login.chmod(0o644)
        with pytest.raises(KeyFileError):
            read_login(login)

    @pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "a\r\nHost: other\n"])
    def test_it_is_one_line(self, login: Path, text: str) -> None:
        login.write_text(text)
        with pytest.raises(ConfigError):
            read_login(login)

    def test_it_is_not_sent_unencrypted_to_another_machine(self, login: Path) -> None:
        WebPeer.parse("http://127.0.0.1:8042", login)
        with pytest.raises(ConfigError):
            WebPeer.parse("http://pacs.example", login)

    def test_it_does_not_show(self, login: Path) -> None:
        peer = WebPeer.parse("https://pacs.example", login)
        assert peer.authorization
        assert peer.authorization not in repr(peer)


class TestAnswers:
    @pytest.mark.parametrize(("status", "body"), [(200, STORED), (200, b""), (202, STORED)])
    def test_stored(self, status: int, body: bytes) -> None:
        assert read_answer(status, body) == ""

    @pytest.mark.parametrize(
        ("status", "body", "word"),
        [
            (200, REFUSED, "status_0122"),  # some answer so, against the standard
            (202, REFUSED, "status_0122"),
            (409, REFUSED, "status_0122"),
            (409, b"", "http_409"),
            (202, b"", "http_202"),
            (415, b"<html>", "http_415"),
            (409, b'{"00081198": {"Value": [{}]}}', "refused"),
            (409, b'{"00081198": []}', "http_409"),
            (409, b"[" * 100_000, "http_409"),
        ],
    )
    def test_not_stored(self, status: int, body: bytes, word: str) -> None:
        assert read_answer(status, body) == word

    @pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 429, 500, 502, 503])
    def test_the_others_need_not_be_tried_now(self, status: int) -> None:
        with pytest.raises(PeerError):
            read_answer(status, b"")


def test_nobody_there_is_no_refusal(tmp_path: Path) -> None:
    file = tmp_path / "image.dcm"
    file.write_bytes(b"x")
    peer = WebPeer.parse("http://127.0.0.1:9")
    with pytest.raises(PeerError):
        list(peer.send([file]))
    assert list(peer.send([])) == []
