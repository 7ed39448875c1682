"""Can protected images be told from clean ones? ``python -m medprotect.bench.studies.detector``.

Whoever has the pipeline protects images of their own, under a key of their own, and learns from
these pairs what protected images look like. Here the pairs are of half A; tested is on half B.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medprotect.audit.attack.countermeasure import Countermeasure, to_tensor
from medprotect.audit.attack.victims import Victim, resnet18
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.halves import Labelled, draw, read_halves
from medprotect.bench.studies.unlearnability import leave_out_rejected, protect
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.intensity.budget import STRENGTHS

Images = NDArray[np.uint8]
Pairs = tuple[Images, Images]
"""Images (N, H, W, C) in clear, and the same protected."""

PAIRS = 500


def detect(
    known: Pairs, tested: Pairs, *, seed: int = 1, steps: int = 300, network: Victim = resnet18
) -> float:
    """Return how well a network tells protected from clean images that it has not seen.

    As LightShed does to art: H. Foerster, S. Behrouzi, P. Rieger, M. Jadliwala, A.-R. Sadeghi.
    *LightShed: defeating perturbation-based image copyright protections.* USENIX Security 2025.
    There an autoencoder draws the noise, and nothing where there is none; here a classifier says
    how likely there is some, which is all that telling them apart needs.

    Parameters
    ----------
    known : tuple of NDArray
        Pairs that it learns from.
    tested : tuple of NDArray
        Pairs that it is tested on, of the same size.
    seed, steps : int
        Of the training.
    network : callable
        What learns.

    Returns
    -------
    float
        The area under the ROC curve: the share of all pairs of a protected and a clean image in
        which the protected one is taken for it. 0.5 is guessing, 1 is always right.
    """
    train, held = (_mix(*each) for each in (known, tested))
    task = Task(train, held, 2)  # chosen is nothing: what counts is the network at its end
    run = attempt(network, Countermeasure(), train, task, seed=seed, steps=steps)
    scores = _score(run.kept_network(), held.images)
    return area_under_curve(scores[held.labels == 1], scores[held.labels == 0])


def _protect(images: Images, confounder: Confounder, strength: str) -> Pairs:
    return images, protect(images, confounder, strength)


def _mix(clean: Images, protected: Images) -> Labelled:
    labels = np.repeat(np.arange(2, dtype=np.int64), [len(clean), len(protected)])
    return Labelled(np.concatenate([clean, protected]), labels)


@torch.inference_mode()
def _score(network: torch.nn.Module, images: Images) -> NDArray[np.float64]:
    """Return how much likelier than not each image is protected (N,), in logits."""
    logits = torch.cat([network(part) for part in to_tensor(images).split(256)])
    scores: NDArray[np.float64] = (logits[:, 1] - logits[:, 0]).double().numpy()
    return scores


def area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return the share of pairs in which the positive scores higher; equal ones count half."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive, "left")
    not_above = np.searchsorted(order, positive, "right")
    return float((below + not_above).mean() / (2 * len(negative)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="MedMNIST npz, or a folder")
    parser.add_argument("--pipeline", default="blood-microscopy", help="name or folder")
    parser.add_argument("--strength", default="standard", choices=list(STRENGTHS))
    parser.add_argument("--pairs", type=int, default=PAIRS, help="that it learns from")
    parser.add_argument("--most", type=int, default=1000, help="images of half B")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    card = load_card(given.pipeline)
    halves = read_halves(given.images)
    known, tested = (
        leave_out_rejected(draw(half, most), given.strength)
        for half, most in ((halves.a, given.pairs), (halves.b, given.most))
    )
    area = detect(
        *(
            _protect(part.images, Confounder(card, Key.new()), given.strength)
            for part in (known, tested)
        ),
        seed=given.seed,
        steps=given.steps,
    )
    found = {"pairs": len(known), "tested": len(tested), "auc": area}
    json.dump({"pipeline": card.name, "strength": given.strength, **found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
