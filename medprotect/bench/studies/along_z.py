"""Does noise protect volumes, coherent or independent along z? A 2-D and a 3-D victim judge.

``python -m medprotect.bench.studies.along_z SOURCE --pipeline FOLDER`` protects stacks of slices
both ways, lets a victim learn from single slices, one from slices averaged with their neighbours,
and one from whole stacks in 3-D, and tests each on clean ones. Prints JSON.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import Victim, resnet18
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.budgets import NONE
from medprotect.audit.halves import Labelled
from medprotect.audit.protection import protection_at_k, worth
from medprotect.bench import options
from medprotect.bench.studies.stacks import StackedParts, Stacks, likeness, read_stacks
from medprotect.bench.studies.unlearnability import as_png
from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.confounder.along_z import ALONG_Z
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import BudgetBelowOneError
from medprotect.protect.protectable import add_noise

Slices = NDArray[np.uint8]
"""(N, D, H, W, C)."""

CLEAN = "clean"
FLAT, AVERAGED, SOLID = "2-D", "2-D, mean of 3 along z", "3-D"
VICTIMS = (FLAT, AVERAGED, SOLID)


class Solid(nn.Module):
    """A network for volumes that takes the slices of a stack as channels: MONAI's ResNet in 3-D.

    Parameters
    ----------
    channels : int
        C of each slice.
    classes : int
        K.
    """

    def __init__(self, channels: int, classes: int) -> None:
        from monai.networks.nets.resnet import ResNet

        super().__init__()
        self.channels = channels
        self.network = ResNet(
            block="basic",
            layers=[1, 1, 1, 1],
            block_inplanes=[8, 16, 32, 64],
            spatial_dims=3,
            n_input_channels=channels,
            num_classes=classes,
            conv1_t_size=3,
            conv1_t_stride=1,
            no_max_pool=True,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) of stacks (B, D * C, H, W)."""
        batch, _, height, width = images.shape
        stacks = images.reshape(batch, -1, self.channels, height, width)
        logits: Tensor = self.network(stacks.transpose(1, 2))
        return logits


@dataclass(frozen=True, slots=True)
class Trial:
    """How victims learn.

    Attributes
    ----------
    seeds : tuple of int
        One victim each.
    steps : int
        Of each training: of 64 slices, or of 32 stacks.
    """

    seeds: tuple[int, ...] = (1,)
    steps: int = 300


def protect_stacks(
    stacks: Stacks, confounder: Confounder, strength: str, *, labels_known: bool = False
) -> tuple[Slices, NDArray[np.int64]]:
    """Protect each stack as a run protects a file of so many pages.

    Returns
    -------
    slices : NDArray of uint8
        Protected, without those that a run would reject.
    kept : NDArray of int64
        Which these are; whichever way along z, the same.
    """
    made, kept = [], []
    for index, stack in enumerate(stacks.slices):
        label = int(stacks.labels[index]) if labels_known else None
        try:
            changed = add_noise([as_png(each) for each in stack], confounder.noise, strength, label)
        except BudgetBelowOneError:
            continue
        made.append(changed.reshape(stack.shape))
        kept.append(index)
    return np.stack(made), np.array(kept, dtype=np.int64)


