"""Pieces of originals: short where they are like the protected file, and always exact."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medprotect.errors import VaultError
from medprotect.vault.difference import LARGEST_BYTES, PIECE_BYTES, Base, decode_piece, encode_piece

NOTHING = Base(None, 0, 0)


def slices(seed: int, dtype: str = "<i2") -> tuple[bytes, bytes]:
    """A slice of a CT and the same with noise, as stored."""
    random = np.random.default_rng(seed)
    clean = np.cumsum(random.normal(0, 12, (256, 256)), axis=1).round()
    protected = clean + random.integers(-3, 4, clean.shape)
    return clean.astype(dtype).tobytes(), protected.astype(dtype).tobytes()


def over(original: bytes, protected: bytes) -> Base:
    return Base(BytesIO(protected), len(protected), len(original))


@given(
    original=st.binary(max_size=300), protected=st.binary(max_size=300), offset=st.integers(0, 400)
)
def test_every_piece_comes_back(original: bytes, protected: bytes, offset: int) -> None:
    base = over(original, protected)
    kept = encode_piece(original, offset, base)
    assert decode_piece(kept, offset, len(original), base) == original


@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_pixels_with_noise_take_less_than_half_of_themselves(dtype: str) -> None:
    clean, protected = slices(1, dtype)
    alone = len(encode_piece(clean, 0, NOTHING))
    assert len(encode_piece(clean, 0, over(clean, protected))) < 0.5 * alone


def test_pixels_that_a_longer_header_moved_are_found_from_the_end() -> None:
    clean, protected = slices(2)
    moved = over(b"head" + clean, b"a longer header." + protected)
    kept = encode_piece(b"head" + clean, 0, moved)
    assert len(kept) < 1.1 * len(encode_piece(clean, 0, over(clean, protected)))
    assert decode_piece(kept, 0, len(clean) + 4, moved) == b"head" + clean


def test_what_cannot_be_shortened_is_not_much_longer() -> None:
    piece = np.random.default_rng(3).bytes(PIECE_BYTES)
    assert len(encode_piece(piece, 0, NOTHING)) <= LARGEST_BYTES


class TestRefused:
    def test_a_piece_of_another_size(self) -> None:
        kept = encode_piece(b"abcdef", 0, NOTHING)
        for count in (0, 5, 7):
            if count:
                with pytest.raises(VaultError, match="wrong size"):
                    decode_piece(kept, 0, count, NOTHING)

    def test_one_that_unfolds_to_very_much(self) -> None:
        bomb = encode_piece(bytes(PIECE_BYTES), 0, NOTHING)
        with pytest.raises(VaultError, match="wrong size"):
            decode_piece(bomb, 0, 1, NOTHING)

    @pytest.mark.parametrize("kept", [b"", b"\0", b"\0garbage"])
    def test_one_that_is_damaged(self, kept: bytes) -> None:
        with pytest.raises(VaultError):
            decode_piece(kept, 0, 3, NOTHING)

    @pytest.mark.parametrize("way", [2, 7, 8, 255])
    def test_one_kept_in_a_way_that_is_not_there(self, way: int) -> None:
        kept = bytes([way]) + encode_piece(b"abc", 0, NOTHING)[1:]
        with pytest.raises(VaultError, match="unknown way"):
            decode_piece(kept, 0, 3, NOTHING)
