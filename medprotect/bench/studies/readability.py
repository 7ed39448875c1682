"""How soon is the noise read? ``python -m medprotect.bench.studies.readability --images SOURCE``.

The noise of half B is laid on other images of it, so that nothing but the noise tells the class,
and a new victim learns from these. The confounder protects from the step on at which it is read:
until then anatomy teaches. What the readers of the training read says nothing of that, because they
have learned along with the generator. Prints the share of held-out images that is read, step by
step, and beside it what a victim of the clean images knows then.
"""

import json
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.budgets import NONE
from medprotect.audit.halves import Labelled, read_halves
from medprotect.audit.pairs import Pairs
from medprotect.bench import options
from medprotect.bench.studies.unlearnability import pair_half_b
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import ConfigError

_HELD_OUT = 5
"""One image of so many is held out."""


def swap(clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay the noise of each image (N, H, W, C) on another one, none on its own."""
    order = np.random.default_rng(0).permutation(len(clean))
    host = np.empty_like(order)
    host[order] = np.roll(order, 1)
    noise = protected.astype(np.int64) - clean
    return np.clip(clean[host] + noise, 0, 255).astype(np.uint8)


def lay_noise_elsewhere(pairs: Pairs) -> Labelled:
    """Return images that tell the class of each protected one by nothing but its noise."""
    return Labelled(swap(pairs.clean.images, pairs.protected), pairs.clean.labels)


def read_noise(
    images: Labelled, classes: int, victim: str, *, seed: int, steps: int
) -> list[tuple[int, float]]:
    """Return steps, and the share of held-out images that a new victim then tells the class of.

    Every fifth image is held out.
    """
    held = np.arange(len(images)) % _HELD_OUT == 0
    learned, tested = (Labelled(images.images[at], images.labels[at]) for at in (~held, held))
    task = Task(tested, tested, classes)
    tried = attempt(VICTIMS[victim], COUNTERMEASURES[NONE](), learned, task, seed=seed, steps=steps)
    return [(moment.step, moment.validation) for moment in tried.moments]


def main(
    images: options.Images,
    pipeline: options.Pipeline = "blood-microscopy",
    strength: options.Strength = "standard",
    labels_known: options.LabelsKnown = False,
    victim: Annotated[str, typer.Option(help="What learns.")] = "resnet18",
    seed: options.Seed = 1,
    steps: options.Steps = 300,
) -> None:
    """Say step by step what a new model reads of the noise, and of the clean images."""
    if victim not in VICTIMS:
        raise ConfigError(f"--victim is one of {', '.join(VICTIMS)}.")
    halves = read_halves(images)
    confounder = Confounder(load_card(pipeline), Key.new())
    pairs = pair_half_b(halves, confounder, strength, labels_known=labels_known)
    curves = [
        read_noise(part, len(halves.classes), victim, seed=seed, steps=steps)
        for part in (lay_noise_elsewhere(pairs), pairs.clean)
    ]
    read, anatomy = ([share for _, share in curve] for curve in curves)
    found = {"steps": [step for step, _ in curves[0]], "noise_alone": read, "clean_images": anatomy}
    print(json.dumps({"pipeline": confounder.card.name, "strength": strength, **found}, indent=1))


if __name__ == "__main__":
    options.run(main)
