"""Victims of volumes: what they learn from noise along z, and what averaging leaves of it."""

from typing import Any

import numpy as np
import pytest
import torch

from medprotect.bench.studies import along_z
from medprotect.bench.studies.along_z import (
    SOLID,
    VICTIMS,
    Solid,
    Trial,
    average,
    judge,
    limit,
    protect_stacks,
    victim_accuracy,
)
from medprotect.bench.studies.stacks import VOLUMES, StackedParts, Stacks, likeness
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder

from ...audit import bands
from ...audit.stripes import CLASSES, stripes

DEPTH = 4


def stacks(count: int, seed: int = 0, depth: int = DEPTH) -> Stacks:
    """Stripes, the same in all slices of a stack but for the grain."""
    flat = stripes(count, seed)
    grain = np.random.default_rng(seed).normal(0, 8, (count, depth, 16, 16, 1))
    slices = (flat.images[:, None] + grain).clip(0, 255).astype(np.uint8)
    return Stacks(slices, flat.labels)


PARTS = StackedParts(stacks(128), stacks(40, 1), stacks(40, 2), CLASSES, VOLUMES)
CARD = load_card("radiology-grey")
KEY = Key(bytes(range(32)))


def test_victims_learn_all_of_clean_stacks_and_nothing_of_covered_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pile(slices: np.ndarray) -> np.ndarray:
        return slices[:, None].repeat(DEPTH, axis=1)

    monkeypatch.setattr(along_z, "resnet18", bands.linear)
    monkeypatch.setattr(along_z, "Solid", lambda _channels, k: bands.linear(DEPTH, k))
    drawn = [bands.bands(count, seed) for seed, count in enumerate((128, 200, 400))]
    parts = StackedParts(
        *(Stacks(pile(each.images), each.labels) for each in drawn), bands.CLASSES, VOLUMES
    )
    covered = pile(bands.cover(parts.b.labels))
    found: dict[str, Any] = judge(parts, {"covered": covered}, Trial(seeds=(1, 2), steps=40))
    assert set(found) == set(VICTIMS)
    for name in VICTIMS:
        scores = found[name]["balanced_accuracy"]
        assert min(scores["clean"]) > 0.9, name
        assert max(scores["covered"]) < 0.5, name
        assert found[name]["protection_from_an_oracle"]["covered"] > 0.7


@pytest.mark.slow
def test_the_3d_victim_learns_clean_stacks() -> None:
    assert victim_accuracy(SOLID, PARTS.b, PARTS, seed=1, steps=50) > 0.7  # a quarter by chance


def test_the_same_seed_gives_the_same_victim() -> None:
    scores = [victim_accuracy("3-D", PARTS.b, PARTS, seed=3, steps=4) for _ in range(2)]
    assert scores[0] == scores[1]


def test_the_3d_victim_tells_stacks_apart_that_differ_in_the_order_of_their_slices() -> None:
    torch.manual_seed(0)
    network = Solid(channels=1, classes=3).eval()
    images = torch.rand(2, 6, 16, 16)
    forwards, backwards = network(images), network(images.flip(1))
    assert forwards.shape == (2, 3)
    assert not torch.allclose(forwards, backwards, atol=1e-4)


def test_the_3d_victim_takes_colour_slice_by_slice() -> None:
    assert Solid(channels=3, classes=2).eval()(torch.rand(1, 12, 16, 16)).shape == (1, 2)


def test_averaging_takes_neighbours_and_at_the_ends_two() -> None:
    slices = np.array([0, 30, 90, 60], np.uint8).reshape(1, 4, 1, 1, 1)
    assert average(slices).ravel().tolist() == [15, 40, 60, 75]
    assert average(slices[:, :1]).ravel().tolist() == [0]


def test_averaging_weakens_independent_noise_and_not_coherent_noise() -> None:
    flat = Stacks(np.repeat(stripes(6).images[:, None], 5, axis=1), stripes(6).labels)
    flat.slices[..., 0, 0, 0] = np.arange(5)  # else slices are the same, and so is their noise
    left = {}
    for way in ("coherent", "independent"):
        protected, kept = protect_stacks(flat, Confounder(CARD, KEY, along_z=way), "standard")
        assert kept.tolist() == list(range(6))
        noise = protected.astype(float) - flat.slices
        assert (likeness(noise.astype(np.int64)) > 0.9) is (way == "coherent")
        after = average(protected).astype(float) - average(flat.slices)
        left[way] = after.std() / noise.std()
    assert left["coherent"] > 0.9
    assert left["independent"] < 0.75


def test_stacks_that_a_run_rejects_are_left_out() -> None:
    some = stacks(5)
    some.slices[2] = 0
    made, kept = protect_stacks(some, Confounder(CARD, KEY), "standard")
    assert kept.tolist() == [0, 1, 3, 4]
    assert len(made) == 4


def test_a_known_label_is_what_the_noise_says() -> None:
    some, confounder = stacks(2), Confounder(CARD, KEY)
    one, other = (
        protect_stacks(Stacks(some.slices, labels), confounder, "standard", labels_known=True)[0]
        for labels in (np.array([0, 1]), np.array([0, 2]))
    )
    assert np.array_equal(one[0], other[0])
    assert not np.array_equal(one[1], other[1])


def test_the_same_stacks_are_drawn_each_time() -> None:
    drawn = [limit(PARTS.b, 7) for _ in range(2)]
    assert len(drawn[0]) == 7
    assert np.array_equal(drawn[0].slices, drawn[1].slices)
    assert len(limit(PARTS.b, 1000)) == 128
