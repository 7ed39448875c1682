"""Copies of a trained victim with noise on their weights, and which of them is used."""

import torch
from torch import nn

from medprotect.audit.attack.after_training import SCALES, WeightNoise, perturb
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attempt import Task, attempt
from medprotect.confounder.accuracy import balanced_accuracy

from ..bands import linear, pairs
from .scenes import Watched

PAIRS = pairs()
TASK = Task(PAIRS.validation, PAIRS.test, 4)


def change(copy: nn.Module, network: Watched) -> float:
    """Return the spread of the change by that of the weights."""
    (new,) = copy.parameters()
    old = network.weight
    return ((new - old).std() / old.std()).item()


def test_the_noise_has_its_share_of_the_spread_of_the_weights() -> None:
    network = Watched(3)
    for scale in SCALES:
        copy = perturb(network, scale, torch.Generator().manual_seed(1))
        assert 0.9 < change(copy, network) / scale < 1.1


def test_copies_have_several_sizes_of_noise_and_differ() -> None:
    network = Watched(1)
    changes = [change(copy, network) for copy in list(WeightNoise(2).variants(network))[1:]]
    assert len(set(changes)) == 2 * len(SCALES)
    assert max(changes) > 3 * min(changes)


def test_single_numbers_stay() -> None:
    network = nn.PReLU()
    copy = perturb(network, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(copy.weight, network.weight)


def test_copies_repeat_from_the_seed() -> None:
    network = Watched(1)
    copies = []
    for seed in (1, 1, 2):
        noise = WeightNoise(1)
        noise.prepare(PAIRS.clean, Aid(), seed)
        copies.append(list(noise.variants(network))[1].weight)
    assert torch.equal(copies[0], copies[1])
    assert not torch.equal(copies[0], copies[2])


class Ruin(WeightNoise):
    """Offers a victim that knows nothing, the trained one, and one that knows less."""

    name = "ruin"

    def variants(self, network: nn.Module) -> list[nn.Module]:  # type: ignore[override]
        return [linear(1, 4), network, perturb(network, 30.0, torch.Generator().manual_seed(1))]


def test_the_best_on_clean_validation_images_is_used() -> None:
    runs = [
        attempt(linear, each, PAIRS.clean, TASK, seed=1, steps=40, batch=32)
        for each in (WeightNoise(), Ruin())
    ]
    for run in runs:
        assert balanced_accuracy(run.as_it_ends, PAIRS.test.labels, 4) > 0.9
        assert max(moment.validation for moment in run.moments) > 0.9