def average(slices: Slices) -> Slices:
    """Return the mean of each slice and its neighbours along z; at the ends, of two."""
    padded = np.pad(slices.astype(np.float32), ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
    total = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    depth = slices.shape[1]
    members = np.minimum(np.arange(depth), 1) + 1 + np.minimum(np.arange(depth)[::-1], 1)
    result: Slices = np.rint(total / members[:, None, None, None]).astype(np.uint8)
    return result


def victim_accuracy(
    name: str, train: Stacks, parts: StackedParts, *, seed: int, steps: int
) -> float:
    """Train one victim on stacks, and return its balanced accuracy on clean ones at its best.

    Parameters
    ----------
    name : str
        Of `VICTIMS`. What it does to stacks, it does to those it is tested on, too.
    """
    learned, validation, test = (
        _as_seen_by(name, part) for part in (train, parts.validation, parts.test)
    )
    victim: Victim = resnet18
    if name == SOLID:
        channels = train.slices.shape[4]

        def victim(_channels: int, classes: int) -> nn.Module:
            return Solid(channels, classes)

    classes = len(parts.classes)
    tried = attempt(
        victim,
        COUNTERMEASURES[NONE](),
        learned,
        Task(validation, test, classes),
        seed=seed,
        steps=steps,
        batch=32 if name == SOLID else 64,
    )
    return balanced_accuracy(tried.by_oracle, test.labels, classes)


def _as_seen_by(name: str, stacks: Stacks) -> Labelled:
    count, depth, height, width, channels = stacks.slices.shape
    if name == SOLID:
        merged = stacks.slices.transpose(0, 2, 3, 1, 4).reshape(count, height, width, -1)
        return Labelled(np.ascontiguousarray(merged), stacks.labels)
    slices = average(stacks.slices) if name == AVERAGED else stacks.slices
    return Labelled(slices.reshape(-1, height, width, channels), np.repeat(stacks.labels, depth))


def judge(parts: StackedParts, protected: dict[str, Slices], trial: Trial) -> dict[str, Any]:
    """Return balanced accuracies of all victims, and what is protected by each way along z.

    Protection is from an oracle, who stops each training at its best moment.

    Parameters
    ----------
    parts : StackedParts
        Clean.
    protected : dict of str to NDArray of uint8
        Half B by the way it was protected.
    """
    trained_on = {CLEAN: parts.b.slices, **protected}
    found: dict[str, Any] = {}
    for name in VICTIMS:
        scores: dict[str, list[float]] = {}
        for made, slices in trained_on.items():
            train = Stacks(slices, parts.b.labels)
            scores[made] = [
                round(victim_accuracy(name, train, parts, seed=seed, steps=trial.steps), 4)
                for seed in trial.seeds
            ]
            options.say(f"{name}, {made}: {scores[made]}")
        means = {made: float(np.mean(each)) for made, each in scores.items()}
        found[name] = {
            "balanced_accuracy": scores,
            "protection_from_an_oracle": {
                way: protection_at_k(
                    *(worth(means[each], 1 / len(parts.classes)) for each in (CLEAN, way))
                )
                for way in protected
            },
        }
    return found


def limit(stacks: Stacks, count: int) -> Stacks:
    """Return so many stacks at most, drawn alike each time."""
    return stacks.take(np.random.default_rng(0).permutation(len(stacks))[:count])


def main(
    source: Annotated[Path, typer.Argument(help="A MedMNIST file (npz), or a folder of volumes.")],
    pipeline: options.Pipeline = "radiology-grey",
    key: options.KeyFile = None,
    strength: options.Strength = "standard",
    labels_known: options.LabelsKnown = False,
    depth: Annotated[int, typer.Option(min=2, help="Slices of a stack.")] = 8,
    side: Annotated[int, typer.Option(min=8, help="Pixels, of volumes in a folder.")] = 28,
    stacks: Annotated[int, typer.Option(min=1, help="Most stacks to learn from.")] = 2000,
    tested: Annotated[int, typer.Option(min=1, help="Most stacks of each test part.")] = 500,
    seeds: options.Seeds = "1",
    steps: options.Steps = 300,
) -> None:
    """Protect stacks of slices both ways along z, and say what models learn of each."""
    trial = Trial(options.take_numbers(seeds), steps)
    card = load_card(pipeline)
    owner = Key.load(key) if key else Key.new()
    whole = read_stacks(source, depth, side)
    learned = limit(whole.b, stacks)
    protected: dict[str, Slices] = {}
    for way in ALONG_Z:
        confounder = Confounder(card, owner, along_z=way)
        protected[way], kept = protect_stacks(
            learned, confounder, strength, labels_known=labels_known
        )
    learned = learned.take(kept)
    parts = replace(
        whole, b=learned, validation=limit(whole.validation, tested), test=limit(whole.test, tested)
    )
    noises = {way: made.astype(np.int16) - learned.slices for way, made in protected.items()}
    about = {
        "pipeline": card.name,
        "pipeline_sha256": card.pipeline_sha256,
        "key": owner.fingerprint,
        "strength": strength,
        "labels_known": labels_known,
        "stacks": {"b": len(learned), "validation": len(parts.validation), "test": len(parts.test)},
        "depth": depth,
        "made_of": parts.made_of,
        "steps": steps,
        "seeds": trial.seeds,
        "slices_alike": likeness(learned.slices),
        "noise_alike": {way: likeness(noise) for way, noise in noises.items()},
    }
    options.say(json.dumps(about))
    print(json.dumps({**about, "victims": judge(parts, protected, trial)}, indent=1))


if __name__ == "__main__":
    options.run(main)
