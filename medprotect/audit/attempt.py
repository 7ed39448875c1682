"""One attempt of an attacker: a victim trained under a countermeasure, and tested."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.countermeasure import Aid, Countermeasure, to_tensor
from medprotect.audit.attack.victims import PEAK_RATES, Victim
from medprotect.audit.halves import Labelled
from medprotect.audit.moments import Few, Moment, pack_moments, unpack_moments
from medprotect.audit.protection import Predicted, balance_outputs, best_relabelling
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.confounder.networks import channels_last

RATE = 3e-3
"""Peak of the learning rate, from scratch."""

BATCH = 64
"""Images a step. Of twice as many, as many steps learn little more and take twice the time."""

MOMENTS = 10
"""Of a training, at which it may be stopped."""

HELD_OUT = 10
"""One image of so many of the set is not learned from: the training is stopped by these."""

EARLY_SHARE = 0.9
"""Of the steps, where who knows the method, but has no clean image, stops from experience: there
models did best on other sets that were protected. See ``docs/researchers/audit.md``."""


BALANCED = "balanced"
"""What a model tells as it ends, each class as often as the set holds it; see
`medprotect.audit.protection.balance_outputs`."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned, and what it is tested on: clean images of a validation and a test set."""

    validation: Labelled
    test: Labelled
    classes: int


@dataclass(frozen=True)
class Attempt:
    """What an attacker got.

    Attributes
    ----------
    moments : tuple of Moment
        The last is the end of the training.
    network : Module, optional
        The victim at the end; None where it was not kept.
    """

    moments: tuple[Moment, ...]
    network: nn.Module | None = None

    @property
    def as_it_ends(self) -> Predicted:
        """Classes (N,) given to the clean test images by the victim after its last step."""
        return self.moments[-1].predicted

    @property
    def best_on_set(self) -> Predicted:
        """The same where it did best on the images of the set that were held out."""
        return max(self.moments, key=lambda moment: moment.held).predicted  # the first of the best

    @property
    def stopped_early(self) -> Predicted:
        """The same after the share `EARLY_SHARE` of the steps."""
        return self.stopped_at(EARLY_SHARE)

    def stopped_at(self, share: float) -> Predicted:
        """Return the same at the moment nearest to a share (0..1) of the steps."""
        due = share * self.moments[-1].step
        return min(self.moments, key=lambda moment: abs(moment.step - due)).predicted

    @property
    def balanced(self) -> Predicted | None:
        """The same after the last step, each class given as often as the set holds it."""
        return self.moments[-1].balanced

    @property
    def renamed(self) -> Predicted:
        """The same after the last step, renamed as fits clean validation images best."""
        return self.moments[-1].order[self.as_it_ends]

    @property
    def by_oracle(self) -> Predicted:
        """The same, renamed or not, at the moment that did best on clean validation images.

        Nobody has so many clean labelled images and needs the set: an upper bound.
        """
        best = max(self.moments, key=lambda moment: max(moment.validation, moment.renamed))
        chosen = best.predicted
        return best.order[chosen] if best.renamed > best.validation else chosen

    @cached_property
    def without_clean_images(self) -> dict[str, Predicted]:
        """What somebody gets who has no clean image with a label, by the way."""
        found = {
            "as it ends": self.as_it_ends,
            "best on the set": self.best_on_set,
            "stopped early": self.stopped_early,
        }
        return found if self.balanced is None else {**found, BALANCED: self.balanced}

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


