"""How soon is the noise read? ``python -m medprotect.bench.studies.readability --images SOURCE``.

The noise of half B is laid on other images of it, so that nothing but the noise tells the class,
and a new victim learns from these. The confounder protects from the step on at which it is read:
until then anatomy teaches. What the readers of the training read says nothing of that, because they
have learned along with the generator. Prints the share of held-out images that is read, step by
step, and beside it what a victim of the clean images knows then.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.attempt import Curve, Task, attempt
from medprotect.audit.examination import NONE
from medprotect.audit.halves import Labelled, read_halves
from medprotect.bench.studies.unlearnability import pair_half_b
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.intensity.budget import STRENGTHS

_HELD_OUT = 5
"""One image of so many is held out."""


def swap(clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay the noise of each image (N, H, W, C) on another one, none on its own."""
    order = np.random.default_rng(0).permutation(len(clean))
    host = np.empty_like(order)
    host[order] = np.roll(order, 1)
    noise = protected.astype(np.int64) - clean
    return np.clip(clean[host] + noise, 0, 255).astype(np.uint8)


def read_noise(images: Labelled, classes: int, victim: str, *, seed: int, steps: int) -> Curve:
    """Return how a new victim learns to tell the classes of images; every fifth is held out."""
    held = np.arange(len(images)) % _HELD_OUT == 0
    learned, tested = (Labelled(images.images[at], images.labels[at]) for at in (~held, held))
    task = Task(tested, tested, classes)
    tried = attempt(VICTIMS[victim], COUNTERMEASURES[NONE](), learned, task, seed=seed, steps=steps)
    return tried.curve


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="MedMNIST npz, or a folder")
    parser.add_argument("--pipeline", default="blood-microscopy", help="name or folder")
    parser.add_argument("--strength", default="standard", choices=list(STRENGTHS))
    parser.add_argument("--labels-known", action="store_true", help="protect with labels")
    parser.add_argument("--victim", default="resnet18", choices=list(VICTIMS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    card = load_card(given.pipeline)
    halves = read_halves(given.images)
    confounder = Confounder(card, Key.new())
    pairs = pair_half_b(halves, confounder, given.strength, labels_known=given.labels_known)
    swapped = Labelled(swap(pairs.clean.images, pairs.protected), pairs.clean.labels)
    curves = [
        read_noise(part, len(halves.classes), given.victim, seed=given.seed, steps=given.steps)
        for part in (swapped, pairs.clean)
    ]
    read, anatomy = (curve.validation for curve in curves)
    found = {"steps": curves[0].steps, "noise_alone": read, "clean_images": anatomy}
    json.dump({"pipeline": card.name, "strength": given.strength, **found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
