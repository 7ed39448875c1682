"""Streams: read as they were sealed, at their place and whole, or not at all."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medprotect.errors import ConfigError, VaultError
from medprotect.vault.recipients import Identity
from medprotect.vault.sealed import Head

OWNER = Identity.new()
HEAD = Head.new([OWNER.recipient])
PARTS = [b"one", b"two", b"", b"four"]
SEALED = [prefix + body for prefix, body in zip(*[HEAD.seal(1, "a", PARTS)] * 2, strict=True)]


def read(data: bytes, number: int = 1, path: str = "a", head: Head = HEAD) -> list[bytes]:
    return list(head.open(BytesIO(data), number, path, 100))


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5))
def test_a_stream_reads_as_it_was_sealed(parts: list[bytes]) -> None:
    assert read(b"".join(HEAD.seal(1, "a", parts))) == parts


def test_a_stream_of_nothing_has_one_empty_part() -> None:
    assert read(b"".join(HEAD.seal(1, "a", []))) == [b""]


def test_it_ends_where_it_ends() -> None:
    stream = BytesIO(b"".join(SEALED) + b"more")
    assert list(HEAD.open(stream, 1, "a", 100)) == PARTS
    assert stream.read() == b"more"


@pytest.mark.parametrize(
    "order", [[1, 0, 2, 3], [0, 0, 1, 2, 3], [0, 2, 3], [0, 1, 2], [3], [0, 1, 3, 2], []]
)
def test_chunks_in_another_order_missing_or_twice_are_refused(order: list[int]) -> None:
    with pytest.raises(VaultError, match="damaged"):
        read(b"".join(SEALED[at] for at in order))


@pytest.mark.parametrize(("number", "path"), [(2, "a"), (1, "b"), (0, ""), (2, "b")])
def test_a_stream_in_the_place_of_another_is_refused(number: int, path: str) -> None:
    with pytest.raises(VaultError):
        read(b"".join(SEALED), number, path)


def test_a_stream_of_another_vault_is_refused() -> None:
    with pytest.raises(VaultError):
        read(b"".join(SEALED), head=Head.new([OWNER.recipient]))


def test_a_head_with_a_recipient_more_opens_no_stream_of_the_old() -> None:
    other = Head(HEAD.data + b"!", HEAD.secret)
    with pytest.raises(VaultError):
        read(b"".join(SEALED), head=other)


def test_a_chunk_that_says_it_is_huge_is_refused_unread() -> None:
    class Greedy(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 <= size <= 116
            return super().read(size)

    with pytest.raises(VaultError):
        list(HEAD.open(Greedy(b"\x7f" + bytes(200)), 1, "a", 100))


def test_nothing_of_what_is_sealed_is_seen() -> None:
    assert b"four" not in b"".join(SEALED)


@pytest.mark.parametrize("count", [0, 1001])
def test_there_is_a_limit_to_recipients(count: int) -> None:
    with pytest.raises(ConfigError, match="recipient"):
        Head.new([OWNER.recipient] * count)


def test_its_text_shows_no_key() -> None:
    assert repr(HEAD.secret) not in repr(HEAD)
