"""An attacker's attempt: repeatable, and as strong as what it is given allows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medprotect.audit.attack.countermeasure import Countermeasure, Images, to_tensor
from medprotect.audit.attack.victims import Victim, resnet18, vgg
from medprotect.audit.attempt import (
    Attempt,
    Task,
    attempt,
    classify,
    features_of,
    fit,
    hold_out,
    predict,
)
from medprotect.audit.halves import Labelled
from medprotect.audit.moments import Moment, pack_moments
from medprotect.audit.state import State
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.training import checkpoint

from . import stripes
from .bands import cover, linear, pairs

PAIRS, STRIPES = pairs(), stripes.pairs()
TASK = Task(PAIRS.validation, PAIRS.test, 4)


def attack(train: Labelled, countermeasure: Countermeasure | None = None) -> Attempt:
    return attempt(
        linear, countermeasure or Countermeasure(), train, TASK, seed=1, steps=40, batch=32
    )


def attack_with_a_network(seed: int = 1, steps: int = 100) -> Attempt:
    task = Task(STRIPES.validation, STRIPES.test, 4)
    return attempt(vgg, Countermeasure(), STRIPES.clean, task, seed=seed, steps=steps, batch=32)


@pytest.fixture(scope="module")
def learned() -> Attempt:
    return attack_with_a_network()


def score(predicted: np.ndarray) -> float:
    return balanced_accuracy(predicted, PAIRS.test.labels, 4)


def test_clean_images_teach_their_classes(learned: Attempt) -> None:
    assert balanced_accuracy(learned.as_it_ends, STRIPES.test.labels, 4) > 0.8
    assert [moment.step for moment in learned.moments] == list(range(10, 101, 10))


def test_images_without_anatomy_teach_nothing_of_it() -> None:
    run = attack(Labelled(cover(PAIRS.clean.labels), PAIRS.clean.labels))
    assert run.moments[-1].train > 0.9
    assert run.moments[-1].held > 0.9  # which tells an attacker nothing
    for predicted in (*run.without_clean_images.values(), run.by_oracle):
        assert score(predicted) < 0.5
    assert max(moment.validation for moment in run.moments) < 0.5
    assert score(attack(PAIRS.clean).as_it_ends) > 0.9


def test_permuted_classes_are_renamed_by_an_attacker_with_clean_images() -> None:
    turned = Labelled(PAIRS.clean.images, (PAIRS.clean.labels + 1) % 4)
    run = attack(turned)
    assert all(score(each) < 0.2 for each in run.without_clean_images.values())
    assert score(run.renamed) > 0.8
    assert score(run.by_oracle) > 0.8


def assert_same(one: Attempt, other: Attempt) -> None:
    packed = pack_moments(one.moments), pack_moments(other.moments)
    assert packed[0].keys() == packed[1].keys()
    assert all(torch.equal(packed[0][name], packed[1][name]) for name in packed[0])


def weights(run: Attempt) -> Tensor:
    return torch.cat([each.detach().flatten() for each in run.kept_network().parameters()])


def test_an_attempt_repeats_from_its_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        torch.rand(1)  # what others draw meanwhile changes nothing
        runs.append(attack_with_a_network(seed, steps=4))
    one, same, other = runs
    assert_same(one, same)
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def forgetful(channels: int, classes: int) -> nn.Module:
    """A victim with dropout, which draws from torch's own randomness."""
    return nn.Sequential(vgg(channels, 16), nn.Dropout(0.5), nn.Linear(16, classes))


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("victim", [vgg, resnet18, forgetful])
def test_an_attempt_that_was_stopped_ends_in_the_same_bytes(
    victim: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    unfinished = State(tmp_path).unfinished({})
    steps: list[int] = []

    def learn(**options: object) -> Attempt:
        none = Countermeasure()
        return attempt(
            victim,
            none,
            PAIRS.clean,
            TASK,
            seed=1,
            steps=12,
            batch=32,
            few=PAIRS.validation.take(np.arange(8)),
            **options,  # type: ignore[arg-type]
        )

    def stop(done: int) -> None:
        if done == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        learn(unfinished=unfinished, progress=stop)
    torch.manual_seed(99)
    resumed = learn(unfinished=unfinished, progress=steps.append)
    whole = learn()
    assert steps == [0, 7, 8, 9, 10, 11, 12]
    assert_same(resumed, whole)
    weights = resumed.kept_network().state_dict(), whole.kept_network().state_dict()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


class Blinding(Countermeasure):
    """Shows the victim nothing, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def treat(self, images: Images) -> Images:
        return np.zeros_like(images)

    def treat_tested(self, images: Images) -> Images:
        return images

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        self.shown.append(images)
        return super().loss(network, images, labels, rng)


def test_a_countermeasure_treats_what_is_trained_on() -> None:
    blinding = Blinding()
    assert score(attack(PAIRS.clean, blinding).by_oracle) == 0.25
    shown = torch.cat(blinding.shown)
    assert torch.equal(shown, torch.full_like(shown, -0.5))


def test_features_are_what_enters_the_last_layer() -> None:
    network = vgg(1, 4).eval()
    images = to_tensor(stripes.stripes(6).images)
    features = features_of(network, images)
    last = network[-1]
    assert isinstance(last, torch.nn.Linear)
    assert features.shape == (6, last.in_features)
    assert np.array_equal(classify(network, features), predict(network, images))


class TestHoldOut:
    def test_a_tenth_is_held(self) -> None:
        learned, held = hold_out(PAIRS.clean.take(np.arange(40)), seed=1)
        assert (len(learned), len(held)) == (36, 4)

    def test_no_group_is_in_both(self) -> None:
        part = PAIRS.clean.take(np.arange(40))
        learned, held = hold_out(replace(part, groups=np.arange(40) // 2), seed=1)
        assert learned.groups is not None
        assert held.groups is not None
        assert not set(learned.groups) & set(held.groups)
        assert len(learned) + len(held) == 40


class TestFit:
    def test_only_what_is_drawn_is_learned(self) -> None:
        part = PAIRS.clean.take(np.arange(40))
        spoiled = Labelled(part.images, np.where(np.arange(40) < 20, part.labels, 0))
        networks = [linear(1, 4), linear(1, 4)]
        fit(networks[0], spoiled.take(np.arange(20)), steps=5, seed=1)
        fit(networks[1], spoiled, steps=5, seed=1, drawn=np.arange(20))
        first, second = (network.state_dict().values() for network in networks)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def told(*moments: tuple[int, float, float, float]) -> Attempt:
    """Return an attempt of (step, held, validation, renamed), each told by its number."""
    order = np.array([1, 0, 2, 3, 4, 5, 6, 7, 8, 9])
    return Attempt(
        tuple(
            Moment(step, 0.0, held, validation, renamed, order, np.array([number]))
            for number, (step, held, validation, renamed) in enumerate(moments)
        )
    )


class TestStopping:
    def test_without_a_clean_image_nothing_goes_by_clean_images(self) -> None:
        run = told((10, 0.3, 0.9, 0.9), (20, 0.9, 0.2, 0.2), (50, 0.9, 0.1, 0.1), (100, 0.8, 0, 0))
        found = {way: int(each[0]) for way, each in run.without_clean_images.items()}
        assert found == {"as it ends": 3, "best on the set": 1, "stopped early": 3}

    def test_the_balanced_classes_count_where_they_are_known(self) -> None:
        run = told((10, 0.3, 0.9, 0.9), (20, 0.9, 0.2, 0.2))
        last = replace(run.moments[-1], balanced=np.array([7]))
        known = Attempt((run.moments[0], last)).without_clean_images
        assert known["balanced"] == 7
        assert "balanced" not in run.without_clean_images

    def test_an_oracle_renames_only_where_that_is_better(self) -> None:
        assert told((10, 0, 0.5, 0.6), (20, 0, 0.4, 0.4)).by_oracle == 1
        assert told((10, 0, 0.6, 0.6), (20, 0, 0.4, 0.4)).by_oracle == 0
        assert told((10, 0, 0.5, 0.6), (20, 0, 0.4, 0.4), (30, 0, 0.7, 0.1)).by_oracle == 2

    def test_of_a_share_the_nearest_moment_is_taken(self) -> None:
        run = told(*((step, 0.0, 0.0, 0.0) for step in (25, 50, 75, 100)))
        assert [int(run.stopped_at(share)[0]) for share in (0, 0.3, 0.7, 1)] == [0, 0, 2, 3]
