"""One attempt of an attacker: a victim trained under a countermeasure, and tested."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.countermeasure import Aid, Countermeasure, to_tensor
from medprotect.audit.attack.victims import PEAK_RATES, Victim
from medprotect.audit.halves import Labelled
from medprotect.audit.protection import balanced_accuracy, best_relabelling
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


class Unfinished(Protocol):
    """Where the state of a training is kept while it goes on."""

    def is_due(self) -> bool:
        """Whether it is time to save."""

    def save(self, tensors: dict[str, Tensor]) -> None:
        """Keep a state in place of the one before."""

    def load(self) -> dict[str, Tensor] | None:
        """Return the state kept last; None where there is none."""


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
    unfinished: Unfinished | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Attempt:
    """Train one victim and test it.

    AdamW with one cycle of the learning rate, shifts and mirroring: what anybody would do.

    Parameters
    ----------
    train : Labelled
        What the victim learns from.
    steps : int
        Of the training; tested at ten of them and at the last.
    unfinished : Unfinished, optional
        Keeps the training as it goes on. One that broke off goes on from there, and ends in the
        same bytes.
    progress : callable, optional
        Told the number of steps that are done: before the first of them, and after each.
    """
    progress(0)
    countermeasure.prepare(train, aid or Aid(), seed)
    treated = to_tensor(countermeasure.treat(train.images))
    labels = torch.from_numpy(train.labels)
    tested = [
        to_tensor(countermeasure.treat_tested(part.images)) for part in (task.validation, task.test)
    ]
    watch = _Watch(task, tested)
    with torch.random.fork_rng(devices=[]):  # dropout draws from torch's own randomness
        torch.manual_seed(seed)
        network = channels_last(victim(train.images.shape[3], task.classes))
        training = Training(network, PEAK_RATES.get(victim, RATE), steps, seed)
        done = _take_up(unfinished, training, watch)
        progress(done)
        for step in range(done, steps):
            at = training.draw(step, len(train), batch)
            training.learn(countermeasure, treated[at], labels[at])
            if (step + 1) % max(1, steps // 10) == 0 or step + 1 == steps:
                chosen = watch.choose(countermeasure.variants(network))
                watch.look(chosen, step + 1, treated[at], labels[at], last=step + 1 == steps)
            if unfinished is not None and step + 1 < steps and unfinished.is_due():
                unfinished.save(
                    {"step": torch.tensor(step + 1), **training.state(), **watch.state()}
                )
            progress(step + 1)
    return watch.end(network)


def _take_up(unfinished: Unfinished | None, training: "Training", watch: "_Watch") -> int:
    """Go on from where a training broke off, and return the number of steps that are done."""
    state = None if unfinished is None else unfinished.load()
    if state is None:
        return 0
    done = int(state["step"])
    training.restore(state, done)
    watch.restore(state)
    return done


class Training:
    """A victim that learns, with all that its next step depends on.

    Parameters
    ----------
    network : Module
        The victim.
    peak : float
        Of the learning rate, which goes once up and down.
    steps : int
        Of the whole training.
    seed : int
        Of the order of the images and of their shifts.
    """

    def __init__(self, network: nn.Module, peak: float, steps: int, seed: int) -> None:
        self._network = network
        self._rng = torch.Generator().manual_seed(seed)
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=peak / 3, weight_decay=1e-2)
        self._rate = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, peak, total_steps=steps)
        self._order = torch.zeros(0, dtype=torch.int64)

    def draw(self, step: int, count: int, batch: int) -> Tensor:
        """Return the indices of a batch: every image comes once before any comes again."""
        batch = min(batch, count)
        at = step % (count // batch)
        if at == 0:
            self._order = torch.randperm(count, generator=self._rng)
        return self._order[at * batch : (at + 1) * batch]

    def learn(self, countermeasure: Countermeasure, images: Tensor, labels: Tensor) -> None:
        """Take one step."""
        self._network.train()
        images = _vary(images, self._rng)
        loss = countermeasure.loss(self._network, images, labels, self._rng)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._rate.step()

    def state(self) -> dict[str, Tensor]:
        """Return all that the next step depends on."""
        (group,) = self._optimizer.param_groups
        of_optimizer = {
            f"adam.{index}.{key}": value
            for index, state in self._optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
        return {
            **{f"network.{name}": each for name, each in self._network.state_dict().items()},
            **of_optimizer,
            "rate": torch.tensor([group["lr"], *group["betas"]], dtype=torch.float64),
            "order": self._order,
            "rng": self._rng.get_state(),
            "torch_rng": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Become as `state` told, after so many steps."""
        self._network.load_state_dict(_below("network.", state))
        parameters = list(self._network.parameters())
        of_optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("adam.", state).items():
            index, key = name.split(".")
            # Laid out in memory as its parameter is: in another order, last bits may differ.
            like = parameters[int(index)] if value.ndim else value
            of_optimizer.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(value)
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": of_optimizer})
        (group,) = self._optimizer.param_groups  # another than before
        group["lr"], *betas = state["rate"].tolist()
        group["betas"] = tuple(betas)
        self._rate.last_epoch = done
        self._order = state["order"]
        self._rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)
    }


class _Watch:
    """Keeps what an attacker with clean validation images would keep."""

    def __init__(self, task: Task, tested: list[Tensor]) -> None:
        self._task = task
        self._validation, self._test = tested
        self._curve = Curve()
        self._best: tuple[float, Predicted] = (-1.0, np.zeros(0, np.int64))
        self._last = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def choose(self, variants: Iterable[nn.Module]) -> nn.Module:
        """Return the network that does best on the validation images, the first of equals."""
        networks = list(variants)
        return max(networks, key=self._rate) if len(networks) > 1 else networks[0]

    def _rate(self, network: nn.Module) -> float:
        """Return the accuracy on the validation images, of outputs renamed if that is better."""
        classes, truth = self._task.classes, self._task.validation.labels
        chosen = predict(network, self._validation)
        renamed = best_relabelling(chosen, truth, classes)[chosen]
        return max(balanced_accuracy(guess, truth, classes) for guess in (chosen, renamed))

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

    def state(self) -> dict[str, Tensor]:
        """Return what was kept so far."""
        curve = (self._curve.steps, self._curve.train, self._curve.validation)
        return {
            "curve": torch.tensor(curve, dtype=torch.float64),
            "best_accuracy": torch.tensor(self._best[0], dtype=torch.float64),
            "best": torch.from_numpy(self._best[1]),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Become as `state` told."""
        steps, train, validation = state["curve"].tolist()
        self._curve = Curve([int(step) for step in steps], train, validation)
        self._best = float(state["best_accuracy"]), state["best"].numpy()

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


def _vary(images: Tensor, rng: torch.Generator) -> Tensor:
    height, width = images.shape[-2:]
    reach = max(1, height // 14)
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    top, left = (int(torch.randint(2 * reach + 1, (), generator=rng)) for _ in range(2))
    moved = padded[..., top : top + height, left : left + width]
    mirrored = moved.flip(-1) if float(torch.rand((), generator=rng)) < 0.5 else moved
    return mirrored.contiguous(memory_format=torch.channels_last)
