"""Codes and decoys: distributions, never the right class, drawn from the key alone."""

import hashlib

import pytest
import torch

from medprotect.confounder.codes import (
    KNOWN,
    SOFTENED,
    draw_codes,
    draw_decoys,
    key_decoy,
    key_phase,
    slice_phase,
)
from medprotect.confounder.key import Key

KEYS = [Key(bytes([number]) * 32) for number in range(40)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_codes_are_labels_posteriors_or_softer_ones() -> None:
    logits = torch.tensor([[4.0, 2.0, 1.0]]).repeat(1000, 1)
    codes = draw_codes(logits, torch.ones(1000, dtype=torch.int64), rng())
    expected = {
        "label": torch.tensor([0.0, 1.0, 0.0]),
        "posterior": logits[0].softmax(0),
        "softened": (SOFTENED * logits[0]).softmax(0),
    }
    is_one = {name: (codes - code).abs().amax(1) < 1e-6 for name, code in expected.items()}
    shares = {name: float(each.float().mean()) for name, each in is_one.items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["label"] == pytest.approx(KNOWN, abs=0.06)
    assert shares["posterior"] == pytest.approx(shares["softened"], abs=0.08)


def test_a_softened_code_names_the_same_class() -> None:
    logits = torch.randn((200, 5), generator=rng())
    codes = draw_codes(logits, logits.argmax(1), rng(1))
    assert torch.equal(codes.argmax(1), logits.argmax(1))


def test_codes_repeat_from_their_seed() -> None:
    logits = torch.zeros((9, 9))
    drawn = [draw_codes(logits, torch.arange(9), rng(seed)).tolist() for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_decoy_is_one_of_the_near_wrong_classes_and_each_comes_up() -> None:
    labels = torch.zeros(200, dtype=torch.int64)
    logits = torch.tensor([[9.0, 1.0, 5.0, 0.0, 4.0, 3.0]]).repeat(200, 1)
    decoys = draw_decoys(logits, labels, rng())
    assert torch.equal(decoys.sum(1), torch.ones(200))
    assert set(decoys.argmax(1).tolist()) == {2, 4, 5}


def test_with_two_classes_the_decoy_is_the_other_one() -> None:
    assert draw_decoys(torch.tensor([[3.0, 1.0]]), torch.tensor([0]), rng()).argmax() == 1
    posterior = torch.tensor([[0.3, 0.7]])
    shown = posterior.argmax(1)
    drawn = {int(key_decoy(key, b"content", posterior, shown).argmax()) for key in KEYS}
    assert drawn == {0}


def test_the_key_decides_where_textures_begin() -> None:
    phases = {key_phase(key) for key in KEYS}
    assert all(0 <= place < 16 for phase in phases for place in phase)
    assert len(phases) > 30
    assert key_phase(KEYS[0]) == key_phase(Key(bytes(32)))


def test_key_and_content_decide_where_the_textures_of_a_slice_begin() -> None:
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(200)]
    phases = [slice_phase(KEYS[0], content) for content in contents]
    assert {place for phase in phases for place in phase} == set(range(16))
    assert len(set(phases)) > 100
    assert phases == [slice_phase(KEYS[0], content) for content in contents]
    others = [slice_phase(KEYS[1], content) for content in contents]
    assert sum(one == other for one, other in zip(phases, others, strict=True)) < 10


def test_the_decoy_of_an_image_is_near_never_its_class_and_follows_content_and_key() -> None:
    posterior = torch.tensor([[0.5, 0.01, 0.2, 0.02, 0.17, 0.1]])
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(200)]

    def drawn(key: Key) -> list[int]:
        shown = posterior.argmax(1)
        return [int(key_decoy(key, content, posterior, shown).argmax()) for content in contents]

    assert set(drawn(KEYS[0])) == {2, 4, 5}
    assert drawn(KEYS[0]) == drawn(KEYS[0])
    assert drawn(KEYS[0]) != drawn(KEYS[1])
