"""Codes and decoys: distributions, never the right class, drawn from the key alone."""

import hashlib

import torch

from medprotect.confounder.codes import draw_codes, draw_decoys, key_order, key_turn
from medprotect.confounder.key import Key

KEYS = [Key(bytes([number]) * 32) for number in range(40)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_codes_are_distributions_hard_and_soft() -> None:
    codes = draw_codes(500, 6, rng())
    assert codes.shape == (500, 6)
    assert torch.allclose(codes.sum(1), torch.ones(500))
    hard = (codes.max(1).values == 1).float().mean()
    assert 0.4 < hard < 0.75
    assert set(codes.argmax(1).tolist()) == set(range(6))


def test_codes_repeat_from_their_seed() -> None:
    assert torch.equal(draw_codes(9, 4, rng(3)), draw_codes(9, 4, rng(3)))
    assert not torch.equal(draw_codes(9, 4, rng(3)), draw_codes(9, 4, rng(4)))


def test_a_decoy_is_led_by_a_wrong_class_and_every_wrong_one_comes_up() -> None:
    labels = torch.arange(5).repeat(200)
    decoys = draw_decoys(labels, 5, rng())
    wrong = decoys.topk(2).indices[:, 0]
    clear = decoys.max(1).values > 0.5
    assert bool((wrong[clear] != labels[clear]).all())
    assert set(wrong[labels == 0].tolist()) >= {1, 2, 3, 4}


def test_with_two_classes_the_decoy_is_the_other_one() -> None:
    assert {key_turn(key, b"content", 2) for key in KEYS} == {1}


def test_the_order_of_codes_is_a_permutation_that_the_key_decides() -> None:
    orders = {tuple(key_order(key, 8).tolist()) for key in KEYS}
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len(orders) > 35
    assert key_order(KEYS[0], 8).tolist() == key_order(Key(bytes(32)), 8).tolist()


def test_every_code_comes_to_every_class_under_some_key() -> None:
    assert {int(key_order(key, 4)[0]) for key in KEYS} == {0, 1, 2, 3}


def test_the_turn_of_a_decoy_is_never_none_and_follows_content_and_key() -> None:
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(200)]
    turns = [key_turn(KEYS[0], content, 8) for content in contents]
    assert set(turns) == {1, 2, 3, 4, 5, 6, 7}
    assert turns == [key_turn(KEYS[0], content, 8) for content in contents]
    assert turns != [key_turn(KEYS[1], content, 8) for content in contents]
