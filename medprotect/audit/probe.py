"""What leaked into a victim's features, read with ten clean images a class.

A linear reader on the frozen features of a network that learned from protected images, beside the
same reader, on the same images, of a network that learned nothing: the gain is what leaked.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.countermeasure import to_tensor
from medprotect.audit.attack.victims import Victim
from medprotect.audit.halves import Labelled
from medprotect.audit.pairs import Pairs
from medprotect.audit.protection import balanced_accuracy
from medprotect.audit.report_schema import Probe

IMAGES_PER_CLASS = 10


def probe(network: nn.Module, victim: Victim, pairs: Pairs, *, seed: int) -> Probe:
    """Return balanced accuracies on clean test images, of the probe on both networks, and the gain.

    Parameters
    ----------
    network : Module
        The victim, trained on protected images.
    victim : callable
        Makes the same network untrained.
    pairs : Pairs
        The probe learns from clean validation images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = victim(pairs.test.images.shape[3], len(pairs.classes))
        # Statistics of batch normalisation are no knowledge of anatomy: the rival gets them too.
        with torch.no_grad():
            untrained.train()(to_tensor(pairs.validation.images[:256]))
    few = _few(pairs.validation, seed)
    protected, bare = (_read(each, few, pairs) for each in (network, untrained))
    return {
        "images_per_class": IMAGES_PER_CLASS,
        "protected_features": protected,
        "untrained_features": bare,
        "gain": round(protected - bare, 6),
    }


def features_of(network: nn.Module, images: NDArray[np.uint8]) -> Tensor:
    """Return what enters the last linear layer, (N, F)."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    kept: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, entering: kept.append(entering[0]))
    try:
        with torch.no_grad():
            network.eval()
            for part in to_tensor(images).split(256):
                network(part)
    finally:
        handle.remove()
    return torch.cat(kept)


def _few(part: Labelled, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(part.labels == each))[:IMAGES_PER_CLASS]
        for each in np.unique(part.labels)
    ]
    at = np.concatenate(chosen)
    return Labelled(part.images[at], part.labels[at])


def _read(network: nn.Module, few: Labelled, pairs: Pairs) -> float:
    learned, tested = features_of(network, few.images), features_of(network, pairs.test.images)
    guess = read_features(learned, few.labels, tested, len(pairs.classes))
    return round(balanced_accuracy(guess, pairs.test.labels, len(pairs.classes)), 6)


def read_features(
    learned: Tensor, labels: NDArray[np.int64], tested: Tensor, classes: int
) -> NDArray[np.int64]:
    """Return the classes (M,) that a linear reader of features gives.

    Parameters
    ----------
    learned : Tensor
        (N, F), of the images that the reader is fitted to, and whose labels (N,) it is told.
    tested : Tensor
        (M, F), of those that it reads.
    """
    mean, spread = learned.mean(0), learned.std(0).clamp_min(1e-6)
    weights = _fit((learned - mean) / spread, torch.from_numpy(labels), classes)
    ones = torch.ones(len(tested), 1)
    guess: NDArray[np.int64] = (
        (torch.cat([(tested - mean) / spread, ones], 1) @ weights).argmax(1).numpy()
    )
    return guess


def _fit(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Fit a logistic regression with a small weight decay; convex, so it has one answer."""
    entering = torch.cat([features, torch.ones(len(features), 1)], 1)
    weights = torch.zeros(entering.shape[1], classes, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(entering @ weights, labels)
        loss = loss + 1e-3 * weights.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weights.detach()
