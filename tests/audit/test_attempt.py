"""An attacker's attempt: repeatable, and as strong as what it is given allows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medprotect.audit.attack.countermeasure import Countermeasure, Images
from medprotect.audit.attack.victims import Victim, resnet18, vgg
from medprotect.audit.attempt import Attempt, Task, attempt
from medprotect.audit.halves import Labelled
from medprotect.audit.probe import features_of, probe
from medprotect.audit.protection import balanced_accuracy
from medprotect.audit.state import State
from medprotect.confounder import checkpoint

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
    assert balanced_accuracy(learned.as_is, STRIPES.test.labels, 4) > 0.8
    assert learned.curve.steps[-1] == 100
    curve = learned.curve
    assert len(curve.train) == len(curve.validation) == len(curve.steps) == 10


def test_images_without_anatomy_teach_nothing_of_it() -> None:
    run = attack(Labelled(cover(PAIRS.clean.labels), PAIRS.clean.labels))
    assert run.curve.train[-1] > 0.9
    assert score(run.as_is) < 0.5
    assert score(run.best) < 0.5
    assert max(run.curve.validation) < 0.5  # at no moment
    assert score(attack(PAIRS.clean).as_is) > 0.9


def test_permuted_classes_are_renamed_by_an_attacker_with_clean_images() -> None:
    turned = Labelled(PAIRS.clean.images, (PAIRS.clean.labels + 1) % 4)
    run = attack(turned)
    assert score(run.as_is) < 0.2
    assert score(run.renamed) > 0.8
    assert score(run.best) > 0.8


def weights(run: Attempt) -> Tensor:
    return torch.cat([each.detach().flatten() for each in run.kept_network().parameters()])


def test_an_attempt_repeats_from_its_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        torch.rand(1)  # what others draw meanwhile changes nothing
        runs.append(attack_with_a_network(seed, steps=4))
    one, same, other = runs
    assert one.curve == same.curve
    assert np.array_equal(one.as_is, same.as_is)
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
        return attempt(victim, none, PAIRS.clean, TASK, seed=1, steps=12, batch=32, **options)  # type: ignore[arg-type]

    def stop(done: int) -> None:
        if done == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        learn(unfinished=unfinished, progress=stop)
    torch.manual_seed(99)
    resumed = learn(unfinished=unfinished, progress=steps.append)
    whole = learn()
    assert steps == [0, 7, 8, 9, 10, 11, 12]
    assert resumed.curve == whole.curve
    for name in ("as_is", "renamed", "best"):
        assert np.array_equal(getattr(resumed, name), getattr(whole, name))
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
    assert score(attack(PAIRS.clean, blinding).best) == 0.25
    shown = torch.cat(blinding.shown)
    assert torch.equal(shown, torch.full_like(shown, -0.5))


def test_the_probe_gains_from_features_that_learned_anatomy(learned: Attempt) -> None:
    found = probe(learned.kept_network(), vgg, STRIPES, seed=1)
    assert found["gain"] is not None
    assert found["gain"] == pytest.approx(
        (found["protected_features"] or 0) - (found["untrained_features"] or 0), abs=1e-5
    )
    assert (found["protected_features"] or 0) > 0.8


def test_features_are_what_enters_the_last_layer() -> None:
    network = vgg(1, 4).eval()
    images = stripes.stripes(6).images
    features = features_of(network, images)
    last = network[-1]
    assert isinstance(last, torch.nn.Linear)
    assert features.shape == (6, last.in_features)
