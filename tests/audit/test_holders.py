"""Who holds a set and a few clean images."""

import numpy as np
import pytest
import torch

from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.halves import Labelled
from medprotect.audit.holders import MOMENTS, Holder, draw_few, fit, hold_out
from medprotect.audit.protection import balanced_accuracy
from medprotect.errors import ConfigError

from .bands import bands, linear

TEST = bands(400, seed=2)
FEW = bands(40, seed=1)


@pytest.fixture(autouse=True)
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VICTIMS, "resnet18", linear)


def attacks(train: Labelled, k: int, **more: float) -> dict[str, float]:
    holder = Holder("resnet18", TEST.images, 4, seed=1, steps=40, **more)
    runs = holder.attack(train, {k: draw_few(FEW, k, 4, 1)})[k]
    return {
        name.removeprefix("resnet18, "): balanced_accuracy(run, TEST.labels, 4)
        for name, run in runs.items()
    }


class TestDrawFew:
    def test_so_many_of_each_class(self) -> None:
        few = draw_few(FEW, 3, 4, seed=1)
        assert np.bincount(few.labels).tolist() == [3, 3, 3, 3]
        assert len(draw_few(FEW, 0, 4, seed=1)) == 0

    def test_another_seed_draws_others(self) -> None:
        one, same, other = (draw_few(FEW, 3, 4, seed).images for seed in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_fewer_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="fewer than 11"):
            draw_few(FEW, 11, 4, seed=1)


class TestHoldOut:
    def test_a_tenth_is_held(self) -> None:
        learned, held = hold_out(FEW, seed=1)
        assert (len(learned), len(held)) == (36, 4)

    def test_no_group_is_in_both(self) -> None:
        grouped = Labelled(FEW.images, FEW.labels, np.arange(40) // 2)
        learned, held = hold_out(grouped, seed=1)
        assert learned.groups is not None
        assert held.groups is not None
        assert not set(learned.groups) & set(held.groups)
        assert len(learned) + len(held) == 40


class TestFit:
    def test_it_looks_at_so_many_moments_and_at_the_last(self) -> None:
        for steps in (1, 7, 20, 45):
            seen: list[int] = []
            network = linear(1, 4)
            fit(network, FEW, steps=steps, seed=1, peak=1e-3, look=seen.append)
            assert seen[-1] == steps
            assert len(seen) <= 2 * MOMENTS
            assert seen == sorted(set(seen))

    def test_only_what_is_drawn_is_learned(self) -> None:
        spoiled = Labelled(FEW.images, np.where(np.arange(40) < 20, FEW.labels, 0))
        networks = [linear(1, 4), linear(1, 4)]
        fit(networks[0], spoiled.take(np.arange(20)), steps=5, seed=1, peak=1e-3)
        fit(networks[1], spoiled, steps=5, seed=1, peak=1e-3, drawn=np.arange(20))
        first, second = (network.state_dict().values() for network in networks)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TestAttacks:
    def test_outputs_that_were_renamed_are_renamed_back(self) -> None:
        train = bands(256)
        found = attacks(Labelled(train.images, (train.labels + 1) % 4), k=5)
        assert found["as it ends"] == 0
        for name in ("renamed", "moment chosen", "last layer"):
            assert found[name] == 1

    def test_a_share_chooses_the_moment_nearest(self) -> None:
        train = bands(256)
        found = attacks(train, k=0, share=1.0)
        assert found["at the share"] == found["as it ends"]
        assert "at the share" not in attacks(train, k=0)

    def test_the_k_weigh_as_much_as_the_set(self) -> None:
        train = bands(256)
        random = Labelled(train.images, np.random.default_rng(0).permutation(train.labels))
        assert attacks(random, k=10)["together"] > attacks(random, k=0)["as it ends"]

    def test_the_k_alone_teach_what_they_hold(self) -> None:
        holder = Holder("resnet18", TEST.images, 4, seed=1, steps=40)
        found = holder.attack_alone({0: draw_few(FEW, 0, 4, 1), 5: draw_few(FEW, 5, 4, 1)})
        assert set(found) == {5}
        assert balanced_accuracy(found[5]["resnet18"], TEST.labels, 4) == 1

    def test_a_seed_gives_the_same_again_and_leaves_other_randomness_alone(self) -> None:
        before = torch.get_rng_state()
        first, again = (attacks(bands(64), k=2) for _ in range(2))
        assert first == again
        assert torch.equal(torch.get_rng_state(), before)
