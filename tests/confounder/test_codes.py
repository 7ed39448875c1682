"""Codes and decoys: distributions, never the right class, drawn from the key alone."""

import hashlib
from itertools import permutations

import torch

from medprotect.confounder.codes import draw_codes, draw_decoys, key_decoy, key_order
from medprotect.confounder.key import Key

KEYS = [Key(bytes([number]) * 32) for number in range(40)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_codes_are_labels_or_posteriors_in_any_order() -> None:
    posteriors = torch.tensor([[0.7, 0.2, 0.1]]).repeat(500, 1)
    codes = draw_codes(posteriors, torch.zeros(500, dtype=torch.int64), rng())
    hard = codes.max(1).values == 1
    assert 0.4 < hard.float().mean() < 0.6
    soft = codes[~hard].sort(1, descending=True).values
    assert torch.equal(soft, posteriors[: len(soft)])
    assert {tuple(row) for row in codes[~hard].argsort(1).tolist()} == set(permutations(range(3)))


def test_codes_repeat_from_their_seed() -> None:
    drawn = [
        draw_codes(torch.eye(9), torch.arange(9), rng(seed)).argmax(1).tolist()
        for seed in (3, 3, 4)
    ]
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


def test_the_order_of_codes_is_a_permutation_that_the_key_decides() -> None:
    orders = {tuple(key_order(key, 8).tolist()) for key in KEYS}
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len(orders) > 35
    assert key_order(KEYS[0], 8).tolist() == key_order(Key(bytes(32)), 8).tolist()


def test_every_code_comes_to_every_class_under_some_key() -> None:
    assert {int(key_order(key, 4)[0]) for key in KEYS} == {0, 1, 2, 3}


def test_the_decoy_of_an_image_is_near_never_its_class_and_follows_content_and_key() -> None:
    posterior = torch.tensor([[0.5, 0.01, 0.2, 0.02, 0.17, 0.1]])
    contents = [hashlib.sha256(bytes([number])).digest() for number in range(200)]

    def drawn(key: Key) -> list[int]:
        shown = posterior.argmax(1)
        return [int(key_decoy(key, content, posterior, shown).argmax()) for content in contents]

    assert set(drawn(KEYS[0])) == {2, 4, 5}
    assert drawn(KEYS[0]) == drawn(KEYS[0])
    assert drawn(KEYS[0]) != drawn(KEYS[1])
