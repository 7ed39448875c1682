"""Does noise protect volumes, coherent or independent along z? A 2-D and a 3-D victim judge.

``python -m medprotect.bench.studies.along_z SOURCE --pipeline FOLDER`` protects stacks of slices
both ways, lets a victim learn from single slices, one from slices averaged with their neighbours,
and one from whole stacks in 3-D, and tests each on clean ones. Prints JSON.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import Victim, resnet18
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.examination import NONE
from medprotect.audit.halves import Labelled
from medprotect.audit.protection import balanced_accuracy, protection
from medprotect.bench.studies.stacks import StackedParts, Stacks, likeness, read_stacks
from medprotect.bench.studies.unlearnability import as_png
from medprotect.confounder.along_z import ALONG_Z
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import BudgetBelowOneError
from medprotect.intensity.budget import STRENGTHS
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
    return balanced_accuracy(tried.best, test.labels, classes)


def _as_seen_by(name: str, stacks: Stacks) -> Labelled:
    count, depth, height, width, channels = stacks.slices.shape
    if name == SOLID:
        merged = stacks.slices.transpose(0, 2, 3, 1, 4).reshape(count, height, width, -1)
        return Labelled(np.ascontiguousarray(merged), stacks.labels)
    slices = average(stacks.slices) if name == AVERAGED else stacks.slices
    return Labelled(slices.reshape(-1, height, width, channels), np.repeat(stacks.labels, depth))


def judge(parts: StackedParts, protected: dict[str, Slices], trial: Trial) -> dict[str, Any]:
    """Return balanced accuracies of all victims, and P by the way along z.

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
            print(f"{name}, {made}: {scores[made]}", file=sys.stderr, flush=True)
        means = {made: float(np.mean(each)) for made, each in scores.items()}
        found[name] = {
            "balanced_accuracy": scores,
            "P": {
                way: protection(means[CLEAN], means[way], len(parts.classes)) for way in protected
            },
        }
    return found


def limit(stacks: Stacks, count: int) -> Stacks:
    """Return so many stacks at most, drawn alike each time."""
    return stacks.take(np.random.default_rng(0).permutation(len(stacks))[:count])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="MedMNIST npz, or a folder of volumes")
    parser.add_argument("--pipeline", default="radiology-grey", help="name or folder")
    parser.add_argument("--key", type=Path, help="the owner's key; else a new one")
    parser.add_argument("--strength", default="standard", choices=list(STRENGTHS))
    parser.add_argument("--labels-known", action="store_true", help="protect with labels")
    parser.add_argument("--depth", type=int, default=8, help="slices of a stack")
    parser.add_argument("--side", type=int, default=28, help="pixels, of volumes in a folder")
    parser.add_argument("--stacks", type=int, default=2000, help="to learn from, at most")
    parser.add_argument("--tested", type=int, default=500, help="of each test part, at most")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--steps", type=int, default=300)
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    card = load_card(given.pipeline)
    key = Key.load(given.key) if given.key else Key.new()
    whole = read_stacks(given.source, given.depth, given.side)
    learned = limit(whole.b, given.stacks)
    protected: dict[str, Slices] = {}
    for way in ALONG_Z:
        confounder = Confounder(card, key, along_z=way)
        protected[way], kept = protect_stacks(
            learned, confounder, given.strength, labels_known=given.labels_known
        )
    learned = learned.take(kept)
    parts = StackedParts(
        learned,
        limit(whole.validation, given.tested),
        limit(whole.test, given.tested),
        whole.classes,
        whole.made_of,
    )
    noises = {way: made.astype(np.int16) - learned.slices for way, made in protected.items()}
    about = {
        "pipeline": card.name,
        "pipeline_sha256": card.pipeline_sha256,
        "key": key.fingerprint,
        "strength": given.strength,
        "labels_known": given.labels_known,
        "stacks": {"b": len(learned), "validation": len(parts.validation), "test": len(parts.test)},
        "depth": given.depth,
        "made_of": parts.made_of,
        "steps": given.steps,
        "seeds": given.seeds,
        "slices_alike": likeness(learned.slices),
        "noise_alike": {way: likeness(noise) for way, noise in noises.items()},
    }
    print(json.dumps(about), file=sys.stderr, flush=True)
    victims = judge(parts, protected, Trial(tuple(given.seeds), given.steps))
    json.dump({**about, "victims": victims}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
