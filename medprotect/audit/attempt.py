"""One attempt of an attacker: a victim trained under a countermeasure, and tested."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.countermeasures.countermeasure import Aid, Countermeasure
from medprotect.audit.countermeasures.tensors import to_tensor
from medprotect.audit.halves import Labelled
from medprotect.audit.relabelling import balanced_accuracy, best_relabelling
from medprotect.audit.victims import PEAK_RATES, Victim
from medprotect.confounder.networks import channels_last

Predicted = NDArray[np.int64]

RATE = 3e-3
"""Peak of the learning rate, from scratch."""

BATCH = 64
"""Images a step. Of twice as many, as many steps learn little more and take twice the time."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned, and what it is tested on: clean images of a validation and a test set."""

    validation: Labelled
    test: Labelled
    classes: int


@dataclass(slots=True)
class Curve:
    """Balanced accuracy after each epoch: on what was trained on, and on clean validation."""

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attacker got.

    Attributes
    ----------
    as_is, renamed, best : NDArray of int64
        Classes (N,) given to the clean test images: by the victim after its last step; with its
        outputs renamed one to one, as fits clean validation images best; and by the victim,
        renamed or not, of the step that did best on clean validation images.
    network : Module, optional
        The victim after its last step; None where it was not kept.
    curve : Curve
        How the training went.
    """

    as_is: Predicted
    renamed: Predicted
    best: Predicted
    network: nn.Module | None
    curve: Curve

    def kept_network(self) -> nn.Module:
        """Return the network.

        Raises
        ------
        ValueError
            It was not kept.
        """
        if self.network is None:
            raise ValueError("the network of this attempt was not kept")
        return self.network


def attempt(
    victim: Victim,
    countermeasure: Countermeasure,
    train: Labelled,
    task: Task,
    *,
    seed: int,
    steps: int,
    aid: Aid | None = None,
    batch: int = BATCH,
) -> Attempt:
    """Train one victim and test it.

    AdamW with one cycle of the learning rate, shifts and mirroring: what anybody would do.

    Parameters
    ----------
    train : Labelled
        What the victim learns from.
    steps : int
        Of the training; tested at ten of them and at the last.
    """
    countermeasure.prepare(train, aid or Aid(), seed)
    treated = to_tensor(countermeasure.treat(train.images))
    labels = torch.from_numpy(train.labels)
    tested = [
        to_tensor(countermeasure.treat_tested(part.images)) for part in (task.validation, task.test)
    ]
    watch = _Watch(task, tested)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = channels_last(victim(train.images.shape[3], task.classes))
    rng = torch.Generator().manual_seed(seed)
    peak = PEAK_RATES.get(victim, RATE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak / 3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    for step, indices in enumerate(_batches(len(train), batch, steps, rng)):
        network.train()
        images = _vary(treated[indices], rng)
        loss = countermeasure.loss(network, images, labels[indices], rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if (step + 1) % max(1, steps // 10) == 0 or step + 1 == steps:
            watch.look(network, step + 1, treated[indices], labels[indices], last=step + 1 == steps)
    return watch.end(network)


class _Watch:
    """Keeps what an attacker with clean validation images would keep."""

    def __init__(self, task: Task, tested: list[Tensor]) -> None:
        self._task = task
        self._validation, self._test = tested
        self._curve = Curve()
        self._best: tuple[float, Predicted] = (-1.0, np.zeros(0, np.int64))
        self._last = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def look(
        self, network: nn.Module, step: int, images: Tensor, labels: Tensor, *, last: bool
    ) -> None:
        """Test the victim as it is now if it is the best so far, or the last."""
        classes, truth = self._task.classes, self._task.validation.labels
        chosen = predict(network, self._validation)
        order = best_relabelling(chosen, truth, classes)
        as_is, renamed = (
            balanced_accuracy(guess, truth, classes) for guess in (chosen, order[chosen])
        )
        seen = predict(network, images)
        self._curve.steps.append(step)
        self._curve.train.append(balanced_accuracy(seen, labels.numpy(), classes))
        self._curve.validation.append(as_is)
        if last or max(as_is, renamed) > self._best[0]:
            tested = predict(network, self._test)
            self._last = tested, order[tested]
            better = max((as_is, tested), (renamed, order[tested]), key=lambda pair: pair[0])
            self._best = max(self._best, better, key=lambda pair: pair[0])

    def end(self, network: nn.Module) -> Attempt:
        """Return what was kept; the last look was the last step."""
        as_is, renamed = self._last
        return Attempt(as_is, renamed, self._best[1], network.eval(), self._curve)


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor) -> Predicted:
    """Return the classes (N,) of images (N, C, H, W) in -0.5..0.5."""
    network.eval()
    parts = [network(part).argmax(1) for part in images.split(256)]
    predicted: Predicted = torch.cat(parts).numpy()
    return predicted


def _batches(count: int, batch: int, steps: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of `steps` batches: every image once before any comes again."""
    batch = min(batch, count)
    for step in range(steps):
        at = step % (count // batch)
        if at == 0:
            order = torch.randperm(count, generator=rng)
        yield order[at * batch : (at + 1) * batch]


def _vary(images: Tensor, rng: torch.Generator) -> Tensor:
    height, width = images.shape[-2:]
    reach = max(1, height // 14)
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    top, left = (int(torch.randint(2 * reach + 1, (), generator=rng)) for _ in range(2))
    moved = padded[..., top : top + height, left : left + width]
    mirrored = moved.flip(-1) if float(torch.rand((), generator=rng)) < 0.5 else moved
    return mirrored.contiguous(memory_format=torch.channels_last)
