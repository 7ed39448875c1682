"""Does a pipeline protect? ``python -m medprotect.bench.studies.unlearnability --images SOURCE``.

Half B of a data set is protected without labels, as a protected PNG would hold it; victims learn
from it, and are tested on clean images. Prints the findings of `medprotect.audit.examination`.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.aids import AIDED
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.budgets import NONE, Budget
from medprotect.audit.examination import examine
from medprotect.audit.halves import Halves, Labelled, draw, read_halves
from medprotect.audit.pairs import Pairs
from medprotect.audit.state import State
from medprotect.bench import options
from medprotect.confounder.card import Card, load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import BudgetBelowOneError
from medprotect.imaging.image import Image
from medprotect.intensity.budget import Reach, may_change
from medprotect.intensity.windows import view
from medprotect.protect.protectable import add_noise

Images = NDArray[np.uint8]

TRIED = tuple(name for name in COUNTERMEASURES if name not in (NONE, *AIDED))
"""Countermeasures that need nothing but the protected images."""


def protect(
    images: Images,
    confounder: Confounder,
    strength: str,
    labels: NDArray[np.int64] | None = None,
) -> Images:
    """Protect images (N, H, W, C), with labels or without, as a run protects a PNG of each."""
    protected = np.empty_like(images)
    for index, stored in enumerate(images):
        label = None if labels is None else int(labels[index])
        changed = add_noise([as_png(stored)], confounder.noise, strength, label)
        protected[index] = changed.reshape(stored.shape)
    return protected


def leave_out_rejected(part: Labelled, strength: str) -> Labelled:
    """Leave out what a run would reject, such as constant images: nobody would learn from it."""
    kept = [index for index, stored in enumerate(part.images) if _is_protectable(stored, strength)]
    return part if len(kept) == len(part) else part.take(np.array(kept, np.int64))


def _is_protectable(stored: NDArray[np.uint8], strength: str) -> bool:
    seen, reach = view(as_png(stored)), Reach(strength)
    reach.add(seen, may_change(seen, strength))
    try:
        reach.check()
    except BudgetBelowOneError:
        return False
    return True


def as_png(stored: NDArray[np.uint8]) -> Image:
    """Return an image (H, W, C) as a run reads it from a PNG."""
    colour = stored.shape[2] == 3
    return Image(
        stored if colour else stored[..., 0],
        lowest=0,
        highest=255,
        photometric="RGB" if colour else "MONOCHROME2",
    )


def pair_half_b(
    halves: Halves, confounder: Confounder, strength: str, *, labels_known: bool = False
) -> Pairs:
    """Protect half B, which the generator never saw."""
    half = leave_out_rejected(halves.b, strength)
    labels = half.labels if labels_known else None
    return Pairs(
        clean=half,
        protected=protect(half.images, confounder, strength, labels),
        validation=halves.validation,
        test=halves.test,
        classes=halves.classes,
        split="given",
    )


def give_half_a(
    halves: Halves, card: Card, strength: str, *, leaked: int = 0, other: bool = False
) -> Aid:
    """Return what an attacker has who holds images of half A, which no victim learns from.

    Parameters
    ----------
    card : Card
        Of the pipeline that the other owner uses.
    leaked : int
        So many in clear and protected under another owner's key: from whoever has the pipeline,
        too, and protects images of their own.
    other : bool
        Whether all of them in clear, without labels.
    """
    aid = Aid(other=halves.a.images if other else None)
    if not leaked:
        return aid
    part = leave_out_rejected(halves.a, strength).images[:leaked]
    protected = protect(part, Confounder(card, Key.new()), strength)
    return replace(aid, leaked_clean=part, leaked_protected=protected)


def draw_parts(halves: Halves, most: int | None) -> Halves:
    """Return so many images at most of half B, of the validation and of the test set each."""
    parts = (halves.b, halves.validation, halves.test)
    half, validation, test = (draw(part, most) for part in parts)
    return replace(halves, b=half, validation=validation, test=test)


def main(
    images: options.Images,
    pipeline: options.Pipeline = "blood-microscopy",
    key: options.KeyFile = None,
    strength: options.Strength = "standard",
    labels_known: options.LabelsKnown = False,
    victims: Annotated[str, typer.Option(help="Models, separated by commas.")] = "resnet18",
    countermeasures: Annotated[
        str,
        typer.Option(help="Countermeasures, separated by commas. Default: none."),
    ] = "",
    leaked: Annotated[
        int, typer.Option(min=0, help="So many pairs of another key are known: inverse.")
    ] = 0,
    leaked_by: Annotated[
        str | None, typer.Option(help="Pipeline of that key's owner. Default: the same.")
    ] = None,
    other: Annotated[
        bool, typer.Option("--other", help="Half A is known in clear: autoencoder, diffusion.")
    ] = False,
    seeds: options.Seeds = "1,2,3",
    steps: options.Steps = 500,
    most: Annotated[
        int | None, typer.Option(min=1, help="Most images of half B, validation and test each.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of finished trainings; see `audit`.")
    ] = None,
) -> None:
    """Protect half B, train models on it, and say how they do on clean images."""
    tried = options.take_names(countermeasures, TRIED, "countermeasures") if countermeasures else ()
    budget = Budget(
        name="given",
        victims=options.take_names(victims, VICTIMS, "victims"),
        countermeasures=tried,
        seeds=options.take_numbers(seeds),
        steps=steps,
    )
    card, owner = load_card(pipeline), Key.load(key) if key else Key.new()
    halves = read_halves(images)
    drawn, confounder = draw_parts(halves, most), Confounder(card, owner)
    pairs = pair_half_b(drawn, confounder, strength, labels_known=labels_known)
    leaker = load_card(leaked_by) if leaked_by else card
    aid = give_half_a(halves, leaker, strength, leaked=leaked, other=other)
    decoys = "on" if card.codes.decoys else "off"
    found = examine(
        pairs, budget.aided_by(aid), decoys=decoys, aid=aid, state=State(state), say=options.say
    )
    made = {
        "pipeline": card.name,
        "pipeline_sha256": card.pipeline_sha256,
        "key": owner.fingerprint,
        "strength": strength,
    }
    print(json.dumps({**made, **asdict(found)}, indent=2))


if __name__ == "__main__":
    options.run(main)