def hold_out(part: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """Return nine tenths of a set to learn from, and one to choose by; they share no group."""
    units = np.arange(len(part)) if part.groups is None else part.groups
    names = np.random.default_rng(seed).permutation(np.unique(units))
    held = np.isin(units, names[: max(1, len(names) // HELD_OUT)])
    return part.take(~held), part.take(held)


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
    few: Labelled | None = None,
    unfinished: Unfinished | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Attempt:
    """Train one victim and test it.

    Parameters
    ----------
    train : Labelled
        What the attacker has; of it, `hold_out` keeps a tenth to choose the moment by.
    steps : int
        Of the training; tested at ten of them and at the last.
    few : Labelled, optional
        Clean images that the attacker has besides; the victim's features of them are kept.
    unfinished : Unfinished, optional
        Keeps the training as it goes on. One that broke off goes on from there, and ends in the
        same bytes.
    progress : callable, optional
        Told the number of steps that are done: before the first of them, and after each.
    """
    progress(0)
    learned, held = hold_out(train, seed)
    countermeasure.prepare(learned, aid or Aid(), seed)
    validation, test = (
        Labelled(countermeasure.treat_tested(part.images), part.labels)
        for part in (task.validation, task.test)
    )
    watch = Watch(
        countermeasure,
        Labelled(countermeasure.treat(held.images), held.labels),
        (validation, test),
        np.bincount(learned.labels, minlength=task.classes) / len(learned),
        few,
    )
    with own_randomness(seed):
        network = channels_last(victim(train.images.shape[3], task.classes))
        fit(
            network,
            Labelled(countermeasure.treat(learned.images), learned.labels),
            steps=steps,
            seed=seed,
            peak=PEAK_RATES.get(victim, RATE),
            batch=batch,
            countermeasure=countermeasure,
            watch=watch,
            unfinished=unfinished,
            progress=progress,
        )
    return Attempt(tuple(watch.moments), network.eval())


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Draw from torch's randomness, as new networks and dropout do, by a seed, and leave it be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit(
    network: nn.Module,
    part: Labelled,
    *,
    steps: int,
    seed: int,
    peak: float = RATE,
    batch: int = BATCH,
    countermeasure: Countermeasure | None = None,
    drawn: NDArray[np.int64] | None = None,
    watch: "Watch | None" = None,
    unfinished: Unfinished | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Train a network in place.

    AdamW with one cycle of the learning rate, shifts and mirroring: what anybody would do.

    Parameters
    ----------
    part : Labelled
        As a countermeasure has treated it already.
    peak : float
        Of the learning rate.
    countermeasure : Countermeasure, optional
        Gives the loss of each step; else it is cross-entropy.
    drawn : NDArray of int64, optional
        Indices of images; one that is there twice is learned twice as often. Else each is once.
    watch : Watch, optional
        Looks at the network at `MOMENTS` steps, and at the last.
    unfinished, progress : optional
        As in `attempt`.
    """
    images, labels = to_tensor(part.images), torch.from_numpy(part.labels)
    order = torch.arange(len(part)) if drawn is None else torch.from_numpy(drawn)
    countermeasure = countermeasure or Countermeasure()
    training = Training(network, peak, steps, seed)
    done = _take_up(unfinished, training, watch)
    progress(done)
    for step in range(done, steps):
        at = order[training.draw(step, len(order), batch)]
        training.learn(countermeasure, images[at], labels[at])
        if watch is not None and ((step + 1) % max(1, steps // MOMENTS) == 0 or step + 1 == steps):
            watch.look(network, step + 1, images[at], labels[at])
        if unfinished is not None and step + 1 < steps and unfinished.is_due():
            kept = {} if watch is None else watch.state()
            unfinished.save({"step": torch.tensor(step + 1), **training.state(), **kept})
        progress(step + 1)


def _take_up(unfinished: Unfinished | None, training: "Training", watch: "Watch | None") -> int:
    """Go on from where a training broke off, and return the number of steps that are done."""
    state = None if unfinished is None else unfinished.load()
    if state is None:
        return 0
    done = int(state["step"])
    training.restore(state, done)
    if watch is not None:
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


class Watch:
    """Keeps what a victim is at some moments of its training.

    Parameters
    ----------
    countermeasure : Countermeasure
        Of what it gives in place of the victim, that is tested which does best on the validation
        images.
    held : Labelled
        Images of the set that are not learned from, treated as those that are.
    tested : tuple of Labelled
        Clean images for validation and testing, treated as such.
    shares : NDArray of float64
        (classes,), of the images that are learned from.
    few : Labelled, optional
        Clean images that the attacker has.
    """

    def __init__(
        self,
        countermeasure: Countermeasure,
        held: Labelled,
        tested: tuple[Labelled, Labelled],
        shares: NDArray[np.float64],
        few: Labelled | None = None,
    ) -> None:
        self.moments: list[Moment] = []
        self._countermeasure = countermeasure
        self._classes, self._shares = len(shares), shares
        self._held, self._held_labels = to_tensor(held.images), held.labels
        self._validation, self._truth = to_tensor(tested[0].images), tested[0].labels
        self._test = to_tensor(tested[1].images)
        self._few = None if few is None else to_tensor(few.images)

    def look(self, network: nn.Module, step: int, images: Tensor, labels: Tensor) -> None:
        """Test the victim as it is now.

        Parameters
        ----------
        step : int
            Steps that are done.
        images, labels : Tensor
            The last batch, (B, C, h, w) in -0.5..0.5 and (B,).
        """
        chosen = self._choose(self._countermeasure.variants(network))
        guess = predict(chosen, self._validation)
        order = best_relabelling(guess, self._truth, self._classes)
        validation, renamed = (self._score(each, self._truth) for each in (guess, order[guess]))
        outputs, few = self._test_once(chosen)
        self.moments.append(
            Moment(
                step=step,
                train=self._score(predict(chosen, images), labels.numpy()),
                held=self._score(predict(chosen, self._held), self._held_labels),
                validation=validation,
                renamed=renamed,
                order=order,
                predicted=outputs.argmax(1).numpy(),
                few=few,
                balanced=self._balance(outputs),
            )
        )

    def _test_once(self, network: nn.Module) -> tuple[Tensor, Few | None]:
        """Return the outputs (N, classes) for the test images, and what the few are."""
        if self._few is None:
            return outputs_of(network, self._test), None
        of_few, of_test = (features_of(network, each) for each in (self._few, self._test))
        with torch.no_grad():
            outputs = _last_layer(network)(of_test)
        return outputs, Few(of_few, of_test, classify(network, of_few))

    def _balance(self, outputs: Tensor) -> Predicted | None:
        """Return balanced classes (N,); None where a class was never learned."""
        if not self._shares.all():
            return None
        return balance_outputs(outputs.double().numpy(), self._shares)

    def _choose(self, variants: Iterable[nn.Module]) -> nn.Module:
        networks = list(variants)
        return max(networks, key=self._rate) if len(networks) > 1 else networks[0]

    def _rate(self, network: nn.Module) -> float:
        """Return the accuracy on the validation images, of outputs renamed if that is better."""
        guess = predict(network, self._validation)
        renamed = best_relabelling(guess, self._truth, self._classes)[guess]
        return max(self._score(each, self._truth) for each in (guess, renamed))

    def _score(self, guess: Predicted, labels: Predicted) -> float:
        return balanced_accuracy(guess, labels, self._classes)

    def state(self) -> dict[str, Tensor]:
        """Return what was kept so far."""
        return {f"moment.{name}": each for name, each in pack_moments(self.moments).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Become as `state` told."""
        self.moments = unpack_moments(_below("moment.", state))


def predict(network: nn.Module, images: Tensor) -> Predicted:
    """Return the classes (N,) of images (N, C, H, W) in -0.5..0.5."""
    predicted: Predicted = outputs_of(network, images).argmax(1).numpy()
    return predicted


@torch.inference_mode()
def outputs_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return the outputs (N, classes) for images (N, C, H, W) in -0.5..0.5."""
    network.eval()
    return torch.cat([network(part) for part in images.split(256)])


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return what enters the last linear layer, (N, F), of images (N, C, H, W) in -0.5..0.5."""
    kept: list[Tensor] = []
    handle = _last_layer(network).register_forward_pre_hook(
        lambda _, entering: kept.append(entering[0])
    )
    try:
        with torch.no_grad():
            network.eval()
            for part in images.split(256):
                network(part)
    finally:
        handle.remove()
    return torch.cat(kept)


@torch.no_grad()
def classify(network: nn.Module, features: Tensor) -> Predicted:
    """Return the classes (N,) that a network's last linear layer gives to what enters it (N, F)."""
    predicted: Predicted = _last_layer(network)(features).argmax(1).numpy()
    return predicted


def _last_layer(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def _vary(images: Tensor, rng: torch.Generator) -> Tensor:
    height, width = images.shape[-2:]
    reach = max(1, height // 14)
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    top, left = (int(torch.randint(2 * reach + 1, (), generator=rng)) for _ in range(2))
    moved = padded[..., top : top + height, left : left + width]
    mirrored = moved.flip(-1) if float(torch.rand((), generator=rng)) < 0.5 else moved
    return mirrored.contiguous(memory_format=torch.channels_last)
