"""Can protected images be told from clean ones? ``python -m medprotect.bench.studies.detector``.

Whoever has the pipeline protects images of their own, under a key of their own, and learns from
these pairs what protected images look like. Here the pairs are of half A; tested is on half B.
"""

import json
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from medprotect.audit.attack.countermeasure import Countermeasure, to_tensor
from medprotect.audit.attack.victims import Victim, resnet18
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.halves import Labelled, draw, read_halves
from medprotect.bench import options
from medprotect.bench.studies.unlearnability import leave_out_rejected, protect
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder

Images = NDArray[np.uint8]
Pairs = tuple[Images, Images]
"""Images (N, H, W, C) in clear, and the same protected."""


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


def main(
    images: options.Images,
    pipeline: options.Pipeline = "blood-microscopy",
    strength: options.Strength = "standard",
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of half A to learn from.")] = 500,
    most: Annotated[int, typer.Option(min=1, help="Most images of half B.")] = 1000,
    seed: options.Seed = 1,
    steps: options.Steps = 300,
) -> None:
    """Tell protected from clean images, after pairs under another key."""
    card = load_card(pipeline)
    halves = read_halves(images)
    known, tested = (
        leave_out_rejected(draw(half, count), strength).images
        for half, count in ((halves.a, pairs), (halves.b, most))
    )
    area = detect(
        *((part, protect(part, Confounder(card, Key.new()), strength)) for part in (known, tested)),
        seed=seed,
        steps=steps,
    )
    found = {"pairs": len(known), "tested": len(tested), "auc": area}
    print(json.dumps({"pipeline": card.name, "strength": strength, **found}, indent=1))


if __name__ == "__main__":
    options.run(main)
